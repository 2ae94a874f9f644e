"""Work that a dead worker left behind goes back to the queue."""

from __future__ import annotations

from node.domain.retrieval import RetrievalState
from node.domain.time import Instant
from node.domain.work import OutcomeState, WorkKind
from node.store import instances, outcomes, retrievals, work_items
from node.store.database import Database
from node.store.work_items import WorkItem
from node.workflow import comparing, prior_reading, reading, reconciliation
from node.workflow.policy import Policy

#: A room that was killed over the same item this often is not killed by chance.
_MAXIMUM_ROOM_DEATHS = 20


def take_back(db: Database, now: Instant, owner_prefix: str, kinds: tuple[WorkKind, ...]) -> int:
    """At the start of a room: what its killed predecessor held is ready again at once; return how many.

    The death of a room is not the item's fault (a model's child that dies is counted elsewhere), so it
    does not count as an attempt until it has happened twenty times. Opens its own transaction.
    """
    with db.transaction():
        items = work_items.owned(db, owner_prefix, kinds)
        for item in items:
            if work_items.passing_faults(db, item) >= _MAXIMUM_ROOM_DEATHS:
                reason = f"the {db.room} room died {_MAXIMUM_ROOM_DEATHS} times over it"
                _park(db, now, item, reason)
            elif work_items.give_back(db, now, item, f"the {db.room} room was started again", wait_s=0):
                reading.await_another_try(db, now, item, "started again")
    return len(items)


def recover_expired(db: Database, now: Instant, policy: Policy) -> int:
    """Items whose lease ran out count a death: ready again, or parked. Opens its own transactions."""
    items = work_items.expired(db, now)
    for item in items:
        with db.transaction():
            if item.kind in (WorkKind.INFER, WorkKind.REPORT):
                reading.died(db, now, policy, item, "its worker went silent")
            elif item.kind is WorkKind.COMPARE:
                comparing.died(db, now, item, "its worker went silent")
            elif item.kind is WorkKind.READ_PRIOR:
                prior_reading.died(db, now, policy, item, "its worker went silent")
            elif item.attempts >= work_items.MAXIMUM_ATTEMPTS:
                _park(db, now, item, "its worker went silent")
            else:
                work_items.give_up_or_retry(db, now, item, "its worker went silent")
    return len(items)


def _park(db: Database, now: Instant, item: WorkItem, reason: str) -> None:
    if not work_items.park(db, now, item, reason):
        return
    if item.kind is WorkKind.DESCRIBE:
        instances.record_undescribable(db, now, int(item.subject), reason)
    elif item.kind is WorkKind.FETCH:
        retrievals.move(db, now, retrievals.id_of(item.subject), RetrievalState.FAILED, reason)
    elif item.kind is WorkKind.CORRECTION:
        reconciliation.given_up(db, now, item, reason)
    elif item.kind is WorkKind.COMPARE:
        comparing.go_on(db, now, item)
    elif item.kind in (WorkKind.INFER, WorkKind.REPORT):
        outcomes.move(db, now, int(item.subject), OutcomeState.FAILED, reason)
        reading.settle(db, now, item.study_instance_uid)
