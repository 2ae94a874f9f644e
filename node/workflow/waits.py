"""Who has waited for too long: marked once, told in list, status and events, and moved nowhere."""

from __future__ import annotations

from node.domain.priority import Lane
from node.domain.time import Instant
from node.store import events, waiting
from node.store.database import Database
from node.workflow.policy import Policy


def mark_long_waits(db: Database, now: Instant, policy: Policy) -> int:
    """Mark every unread study that waits for longer than `longest_wait_min` of its lane; return how many.

    Opens its own transaction, where there is anything to mark.
    """
    limits = policy.settings.rank.longest_wait_min
    marked = 0
    for lane in Lane:
        limit_min = getattr(limits, lane.value)
        if not limit_min or not waiting.any_too_long(db, now, lane, limit_min):
            continue
        reason = f"unread in {lane} for more than {limit_min:g} min"
        with db.transaction():
            for uid in waiting.mark_too_long(db, now, lane, limit_min, reason):
                events.record(db, now, "wait", lane, after="too long", reason=reason, study=uid)
                marked += 1
    return marked
