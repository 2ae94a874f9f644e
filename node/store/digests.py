"""Digests: what each morning was told of the night, and the letters that tell it to routes."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from node.domain.notice import NoticeState, control_id
from node.domain.time import Instant
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """One morning's digest."""

    day: date
    #: From when, and until when, it tells; ISO 8601 UTC.
    since: str
    made_at: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestLetter:
    """A digest on its way to one route."""

    id: int
    day: date
    route: str
    control_id: str
    state: NoticeState
    reason: str
    #: As it is sent, in every character; `None` until it leaves for the first time.
    message: bytes | None
    refusals: int
    sent_at: str
    acknowledged_at: str


def record(db: Database, now: Instant, day: date, since: str, body: Mapping[str, Any], routes: Sequence[str]) -> None:
    """Keep a digest, and queue a letter for each route, in the caller's transaction; earlier letters are dropped."""
    db.execute(
        "INSERT OR REPLACE INTO digest (day, since, made_at, body) VALUES (?, ?, ?, ?)",
        (day.isoformat(), since, now.iso, json.dumps(body)),
    )
    db.execute(
        "UPDATE digest_letter SET state = 'superseded', reason = 'a newer digest took its place'"
        " WHERE state IN ('queued', 'sent', 'dead')"
    )
    for route in routes:
        db.execute(
            "INSERT OR REPLACE INTO digest_letter (day, route, control_id) VALUES (?, ?, ?)",
            (day.isoformat(), route, control_id(f"digest {day.isoformat()}", route, 1, now.iso)),
        )


def newest(db: Database) -> Digest | None:
    """The last digest, if there is any."""
    return _one(db, "ORDER BY day DESC LIMIT 1", ())


def of_day(db: Database, day: date) -> Digest | None:
    """The digest of one morning."""
    return _one(db, "WHERE day = ?", (day.isoformat(),))


def days(db: Database, limit: int) -> list[date]:
    """The mornings that have one, the newest first."""
    rows = db.rows("SELECT day FROM digest ORDER BY day DESC LIMIT ?", (limit,))
    return [date.fromisoformat(row["day"]) for row in rows]


def waiting_letter(db: Database, route: str) -> DigestLetter | None:
    """The letter that a route is still to be sent."""
    rows = db.rows(
        "SELECT * FROM digest_letter WHERE route = ? AND state IN ('queued', 'sent') ORDER BY day DESC LIMIT 1",
        (route,),
    )
    return _letter(rows[0]) if rows else None


def letters(db: Database, day: date) -> list[DigestLetter]:
    """The letters of one morning, by route."""
    return [_letter(row) for row in db.rows("SELECT * FROM digest_letter WHERE day = ? ORDER BY route", (str(day),))]


def begin_letter(db: Database, now: Instant, letter: DigestLetter, message: bytes) -> bool:
    """Fix what is sent, and that it may be there from now on; `False` if it is wanted no more. Own transaction."""
    with db.transaction():
        fixed = db.execute(
            "UPDATE digest_letter SET message = coalesce(message, ?), state = 'sent',"
            " sent_at = CASE sent_at WHEN '' THEN ? ELSE sent_at END WHERE id = ? AND state IN ('queued', 'sent')",
            (message, now.iso, letter.id),
        )
    return bool(fixed.rowcount)


def move_letter(
    db: Database, now: Instant, letter: DigestLetter, after: NoticeState, reason: str = "", *, refused: bool = False
) -> None:
    """Keep what became of a letter; own transaction."""
    acknowledged = now.iso if after is NoticeState.ACKNOWLEDGED else ""
    with db.transaction():
        db.execute(
            "UPDATE digest_letter SET state = ?, reason = ?, refusals = refusals + ?,"
            " acknowledged_at = coalesce(nullif(?, ''), acknowledged_at) WHERE id = ? AND state != 'superseded'",
            (after, reason, int(refused), acknowledged, letter.id),
        )


def forget(db: Database, before: date) -> None:
    """Remove the digests of mornings before this one, in the caller's transaction."""
    for table in ("digest", "digest_letter"):
        db.execute(f"DELETE FROM {table} WHERE day < ?", (before.isoformat(),))


def _one(db: Database, where: str, values: tuple[str, ...]) -> Digest | None:
    row = db.row(f"SELECT day, since, made_at, body FROM digest {where}", values)
    if row is None:
        return None
    told = {"day": date.fromisoformat(row["day"]), "body": json.loads(row["body"])}
    return Digest(**{**dict(row), **told})


def _letter(row: sqlite3.Row) -> DigestLetter:
    changes = {"day": date.fromisoformat(row["day"]), "state": NoticeState(row["state"])}
    return DigestLetter(**{**dict(row), **changes})
