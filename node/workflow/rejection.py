"""Rejection notes (IHE Imaging Object Change Management): they take what they name out of use, whichever comes first.

All four titles do the same here. An archive may go on showing what was rejected for quality, or quietly drop what need
not be kept any longer; but nobody could look up what a result rests on, so it is withdrawn with its images, and what
remains is read anew. A note counts if its source has sent what it names, or is an archive, and if patient and study are
those of what it names. Otherwise nothing happens but an event, for a person to see.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from node.config import Settings
from node.domain.patient import conflict
from node.domain.study import Instance, StudyState
from node.domain.time import Instant
from node.store import events, instances, rejections, studies
from node.store.database import Database
from node.store.rejections import Named, Note
from node.workflow import prior_reading, ranking
from node.workflow.policy import Policy
from node.workflow.withdrawal import withdraw_resting_on


def take_effect(
    db: Database, now: Instant, settings: Settings, policy: Callable[[], Policy], instance_id: int, described: Instance
) -> None:
    """Let a note that has just been described reject what it names, or an instance be rejected by the notes before it.

    Inside the transaction that keeps the description. `policy` is asked for only where a standing outcome falls.
    """
    if described.rejects is not None and instances.is_ours(db, instance_id):
        # It came back to us, and has had its effect before it was sent.
        return
    if described.rejects is not None:
        rejections.record(db, now, instance_id, described.rejects)
        if described.rejects.left_out:
            reason = f"{described.rejects.left_out} reference(s) without a sound UID, or too many, are left out"
            uid, study = described.sop_instance_uid, described.study_instance_uid
            events.record(db, now, "rejection", uid, after="left out", reason=reason, study=study)
    archives = {peer.name for peer in settings.peers if "archive" in peer.roles}
    found = rejections.naming(db, instance_id) + (rejections.named_by(db, instance_id) if described.rejects else [])
    for (note, study), named in _by_note_and_study(found):
        effective = [each for each in named if not _what_is_against(each, archives)]
        for after, reason in sorted({each for each in (_what_is_against(one, archives) for one in named) if each}):
            _tell(db, now, note, study, after, reason)
        if effective:
            _reject(db, now, settings, policy, note, study, effective)


def _by_note_and_study(found: Iterable[Named]) -> Iterable[tuple[tuple[Note, str], Sequence[Named]]]:
    groups: dict[tuple[Note, str], list[Named]] = {}
    for each in found:
        groups.setdefault((each.note, each.study_instance_uid), []).append(each)
    return groups.items()


def _what_is_against(named: Named, archives: set[str]) -> tuple[str, str] | None:
    """What becomes of a note for this instance instead of rejecting it, and why."""
    note = named.note
    if not named.same_source and note.source not in archives:
        return "ignored", f"{note.source} is no archive, and has not sent what its rejection note names"
    difference = conflict(note.patient, named.patient)
    if difference:
        remedy = f"look at both, then `matins withdraw {named.study_instance_uid}` if it is right"
        return "held", f"the rejection note is about another patient than what it names: {difference}; {remedy}"
    if named.named_in != named.study_instance_uid:
        remedy = f"look at both, then `matins withdraw {named.study_instance_uid}` if it is right"
        return "held", f"the rejection note has what it names in another study; {remedy}"
    return None


def _tell(db: Database, now: Instant, note: Note, study: str, after: str, reason: str) -> None:
    """Once a note and study: instances that come later each find the same."""
    if not rejections.is_told(db, study, note.sop_instance_uid, after):
        events.record(db, now, "rejection", note.sop_instance_uid, after=after, reason=reason, study=study)


def _reject(
    db: Database,
    now: Instant,
    settings: Settings,
    policy: Callable[[], Policy],
    note: Note,
    study: str,
    named: Sequence[Named],
) -> None:
    ids = [each.instance_id for each in named]
    rejections.mark(db, ids, note.title)
    prior_reading.ask_again(db, now, ids)
    reason = f"{note.title.meaning} ({note.title}, DCM), a rejection note of {note.source}"
    _tell(db, now, note, study, "in effect", f"takes instances out of use: {reason}")
    fell = withdraw_resting_on(db, now, settings, ids, f"withdrawn: {reason}")
    row = studies.study(db, study)
    if row is None or not any(each.is_input for each in named):
        return
    if not row.open:
        studies.open_again(db, now, study, "instances were rejected")
    if fell and row.state is not StudyState.HELD:
        studies.move(db, now, study, StudyState.RECEIVING, f"what was found is withdrawn: {reason}")
    if fell:
        ranking.rerank(db, now, policy(), study)
