"""Backfills: which studies of old are fetched from which archive to be read in the shadow, and how far each is."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from node.domain.night import BackfilledState, BackfillState
from node.domain.time import Instant
from node.store import events
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Backfill:
    """One archive and range of days."""

    id: int
    peer: str
    #: YYYYMMDD, both inclusive.
    since: str
    until: str
    #: Only studies with this modality; empty for all.
    modality: str
    #: By day as well.
    at_once: bool
    state: BackfillState
    reason: str
    #: The earliest day that the archive was asked for, YYYYMMDD; it is asked backwards. Empty before the first.
    listed_from: str
    created_at: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BackfilledStudy:
    """One study of it."""

    backfill_id: int
    study_instance_uid: str
    study_date: str
    state: BackfilledState
    reason: str
    retrieval_id: int | None


def add(db: Database, now: Instant, *, peer: str, since: str, until: str, modality: str, at_once: bool) -> Backfill:
    """Begin one, in the caller's transaction."""
    made = db.execute(
        "INSERT INTO backfill (peer, since, until, modality, at_once, created_at, changed_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (peer, since, until, modality, at_once, now.iso, now.iso),
    )
    events.record(db, now, "backfill", made.lastrowid or 0, after=BackfillState.RUNNING, reason=f"{since}-{until}")
    return _certain(db, made.lastrowid or 0)


def move(db: Database, now: Instant, backfill: Backfill, after: BackfillState, reason: str = "") -> None:
    """Let one stop, go on or end, in the caller's transaction."""
    db.execute(
        "UPDATE backfill SET state = ?, reason = ?, changed_at = ? WHERE id = ?", (after, reason, now.iso, backfill.id)
    )
    events.record(db, now, "backfill", backfill.id, before=backfill.state, after=after, reason=reason)


def note(db: Database, backfill_id: int, reason: str) -> None:
    """Keep why one does not go on for now; empty where it does. In the caller's transaction."""
    db.execute("UPDATE backfill SET reason = ? WHERE id = ?", (reason, backfill_id))


def every(db: Database) -> list[Backfill]:
    """All of them, oldest first."""
    return _backfills(db, "ORDER BY id", ())


def running(db: Database) -> list[Backfill]:
    """Those that are under way, oldest first."""
    return _backfills(db, "WHERE state = 'running' ORDER BY id", ())


def one(db: Database, backfill_id: int) -> Backfill | None:
    """One of them."""
    return next(iter(_backfills(db, "WHERE id = ?", (backfill_id,))), None)


def record_day(db: Database, backfill: Backfill, day: str, studies: Sequence[tuple[str, str]]) -> None:
    """Keep what an archive lists of a day, as (UID, Study Date) each, in the caller's transaction."""
    db.execute_each(
        "INSERT OR IGNORE INTO backfill_study (backfill_id, study_instance_uid, study_date) VALUES (?, ?, ?)",
        [(backfill.id, uid, date) for uid, date in studies],
    )
    db.execute("UPDATE backfill SET listed_from = ?, reason = '' WHERE id = ?", (day, backfill.id))


def studies_in(db: Database, backfill_id: int, state: BackfilledState, limit: int) -> list[BackfilledStudy]:
    """Up to `limit` studies of a backfill in a state, the latest made first."""
    rows = db.rows(
        "SELECT * FROM backfill_study WHERE backfill_id = ? AND state = ?"
        " ORDER BY study_date DESC, study_instance_uid LIMIT ?",
        (backfill_id, state, limit),
    )
    return [_study(row) for row in rows]


def move_study(
    db: Database, each: BackfilledStudy, after: BackfilledState, reason: str = "", *, retrieval_id: int | None = None
) -> None:
    """Keep where one study stands, in the caller's transaction."""
    db.execute(
        "UPDATE backfill_study SET state = ?, reason = ?, retrieval_id = coalesce(?, retrieval_id)"
        " WHERE backfill_id = ? AND study_instance_uid = ?",
        (after, reason, retrieval_id, each.backfill_id, each.study_instance_uid),
    )


def counts(db: Database, backfill_id: int) -> dict[str, int]:
    """How many of its studies stand where."""
    rows = db.rows(
        "SELECT state, count(*) AS number FROM backfill_study WHERE backfill_id = ? GROUP BY state ORDER BY state",
        (backfill_id,),
    )
    return {row["state"]: row["number"] for row in rows}


def reasons(db: Database, backfill_id: int, limit: int) -> dict[str, int]:
    """Why studies were left out, the commonest first."""
    rows = db.rows(
        "SELECT reason, count(*) AS number FROM backfill_study WHERE backfill_id = ? AND state = 'left out'"
        " GROUP BY reason ORDER BY number DESC, reason LIMIT ?",
        (backfill_id, limit),
    )
    return {row["reason"]: row["number"] for row in rows}


def asked_since(db: Database, now: Instant, seconds: float) -> int:
    """How many studies of the past were asked for in the last so many seconds."""
    since = (now.wall - timedelta(seconds=seconds)).isoformat(timespec="microseconds")
    row = db.row(
        "SELECT count(*) AS number FROM retrieval WHERE purpose = 'backfill'"
        " AND requested_at > ? AND requested_at <= ?",
        (since, now.iso),
    )
    assert row is not None
    return int(row["number"])


def _certain(db: Database, backfill_id: int) -> Backfill:
    found = one(db, backfill_id)
    assert found is not None
    return found


def _backfills(db: Database, where: str, values: tuple[int, ...]) -> list[Backfill]:
    columns = "id, peer, since, until, modality, at_once, state, reason, listed_from, created_at"
    return [
        Backfill(**{**dict(row), "at_once": bool(row["at_once"]), "state": BackfillState(row["state"])})
        for row in db.rows(f"SELECT {columns} FROM backfill {where}", values)
    ]


def _study(row: sqlite3.Row) -> BackfilledStudy:
    return BackfilledStudy(**{**dict(row), "state": BackfilledState(row["state"])})


def day_before(day: str) -> str:
    """The day before one that is written YYYYMMDD."""
    before = datetime.strptime(day, "%Y%m%d") - timedelta(days=1)  # noqa: DTZ007  a calendar day, of no time zone
    return before.strftime("%Y%m%d")
