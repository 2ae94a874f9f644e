"""History that other systems tell: kept with its source, and every study that it may move is ranked anew."""

from __future__ import annotations

from collections.abc import Sequence

from node.domain.history import Fact
from node.domain.patient import Patient
from node.domain.time import Instant
from node.store import events, history, reading_list
from node.store.database import Database
from node.workflow import ranking
from node.workflow.policy import Policy


def learn(
    db: Database,
    now: Instant,
    policy: Policy,
    patient: Patient,
    facts: Sequence[Fact],
    *,
    origin: str,
    beside: bool = False,
) -> list[str]:
    """Take what another system says of a patient, in the caller's transaction; return the studies ranked anew.

    `patient`: whom the source means: ID and issuer, birth date and sex as far as it tells them. `origin`: source and
    question; what the same origin said before and no longer says is superseded, but, with `beside`, for what it said of
    somebody of another birth date or sex. Of a patient who is not identified nothing is kept.
    """
    if not patient.is_identified:
        return []
    if not history.replace_told(db, now, patient, facts, origin=origin, beside=beside):
        return []
    waiting = reading_list.unread_of_patient(db, patient)
    for uid in waiting:
        events.record(db, now, "history", origin, after="told", reason=f"{len(facts)} fact(s)", study=uid)
        ranking.rerank(db, now, policy, uid)
    return waiting
