"""How long studies wait: one scale of seconds that goes on through clock steps, suspends and reboots.

Within a boot the scale is CLOCK_BOOTTIME. Each boot is joined to the one before by the wall clock as it shows at the
boot's first use of the scale, but never before anything that stands on the scale already: a wall clock that is set,
forwards or backwards, moves nothing that waits, and whoever comes later never stands before the earlier.
"""

from __future__ import annotations

from node.domain.priority import Lane
from node.domain.time import Instant, elapsed_s
from node.store.database import Database

#: Told of a study that waits for longer than its lane should.
_UNREAD = "report_state IN ('unread', 'being read') AND prior = '' AND revision > 0"


def reached_s(db: Database, now: Instant) -> float:
    """`now` on the scale; reads alone, so it may stand outside a transaction."""
    return _offset_s(db, now) + now.boottime_s


def joined_s(db: Database, now: Instant, arrived: Instant) -> float:
    """When a study that arrived then joins the list, on the scale; fixes the scale of this boot, in a transaction."""
    db.execute("INSERT OR IGNORE INTO boot (boot_id, offset_s) VALUES (?, ?)", (now.boot_id, _offset_s(db, now)))
    return would_join_s(db, now, arrived)


def would_join_s(db: Database, now: Instant, arrived: Instant) -> float:
    """The same, fixing nothing; of an earlier boot that never used the scale, the wall clock says how long ago."""
    known = db.row("SELECT offset_s FROM boot WHERE boot_id = ?", (arrived.boot_id,))
    if known is not None:
        return float(known["offset_s"]) + arrived.boottime_s
    return reached_s(db, now) - elapsed_s(arrived, now)


def mark_too_long(db: Database, now: Instant, lane: Lane, limit_min: float, reason: str) -> list[str]:
    """Mark every study of the lane that nobody has read for longer than `limit_min`; return those marked now."""
    rows = db.rows(
        f"UPDATE study SET waits_too_long = ? WHERE lane = ? AND queued_s <= ? AND waits_too_long = '' AND"
        f" report_state != 'final' AND {_UNREAD} RETURNING study_instance_uid",
        (reason, lane, reached_s(db, now) - 60.0 * limit_min),
    )
    return sorted(row["study_instance_uid"] for row in rows)


def any_too_long(db: Database, now: Instant, lane: Lane, limit_min: float) -> bool:
    """Whether `mark_too_long` would mark any: asked outside a transaction."""
    return (
        db.row(
            "SELECT 1 FROM study WHERE lane = ? AND queued_s <= ? AND waits_too_long = '' AND report_state != 'final'"
            f" AND {_UNREAD} LIMIT 1",
            (lane, reached_s(db, now) - 60.0 * limit_min),
        )
        is not None
    )


def too_long_by_lane(db: Database) -> dict[str, int]:
    """How many studies are marked and still unread, by lane."""
    rows = db.rows(f"SELECT lane, count(*) AS count FROM study WHERE waits_too_long != '' AND {_UNREAD} GROUP BY lane")
    return {row["lane"]: row["count"] for row in rows}


def _offset_s(db: Database, now: Instant) -> float:
    """What the boot's steady clock lacks to the scale: kept, or as it would be kept now."""
    known = db.row("SELECT offset_s FROM boot WHERE boot_id = ?", (now.boot_id,))
    if known is not None:
        return float(known["offset_s"])
    rows = db.rows(
        "SELECT max(queued_s) AS latest_s FROM study UNION ALL SELECT max(offset_s) FROM boot"
        " UNION ALL SELECT max(asked_s) FROM acknowledgement"
    )
    floors = [float(row["latest_s"]) for row in rows if row["latest_s"] is not None]
    return max((now.wall.timestamp() - now.boottime_s, *floors))
