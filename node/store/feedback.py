"""What readers have said of results."""

from __future__ import annotations

import sqlite3

from node.domain.feedback import Feedback, Verdict
from node.domain.time import Instant
from node.store.database import Database


def add(
    db: Database,
    now: Instant,
    *,
    study: str,
    outcome_id: int,
    model: str,
    verdict: Verdict,
    given_by: str,
    label: str = "",
    because: str = "",
    sop_instance_uid: str = "",
) -> bool:
    """Keep what a reader says; `False` where this very correction of this outcome stands already."""
    made = db.rows(
        "INSERT INTO feedback (study_instance_uid, outcome_id, model, verdict, label, because, given_by, given_at,"
        " sop_instance_uid) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (sop_instance_uid, outcome_id) WHERE sop_instance_uid != ''"
        " DO UPDATE SET standing = 1 WHERE standing = 0 RETURNING id",
        (study, outcome_id, model, verdict, label, because, given_by, now.iso, sop_instance_uid),
    )
    return bool(list(made))


def let_fall(db: Database, sop_instance_uid: str, *, but_not: int = 0) -> list[Feedback]:
    """Believe an object no more as a correction, of no outcome but one; return what stood until now."""
    values = (sop_instance_uid, but_not)
    stood = _feedback(db, "WHERE sop_instance_uid = ? AND standing = 1 AND outcome_id != ?", values)
    db.execute("UPDATE feedback SET standing = 0 WHERE sop_instance_uid = ? AND outcome_id != ?", values)
    return stood


def of_study(db: Database, study_instance_uid: str) -> list[Feedback]:
    """All that was said of the results of a study, oldest first."""
    return _feedback(db, "WHERE study_instance_uid = ? ORDER BY id", (study_instance_uid,))


def studies_with_feedback(db: Database, *, model: str = "", since: str = "") -> list[str]:
    """Studies of whose results something was said that stands, of one model or any, from an ISO 8601 day on."""
    rows = db.rows(
        "SELECT DISTINCT study_instance_uid FROM feedback WHERE standing = 1 AND (? = '' OR model = ?)"
        " AND given_at >= ? ORDER BY study_instance_uid",
        (model, model, since),
    )
    return [row["study_instance_uid"] for row in rows]


def _feedback(db: Database, where: str, values: tuple[str | int, ...]) -> list[Feedback]:
    return [_one(row) for row in db.rows(f"SELECT * FROM feedback {where}", values)]


def _one(row: sqlite3.Row) -> Feedback:
    values = dict(row)
    values["verdict"] = Verdict(values["verdict"])
    values["standing"] = bool(values["standing"])
    return Feedback(**values)
