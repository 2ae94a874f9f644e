"""Supersession: once the new set of results is where the old one was sent, the old whole set is taken back there.

A report names its predecessor, but segmentations, maps and captures do not: the old ones would stay on screen. They are
not taken back before the new set is there: committed, or sent where nothing confirms. A model that does not apply to
the study any more, or has failed on it for good, leaves no new set: its old one speaks of what the study no longer is,
and goes too, once what is told in its place has arrived, and with it a page of all models that shows it. A destination
without `rejection` keeps it: here it is marked as superseded, and `matins withdraw --remaining` lists it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from node.config import Peer
from node.domain.rejection import REJECTION_NOTE
from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.work import OutcomeState, ResultState
from node.store import commitments, outbox, outcomes, studies, withdrawal_notes
from node.store.commitments import Way
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.store.outcomes import Outcome
from node.workflow import withdrawal
from node.workflow.policy import Policy
from node.workflow.reportable import STUDY_KINDS
from node.workflow.withdrawal import SENT

_REASON = "a newer result took its place"
_NO_RESULT = "the model has no result for the study as it is now"


def take_back_superseded(db: Database, now: Instant, policy: Policy) -> int:
    """Take back every old set whose successor has arrived; return how many results. Opens a transaction a study."""
    taken = 0
    for study in withdrawal_notes.studies_with_superseded(db):
        # Looked at first without the write lock: some wait for a destination for days.
        if _due(db, policy, study):
            with db.transaction():
                taken += _take_back(db, now, policy, study)
    return taken


def has_arrived(db: Database, peer: Peer | None, row: OutboxRow) -> bool:
    """Whether a destination keeps a result for certain, or has accepted it and nothing there confirms anything."""
    if row.state is ResultState.COMMITTED:
        return True
    if row.state is not ResultState.SENT:
        return False
    if peer is None or confirms_nothing(peer):
        return True
    known = commitments.unconfirmed(db, row.id)
    # One that was sent twice since it was not found is not believed to be there.
    return known is not None and known.way is Way.ENDED and not known.resends


def confirms_nothing(peer: Peer) -> bool:
    """Whether the settings say that a destination is never asked what it keeps."""
    return peer.confirm == "none" or not (peer.host and peer.port)


def _take_back(db: Database, now: Instant, policy: Policy, study_instance_uid: str) -> int:
    made = {each.id: each for each in outcomes.of_study(db, study_instance_uid)}
    taken = 0
    for peer, old in _due(db, policy, study_instance_uid):
        after = ResultState.WITHDRAWN if peer is not None and peer.rejection else ResultState.SUPERSEDED
        reasons = {each: _reason(each, made) for each in old}
        of_models = [reason for row, reason in reasons.items() if row.kind not in STUDY_KINDS]
        overall = _REASON if _REASON in (of_models or reasons.values()) else _NO_RESULT
        reasons |= {row: overall for row in old if row.kind in STUDY_KINDS}
        moved = [row for row in old if outbox.move(db, now, row, after, reasons[row])]
        withdrawal.take_back(db, now, policy.settings, moved, overall)
        taken += len(moved)
    return taken


def _due(db: Database, policy: Policy, study_instance_uid: str) -> list[tuple[Peer | None, list[OutboxRow]]]:
    """The old set at each destination where all that takes its place is there."""
    study = studies.study(db, study_instance_uid)
    if study is None or study.state is not StudyState.DONE or study.open:
        # Its models are still at it, or a person has to decide.
        return []
    made = {each.id: each for each in outcomes.of_study(db, study_instance_uid)}
    rows = [row for row in outbox.of_study(db, study_instance_uid) if row.kind != REJECTION_NOTE]
    found = []
    superseded = [each for each in made.values() if each.state is OutcomeState.SUPERSEDED]
    stale = frozenset(row.id for each in superseded for row in withdrawal.summaries_of(db, each))
    for destination in dict.fromkeys(row.destination for row in rows):
        there = [row for row in rows if row.destination == destination]
        peer = policy.settings.peer_named(destination)
        old = _replaced(db, peer, there, made, stale)
        if old:
            found.append((peer, old))
    return found


def _replaced(
    db: Database,
    peer: Peer | None,
    there: Sequence[OutboxRow],
    made: Mapping[int, Outcome],
    stale: Collection[int],
) -> list[OutboxRow]:
    """The old set at one destination, once all that takes its place is there; until then nothing."""
    old = [row for row in there if row.state in SENT and (row.id in stale or _is_old(row, there, made))]
    for row in old:
        newer = [each for each in there if each.id > row.id and each.kind == row.kind and each not in old]
        if row.kind in STUDY_KINDS and newer:
            awaited = newer
        else:
            successor = _successor(row, made)
            if successor is None:
                return []
            awaited = [each for each in there if each.outcome_id == successor.id and each not in old]
        kinds = {each.kind for each in old if each.outcome_id == row.outcome_id}
        if any(_is_awaited(db, peer, each, kinds) for each in awaited):
            return []
    return old


def _is_old(row: OutboxRow, there: Sequence[OutboxRow], made: Mapping[int, Outcome]) -> bool:
    """Of one model: its outcome is superseded. Of all models together: there is a newer one, or it is superseded."""
    superseded = made[row.outcome_id].state is OutcomeState.SUPERSEDED
    if row.kind in STUDY_KINDS:
        return superseded or any(each.id > row.id and each.kind == row.kind for each in there)
    return superseded


def _is_awaited(db: Database, peer: Peer | None, row: OutboxRow, kinds: set[str]) -> bool:
    """Whether a row of the new set is still to arrive; one that was refused as its old one was is not waited for."""
    if row.state in (ResultState.SUPERSEDED, ResultState.WITHDRAWN):
        return False
    if row.state is ResultState.DEAD:
        return row.kind in kinds
    return not has_arrived(db, peer, row)


def _successor(row: OutboxRow, made: Mapping[int, Outcome]) -> Outcome | None:
    model = made[row.outcome_id].model
    of_model = (each for each in made.values() if each.model == model and not each.aside)
    standing = (each for each in of_model if each.state is not OutcomeState.SUPERSEDED)
    return next(standing, None)


def _reason(row: OutboxRow, made: Mapping[int, Outcome]) -> str:
    successor = _successor(row, made)
    return _NO_RESULT if successor is not None and successor.state is not OutcomeState.RESULT else _REASON
