"""What happened since some moment, as a morning is told it: places that moved, what failed, what waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from node.domain.time import Instant
from node.store import waiting
from node.store.database import Database

_UNREAD = "s.report_state != 'final' AND s.prior = '' AND s.revision > 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class MovedPlace:
    """One study that waits, and where it stood at the beginning and at the end."""

    study_instance_uid: str
    #: Lane and score, as "ROUTINE 10".
    before: str
    after: str
    why: str
    #: It came since.
    is_new: bool


def moved_places(db: Database, since: str) -> list[MovedPlace]:
    """Every study that waits and that has moved since then (ISO 8601 UTC)."""
    rows = db.rows(
        "SELECT m.study_instance_uid, a.before, z.after, z.reason AS why, s.first_wall >= ? AS is_new FROM"
        " (SELECT study_instance_uid, min(id) AS first, max(id) AS last FROM event WHERE about = 'rank' AND at >= ?"
        "  GROUP BY study_instance_uid) m JOIN event a ON a.id = m.first JOIN event z ON z.id = m.last"
        f" JOIN study s USING (study_instance_uid) WHERE {_UNREAD} AND a.before != z.after",
        (since, since),
    )
    return [MovedPlace(**{**dict(row), "is_new": bool(row["is_new"])}) for row in rows]


def arrivals(db: Database, since: str) -> int:
    """How many studies have closed for the first time since then; priors are none of them."""
    row = db.row(
        "SELECT count(*) AS number FROM revision r JOIN study s USING (study_instance_uid)"
        " WHERE r.number = 1 AND r.closed_at >= ? AND s.prior = ''",
        (since,),
    )
    return int(row["number"]) if row else 0


def failed_models(db: Database, since: str) -> list[dict[str, Any]]:
    """Models that did not read studies, and why: live ones alone."""
    return _dicts(
        db,
        "SELECT o.model, o.state, o.reason, count(*) AS number FROM outcome o WHERE o.mode = 'live'"
        " AND o.state IN ('failed', 'incomplete') AND coalesce(nullif(o.finished_at, ''), o.created_at) >= ?"
        " GROUP BY 1, 2, 3 ORDER BY number DESC LIMIT 20",
        since,
    )


def stopped_results(db: Database) -> list[dict[str, Any]]:
    """Results that have not reached a destination and will not by themselves."""
    return _dicts(
        db,
        "SELECT destination, state, reason, count(*) AS number FROM outbox WHERE state IN ('dead', 'held')"
        " GROUP BY 1, 2, 3 ORDER BY number DESC LIMIT 20",
    )


def parked_work(db: Database, since: str) -> list[dict[str, Any]]:
    """Work that was given up since then; what models did not read is told elsewhere."""
    return _dicts(
        db,
        "SELECT kind, reason, count(*) AS number FROM work_item WHERE state = 'parked' AND kind != 'infer'"
        " AND changed_at >= ? GROUP BY 1, 2 ORDER BY number DESC LIMIT 20",
        since,
    )


def failed_retrievals(db: Database, since: str) -> list[dict[str, Any]]:
    """Studies that an archive did not give, or not whole."""
    return _dicts(
        db,
        "SELECT peer, state, reason, count(*) AS number FROM retrieval WHERE state IN ('failed', 'incomplete')"
        " AND finished_at >= ? GROUP BY 1, 2, 3 ORDER BY number DESC LIMIT 20",
        since,
    )


def waiting_archives(db: Database) -> list[dict[str, Any]]:
    """Archives that do not give what was asked for now, with the last reason."""
    return _dicts(
        db,
        "SELECT peer, reason, count(*) AS number FROM retrieval WHERE state = 'requested' AND started_at != ''"
        " AND reason != '' GROUP BY 1 ORDER BY 1",
    )


def waiting_questions(db: Database) -> list[dict[str, Any]]:
    """Questions to others that were not answered yet, by kind, with the last reason."""
    return _dicts(
        db,
        "SELECT kind, reason, count(*) AS number FROM work_item WHERE state = 'ready' AND passing_faults > 0"
        " AND kind IN ('priors', 'expected_count', 'worklist', 'backfill', 'archived') GROUP BY 1, 2 ORDER BY 1, 2",
    )


def pending_models(db: Database) -> list[dict[str, Any]]:
    """Live models that have not read studies that wait, and since when the first of these waits."""
    return _dicts(
        db,
        "SELECT o.model, count(*) AS number, min(o.created_at) AS oldest_at FROM outcome o"
        f" JOIN study s USING (study_instance_uid) WHERE o.state IN ('pending', 'running') AND o.mode = 'live'"
        f" AND {_UNREAD} GROUP BY 1 ORDER BY 1",
    )


def longest_waits(db: Database, now: Instant, limit: int) -> list[dict[str, Any]]:
    """The studies that wait for a radiologist longest, minutes, and whether that is too long."""
    reached_s = waiting.reached_s(db, now)
    rows = db.rows(
        "SELECT study_instance_uid, lane, queued_s, waits_too_long FROM study s"
        f" WHERE {_UNREAD} AND queued_s IS NOT NULL ORDER BY queued_s LIMIT ?",
        (limit,),
    )
    return [
        {
            "study_instance_uid": row["study_instance_uid"],
            "lane": row["lane"],
            "waits_min": round((reached_s - row["queued_s"]) / 60.0),
            "too_long": row["waits_too_long"],
        }
        for row in rows
    ]


def unread_by_lane(db: Database) -> dict[str, int]:
    """How many studies wait for a radiologist, by lane."""
    rows = db.rows(f"SELECT lane, count(*) AS number FROM study s WHERE {_UNREAD} GROUP BY lane")
    return {row["lane"]: row["number"] for row in rows}


def _dicts(db: Database, sql: str, *values: str) -> list[dict[str, Any]]:
    return [dict(row) for row in db.rows(sql, values)]
