"""A person's word on the place of a study: above rules and models, and shown with who said it, when and why."""

from __future__ import annotations

from node.domain.pin import Pin
from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.domain.time import Instant
from node.errors import Failed
from node.store import events, reading_list, studies, waiting
from node.store.database import Database
from node.workflow import ranking
from node.workflow.policy import Policy

#: Of what a person says, characters.
_LONGEST_REASON = 200


def pin(
    db: Database, now: Instant, policy: Policy, study_instance_uid: str, *, lane: Lane | None, by: str, why: str
) -> None:
    """Put a study above all others (`lane` is `None`), or into a lane, until it is unpinned or has been reported.

    Of several above all, the one pinned first leads. Opens its own transaction. Raises:
        Failed: no such study, it has been reported, or nothing says why.
    """
    said = "".join(letter for letter in " ".join(why.split()) if letter.isprintable())[:_LONGEST_REASON]
    if not said:
        raise Failed("nothing says why: whoever reads the list will ask; give --why")
    with db.transaction():
        before = _pin_of(db, study_instance_uid)
        joined_s = waiting.joined_s(db, now, now)
        made = Pin(lane=lane, by=by, at=now.wall, at_s=joined_s, why=said)
        if before is not None and before.is_first and made.is_first:
            made = Pin(lane=lane, by=by, at=now.wall, at_s=before.at_s, why=said)
        reading_list.record_pin(db, study_instance_uid, made)
        _note(db, now, study_instance_uid, before, made, by=by, why=said)
        ranking.rerank(db, now, policy, study_instance_uid)


def unpin(db: Database, now: Instant, policy: Policy, study_instance_uid: str, *, by: str) -> None:
    """Let a study stand where order, history and findings put it.

    Opens its own transaction. Raises:
        Failed: no such study, or it is not pinned.
    """
    with db.transaction():
        before = _pin_of(db, study_instance_uid)
        if before is None:
            raise Failed("the study is not pinned")
        reading_list.remove_pin(db, study_instance_uid)
        _note(db, now, study_instance_uid, before, None, by=by, why=f"unpinned by {by}")
        ranking.rerank(db, now, policy, study_instance_uid)


def _pin_of(db: Database, study_instance_uid: str) -> Pin | None:
    study = studies.study(db, study_instance_uid)
    if study is None:
        raise Failed(f"no study {study_instance_uid} is held here")
    if study.report_state is ReportState.FINAL:
        raise Failed("the study has been reported: it is no longer in the list")
    return reading_list.places(db, [study_instance_uid])[study_instance_uid].pin


def _note(db: Database, now: Instant, study: str, before: Pin | None, after: Pin | None, *, by: str, why: str) -> None:
    events.record(
        db,
        now,
        "pin",
        by,
        before=before.shown if before else "",
        after=after.shown if after else "none",
        reason=why,
        study=study,
    )
