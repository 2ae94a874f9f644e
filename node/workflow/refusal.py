"""A destination does not store an output: the row is dead, and the report room is asked for another kind."""

from __future__ import annotations

from node.domain.rejection import REJECTION_NOTE
from node.domain.time import Instant
from node.domain.work import ResultState, WorkKind
from node.store import capabilities, outbox, work_items
from node.store.database import Database
from node.store.outbox import OutboxRow


def refuse(db: Database, now: Instant, row: OutboxRow, reason: str) -> bool:
    """End a row that its destination does not take; `False` if it was stopped meanwhile.

    In the caller's transaction. What takes its place is looked for at once (`workflow.fallback`); nothing does of a
    rejection note.
    """
    if not outbox.move(db, now, row, ResultState.DEAD, reason):
        return False
    if row.kind == REJECTION_NOTE:
        return True
    work_items.add(db, now, WorkKind.FALLBACK, f"{row.id}:{row.attempts}", row.study_instance_uid)
    return True


def refuse_known(db: Database, now: Instant, artifact_id: int, outcome_id: int, destination: str) -> None:
    """End a row that was just queued, if its destination is known not to take it; in the caller's transaction."""
    for row in outbox.of_outcome(db, outcome_id):
        if (row.artifact_id, row.destination, row.state) == (artifact_id, destination, ResultState.QUEUED):
            reason = capabilities.known_refusal(db, now, destination, row.sop_class_uid)
            if reason and not row.attempts:
                refuse(db, now, row, reason)
