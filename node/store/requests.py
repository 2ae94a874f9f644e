"""Requests: what somebody asks for on a page, and the clock room does; a page itself ranks nothing."""

from __future__ import annotations

from dataclasses import dataclass

from node.domain.report_state import ReportState
from node.domain.time import Instant
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Somebody says how far the report of a study is."""

    id: int
    study_instance_uid: str
    report_state: ReportState
    login: str


def add(db: Database, now: Instant, study_instance_uid: str, state: ReportState, login: str) -> None:
    """Ask; opens its own transaction."""
    with db.transaction():
        db.execute(
            "INSERT INTO request (study_instance_uid, report_state, login, asked_at) VALUES (?, ?, ?, ?)",
            (study_instance_uid, state, login, now.iso),
        )


def waiting(db: Database) -> list[Request]:
    """What is asked for and not done, oldest first."""
    rows = db.rows("SELECT * FROM request WHERE done_at = '' ORDER BY id")
    return [
        Request(
            id=row["id"],
            study_instance_uid=row["study_instance_uid"],
            report_state=ReportState(row["report_state"]),
            login=row["login"],
        )
        for row in rows
    ]


def record_done(db: Database, now: Instant, request_id: int) -> bool:
    """It is done, in the caller's transaction; `False` if it was already."""
    done = db.execute("UPDATE request SET done_at = ? WHERE id = ? AND done_at = ''", (now.iso, request_id))
    return bool(done.rowcount)
