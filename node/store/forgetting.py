"""Old rows on which nothing rests any more are removed, a few at a time."""

from __future__ import annotations

from node.store.database import Database

# Each removes at most so many rows of before then (ISO 8601 UTC), which it finds by an index.
#: Facts that were superseded: one that another old one names goes after that one.
_FACTS = (
    "DELETE FROM history WHERE id IN (SELECT id FROM history h WHERE superseded_by IS NOT NULL AND superseded_at < ?"
    " AND NOT EXISTS (SELECT 1 FROM history older WHERE older.superseded_by = h.id AND older.id != h.id)"
    " ORDER BY superseded_at LIMIT ?)"
)
#: Notices before one that its receiver has acknowledged: what it knows is in that one.
_NOTICES = (
    "DELETE FROM notice WHERE id IN (SELECT id FROM notice n WHERE told_at < ? AND state NOT IN ('queued', 'sent')"
    " AND EXISTS (SELECT 1 FROM notice newer WHERE newer.study_instance_uid = n.study_instance_uid"
    " AND newer.route = n.route AND newer.version > n.version AND newer.state = 'acknowledged')"
    " ORDER BY told_at LIMIT ?)"
)
#: Questions to servers: whoever still waits is asked for anew.
_QUESTIONS = (
    "DELETE FROM history_inquiry WHERE rowid IN (SELECT rowid FROM history_inquiry WHERE asked_wall < ?"
    " ORDER BY asked_wall LIMIT ?)"
)


def forget(db: Database, before: str, *, limit: int) -> int:
    """Remove at most `limit` rows of each kind of before then (ISO 8601 UTC); return how many. Own transactions."""
    gone = 0
    for statement in (_FACTS, _NOTICES, _QUESTIONS):
        with db.transaction():
            gone += db.execute(statement, (before, limit)).rowcount
    return gone
