"""Work that others ask of us: each step that we mean to claim, by which Transaction UID, and how far it has come."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from node.domain.dicom_json import Attributes
from node.domain.performance import PERFORMANCE_MOVES, PerformanceState
from node.domain.time import Instant
from node.store import events
from node.store.database import Database

_OVER = json.dumps([state for state in PerformanceState if state.is_over])


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """One step of one manager."""

    id: int
    #: Name of the peer; empty for our own list.
    manager: str
    #: SOP Instance UID of the step.
    ups: str
    state: PerformanceState
    #: By which it is, or will be, claimed: kept before it is sent for the first time, and never another.
    transaction_uid: str
    #: Empty until the step was read.
    study_instance_uid: str
    #: The step as it was read last.
    step: Attributes
    #: Of what was asked for it; 0 for none.
    retrieval_id: int
    #: Why it is given up: a code of `GivenUp`, and in words.
    code: str
    reason: str
    #: The state that the manager was told of last.
    told: str
    #: Whether the manager reports on it to us.
    watched: bool
    #: Why somebody wants it canceled; empty if nobody does.
    cancel_asked: str
    #: When it was found.
    found: Instant
    ended_at: str


def add(db: Database, now: Instant, manager: str, ups: str, transaction_uid: str) -> bool:
    """Keep that a step is to be claimed, and by what; inside the caller's transaction. `False` if it is known."""
    made = db.execute(
        "INSERT OR IGNORE INTO performance (manager, ups, transaction_uid, found_wall, found_boot_s, found_boot_id)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (manager, ups, transaction_uid, now.iso, now.boottime_s, now.boot_id),
    )
    if made.rowcount:
        events.record(db, now, "performance", ups, after=PerformanceState.OFFERED, reason=_of(manager))
    return bool(made.rowcount)


def record_step(db: Database, row: Performance, step: Attributes, study_instance_uid: str) -> None:
    """Keep what the step says, and which study it is about."""
    db.execute(
        "UPDATE performance SET step = ?, study_instance_uid = ? WHERE id = ?",
        (json.dumps(step), study_instance_uid, row.id),
    )


def record_retrieval(db: Database, row: Performance, retrieval_id: int) -> None:
    """Keep which retrieval its images come by."""
    db.execute("UPDATE performance SET retrieval_id = ? WHERE id = ?", (retrieval_id, row.id))


def record_told(db: Database, row: Performance, *, told: str = "", watched: bool = False) -> None:
    """Keep what the manager was told, or that it reports to us."""
    db.execute(
        "UPDATE performance SET told = CASE ? WHEN '' THEN told ELSE ? END, watched = max(watched, ?) WHERE id = ?",
        (told, told, watched, row.id),
    )


def ask_to_cancel(db: Database, now: Instant, manager: str, ups: str, reason: str) -> bool:
    """Keep that somebody wants a step canceled that is ours; `False` if it is not, or not any more."""
    asked = db.execute(
        "UPDATE performance SET cancel_asked = ? WHERE manager = ? AND ups = ?"
        " AND state NOT IN (SELECT value FROM json_each(?))",
        (reason, manager, ups, _OVER),
    )
    if asked.rowcount:
        events.record(db, now, "performance", ups, after="cancel asked", reason=_of(manager))
    return bool(asked.rowcount)


def move(
    db: Database, now: Instant, row: Performance, after: PerformanceState, reason: str = "", *, code: str = ""
) -> bool:
    """Move on, inside the caller's transaction; `False` if it may not go there from where it is."""
    held = performance(db, row.id)
    if held is None or after not in PERFORMANCE_MOVES[held.state]:
        return False
    db.execute(
        "UPDATE performance SET state = ?, reason = ?, code = ?, ended_at = ? WHERE id = ?",
        (after, reason, code, now.iso if after.is_over else "", row.id),
    )
    study = held.study_instance_uid
    events.record(db, now, "performance", held.ups, before=held.state, after=after, reason=reason, study=study)
    return True


def performance(db: Database, performance_id: int) -> Performance | None:
    """One, if there is one of this id."""
    found = db.row("SELECT * FROM performance WHERE id = ?", (performance_id,))
    return _read(found) if found else None


def of_step(db: Database, manager: str, ups: str) -> Performance | None:
    """What we know of a step of a manager."""
    found = db.row("SELECT * FROM performance WHERE manager = ? AND ups = ?", (manager, ups))
    return _read(found) if found else None


def unfinished(db: Database, manager: str) -> list[Performance]:
    """Those of a manager that are not over, oldest first."""
    rows = db.rows(
        "SELECT * FROM performance WHERE manager = ? AND state NOT IN (SELECT value FROM json_each(?)) ORDER BY id",
        (manager, _OVER),
    )
    return list(map(_read, rows))


def of_study(db: Database, study_instance_uid: str) -> list[Performance]:
    """Those about a study, oldest first."""
    return list(map(_read, db.rows("SELECT * FROM performance WHERE study_instance_uid = ? ORDER BY id",
                                   (study_instance_uid,))))  # fmt: skip


def _of(manager: str) -> str:
    return f"a step of {manager}" if manager else "a step of our own list"


def _read(row: sqlite3.Row) -> Performance:
    values: dict[str, Any] = dict(row)
    wall, boot_s, boot_id = (values.pop(f"found_{name}") for name in ("wall", "boot_s", "boot_id"))
    return Performance(
        **{
            **values,
            "state": PerformanceState(values["state"]),
            "step": json.loads(values["step"]),
            "watched": bool(values["watched"]),
            "found": Instant(datetime.fromisoformat(wall), boot_s, boot_id),
        }
    )
