"""Nightly runs: which task was begun for which local day, and what became of it."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import date, datetime

from node.domain.night import NightlyTask, RunState
from node.domain.time import Instant
from node.store import events, waiting
from node.store.database import Database

_COLUMNS = "task, day, state, attempts, due_at, began_at, ended_at, reason"
#: Runs of the last weeks say how the clock went.
_LOOK_BACK_S = 21 * 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NightlyRun:
    """One task on one local day."""

    task: NightlyTask
    day: date
    state: RunState
    #: How often it was begun.
    attempts: int
    #: ISO 8601 UTC; the last is empty until then.
    due_at: str
    began_at: str
    ended_at: str
    reason: str


def latest(db: Database, task: NightlyTask) -> NightlyRun | None:
    """The run of the newest day that counts."""
    where = "WHERE task = ? AND state != 'untimely' ORDER BY day DESC LIMIT 1"
    return next(iter(_runs(db, where, (task,))), None)


def newest(db: Database, limit: int) -> list[NightlyRun]:
    """The runs that were begun last, newest first."""
    return _runs(db, "ORDER BY began_at DESC, rowid DESC LIMIT ?", (limit,))


def since(db: Database, at: str) -> list[NightlyRun]:
    """The runs that were begun since then (ISO 8601 UTC), oldest first."""
    return _runs(db, "WHERE began_at >= ? ORDER BY began_at, rowid", (at,))


def begin(db: Database, now: Instant, task: NightlyTask, day: date, due_at: datetime) -> int:
    """Note that a task is begun, in the caller's transaction; return for the how manieth time."""
    db.execute(
        "INSERT INTO nightly_run (task, day, state, attempts, due_at, began_at, began_s)"
        " VALUES (?, ?, 'begun', 1, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET attempts = CASE state WHEN 'begun' THEN attempts + 1 ELSE 1 END, state = 'begun',"
        " due_at = excluded.due_at, began_at = excluded.began_at, began_s = excluded.began_s, ended_at = '',"
        " reason = ''",
        (task, day.isoformat(), due_at.isoformat(), now.iso, waiting.joined_s(db, now, now)),
    )
    row = db.row("SELECT attempts FROM nightly_run WHERE task = ? AND day = ?", (task, day.isoformat()))
    assert row is not None
    return int(row["attempts"])


def pardon(db: Database, task: NightlyTask, day: date) -> None:
    """The last attempt does not count: a passing fault stopped it."""
    db.execute(
        "UPDATE nightly_run SET attempts = attempts - 1 WHERE task = ? AND day = ? AND state = 'begun'",
        (task, day.isoformat()),
    )


def end(
    db: Database, now: Instant, task: NightlyTask, day: date, state: RunState, reason: str, *, due_at: str = ""
) -> None:
    """Note what became of a task, in the caller's transaction."""
    db.execute(
        "INSERT INTO nightly_run (task, day, state, due_at, began_at, began_s, ended_at, reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET state = excluded.state, ended_at = excluded.ended_at, reason = excluded.reason",
        (task, day.isoformat(), state, due_at or now.iso, now.iso, waiting.joined_s(db, now, now), now.iso, reason),
    )
    events.record(db, now, "night", task, before=day.isoformat(), after=state, reason=reason)


def ahead(db: Database, now: Instant, margin_s: float) -> list[NightlyRun]:
    """The runs that were begun while the clock was ahead of what it shows now by more than `margin_s`.

    None, where the first run of the last weeks is one of them: then it is now that the clock is behind.
    """
    reached_s = waiting.reached_s(db, now)
    rows = db.rows(
        f"SELECT {_COLUMNS}, began_s FROM nightly_run WHERE state != 'untimely' AND began_s >= ?"
        " ORDER BY began_s, rowid",
        (reached_s - _LOOK_BACK_S,),
    )
    found = [row for row in rows if _ahead_s(row, now, reached_s) > margin_s]
    return [] if not found or _ahead_s(rows[0], now, reached_s) > margin_s else [_run(row) for row in found]


def set_aside(db: Database, now: Instant, run: NightlyRun) -> None:
    """Let a run count for nothing, in the caller's transaction: it was begun while the clock was ahead."""
    key = (run.task, run.day.isoformat())
    db.execute("UPDATE nightly_run SET state = 'untimely' WHERE task = ? AND day = ?", key)
    reason = "it was begun while the clock was ahead"
    events.record(db, now, "night", run.task, before=run.day.isoformat(), after=RunState.UNTIMELY, reason=reason)


def _ahead_s(row: sqlite3.Row, now: Instant, reached_s: float) -> float:
    """By how much more than the wall clock time has gone on since a run was begun."""
    shown_s = (now.wall - datetime.fromisoformat(row["began_at"])).total_seconds()
    return reached_s - float(row["began_s"]) - shown_s


def forget(db: Database, before: date) -> None:
    """Remove the runs of days before this one, in the caller's transaction."""
    db.execute("DELETE FROM nightly_run WHERE day < ?", (before.isoformat(),))


def _runs(db: Database, where: str, values: tuple[str | int, ...]) -> list[NightlyRun]:
    return [_run(row) for row in db.rows(f"SELECT {_COLUMNS} FROM nightly_run {where}", values)]


def _run(row: sqlite3.Row) -> NightlyRun:
    changes = {
        "task": NightlyTask(row["task"]),
        "day": date.fromisoformat(row["day"]),
        "state": RunState(row["state"]),
    }
    told = {name: row[name] for name in _COLUMNS.split(", ")}
    return NightlyRun(**{**told, **changes})
