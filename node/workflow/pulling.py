"""What others may pull: our own live results, by whom their sources' `results_to` lists, and nothing else.

The rules are those of the gate through which results leave by themselves: what waits there cannot be pulled either.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from node.config import Peer, Settings
from node.domain.patient import Patient
from node.domain.rejection import REJECTION_NOTE
from node.domain.time import Instant
from node.domain.work import ResultState
from node.store import artifacts, outbox, outcomes
from node.store.artifacts import Artifact
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.workflow.identity import gate
from node.workflow.policy import Policy
from node.workflow.reportable import REPORTED_OUTCOMES

#: A result in such a state at a destination is not for it.
_NOT_FOR_IT = frozenset({ResultState.HELD, ResultState.SUPERSEDED, ResultState.WITHDRAWN})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pullable:
    """A result that somebody may pull, if it names the study's patient still."""

    artifact: Artifact
    study_instance_uid: str


def pullable(db: Database, peer: Peer, study_instance_uid: str) -> list[Pullable]:
    """Results of one study that are made for a peer, oldest first; `may_have` says whether it may have each now."""
    rows = outbox.of_study(db, study_instance_uid)
    withdrawn = {row.artifact_id for row in rows if row.state is ResultState.WITHDRAWN}
    sent = {row.artifact_id: row.state for row in rows if row.destination == peer.name}
    found: list[Pullable] = []
    for outcome in outcomes.current(db, study_instance_uid):
        if outcome.state not in REPORTED_OUTCOMES:
            continue
        made = [each for each in artifacts.of_outcome(db, outcome.id) if _is_result(each)]
        addressed = {each.kind for each in made if each.id in sent}
        for each in made:
            # What was corrected for one destination, or is of another profile, is not for another.
            fits = each.id in sent or (each.kind not in addressed and each.profile == peer.profile)
            if fits and each.id not in withdrawn and sent.get(each.id) not in _NOT_FOR_IT:
                found.append(Pullable(artifact=each, study_instance_uid=study_instance_uid))
    return found


def may_have(db: Database, settings: Settings, peer: Peer, result: Pullable, patient: Patient) -> bool:
    """Whether a result may leave for a peer at this moment; `patient` is read from the object."""
    artifact = result.artifact
    row = OutboxRow(
        id=0,
        artifact_id=artifact.id,
        outcome_id=artifact.outcome_id,
        study_instance_uid=result.study_instance_uid,
        destination=peer.name,
        state=ResultState.QUEUED,
        reason="",
        attempts=0,
        owner="",
        kind=artifact.kind,
        path=artifact.path,
        sop_instance_uid=artifact.sop_instance_uid,
        sop_class_uid=artifact.sop_class_uid,
        sent_at="",
    )
    return gate(db, Policy(settings, (), ()), row, patient).is_open


def queue(db: Database, now: Instant, results: Sequence[Pullable], destination: Peer, by: str) -> list[int]:
    """Have results sent to a destination, again where it had them; return their rows. Opens its own transaction.

    What may not be sent again has no row among them.
    """
    reason = f"asked for by {by}"
    with db.transaction():
        for each in results:
            study, artifact_id = each.study_instance_uid, each.artifact.id
            outbox.add(db, now, artifact_id=artifact_id, study=study, destination=destination.name)
        wanted = {each.artifact.id for each in results}
        studies = {each.study_instance_uid for each in results}
        rows = [row for uid in sorted(studies) for row in outbox.of_study(db, uid) if row.artifact_id in wanted]
        rows = [row for row in rows if row.destination == destination.name]
        return [
            row.id
            for row in rows
            if row.state is ResultState.QUEUED or outbox.move(db, now, row, ResultState.QUEUED, reason)
        ]


def _is_result(artifact: Artifact) -> bool:
    return bool(artifact.sop_instance_uid) and artifact.kind != REJECTION_NOTE and not artifact.freed_at
