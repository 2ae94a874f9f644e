"""Work for spare time: what is put off, and whether anything waits that somebody waits for."""

from __future__ import annotations

from node.domain.time import Instant
from node.domain.work import WorkHours, WorkKind
from node.store.database import Database


def is_awaited(db: Database, now: Instant, kind: WorkKind, subject_prefix: str = "") -> bool:
    """Whether an item may be claimed that somebody waits for."""
    row = db.row(
        "SELECT 1 FROM work_item WHERE kind = ? AND state = 'ready' AND hours = 0 AND substr(subject, 1, ?) = ?"
        " AND (boot_id != ? OR not_before_boot_s <= ?) LIMIT 1",
        (kind, len(subject_prefix), subject_prefix, now.boot_id, now.boottime_s),
    )
    return row is not None


def waiting(db: Database) -> dict[str, dict[str, int]]:
    """How many items are put off and not done: kind → "night" or "spare" → count."""
    rows = db.rows(
        "SELECT kind, hours, count(*) AS number FROM work_item WHERE state IN ('ready', 'claimed') AND hours > 0"
        " GROUP BY kind, hours ORDER BY kind, hours"
    )
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        found.setdefault(row["kind"], {})[WorkHours(row["hours"]).name.lower()] = row["number"]
    return found


def deferrable(db: Database) -> int:
    """How many studies in the lane ROUTINE wait for a model and for nobody's asking."""
    row = db.row(
        "SELECT count(DISTINCT w.study_instance_uid) AS number FROM work_item w JOIN study s USING (study_instance_uid)"
        " WHERE w.kind = 'infer' AND w.state = 'ready' AND w.hours = 0 AND s.lane_order >= 2 AND s.asked = 0"
    )
    assert row is not None
    return int(row["number"])
