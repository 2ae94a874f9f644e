"""Events: every move of everything, with its reason, to be read back later."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from node.domain.time import Instant
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One move of one thing."""

    at: str
    room: str
    #: What moved: study, revision, procedure_step, work_item, outcome, result, association, model.
    about: str
    subject: str
    study_instance_uid: str
    before: str
    after: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedEvent:
    """One move of one study with its number: later ones have greater numbers."""

    number: int
    at: str
    about: str
    study_instance_uid: str
    before: str
    after: str


def record(
    db: Database,
    now: Instant,
    about: str,
    subject: str | int,
    *,
    after: str,
    before: str = "",
    reason: str = "",
    study: str = "",
) -> None:
    """Write down one move, inside the transaction that makes it."""
    db.execute(
        "INSERT INTO event (at, room, about, subject, study_instance_uid, before, after, reason)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (now.iso, db.room, about, str(subject), study, before, after, reason),
    )


def of_study(db: Database, study_instance_uid: str) -> list[Event]:
    """Everything that happened to a study, oldest first."""
    return _events(db, "WHERE study_instance_uid = ? ORDER BY id", (study_instance_uid,))


def latest(db: Database, about: str, limit: int = 50) -> list[Event]:
    """The newest events about one kind of thing, newest first."""
    return _events(db, "WHERE about = ? ORDER BY id DESC LIMIT ?", (about, limit))


def latest_number(db: Database, study_instance_uid: str) -> int:
    """The number of the newest event of a study, 0 if it has none: it grows whenever anything of the study moves."""
    row = db.row("SELECT max(id) AS number FROM event WHERE study_instance_uid = ?", (study_instance_uid,))
    return int(row["number"] or 0) if row else 0


def newest_number(db: Database) -> int:
    """The number of the newest event of all, 0 if there is none."""
    row = db.row("SELECT max(id) AS number FROM event")
    return int(row["number"] or 0) if row else 0


def after_number(db: Database, number: int, abouts: Sequence[str], *, limit: int) -> list[NumberedEvent]:
    """Events about these kinds of things that came after one of that number, oldest first."""
    rows = db.rows(
        "SELECT id AS number, at, about, study_instance_uid, before, after FROM event"
        " WHERE id > ? AND about IN (SELECT value FROM json_each(?)) ORDER BY id LIMIT ?",
        (number, json.dumps(list(abouts)), limit),
    )
    return [NumberedEvent(**dict(row)) for row in rows]


def refusals(db: Database, limit: int) -> list[Event]:
    """The newest callers and objects that were turned away at the door, newest first."""
    where = "WHERE about IN ('security', 'association', 'instance') AND after IN ('rejected', 'closed', 'refused')"
    return _events(db, f"{where} ORDER BY id DESC LIMIT ?", (limit,))


def _events(db: Database, where: str, values: tuple[str | int, ...]) -> list[Event]:
    columns = "at, room, about, subject, study_instance_uid, before, after, reason"
    return [Event(**dict(row)) for row in db.rows(f"SELECT {columns} FROM event {where}", values)]
