"""Unified Procedure Steps: those that peers asked for, and one for each study that is to be read."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from node.domain.dicom_json import Attributes, text
from node.domain.time import Instant
from node.domain.ups import UpsState
from node.domain.ups_attributes import PRIORITY
from node.store import events
from node.store.database import Database, Value

#: Steps that are read at once.
_AT_ONCE = 50
_ORDER = {"HIGH": 0, "MEDIUM": 1, "LOW": 2}
#: A step of a study whose patient is in doubt is nobody's to see or to claim.
_SHOWN = "(u.state != 'SCHEDULED' OR s.state IS NULL OR s.state != 'held')"
_FROM = "FROM ups u LEFT JOIN study s ON s.study_instance_uid = u.study_instance_uid AND u.number > 0"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpsRow:
    """One step as the tables have it."""

    sop_instance_uid: str
    state: UpsState
    #: The lock: whoever claimed the step knows it, and it is told to nobody. Empty before.
    transaction_uid: str
    #: Names of the peers that claimed it and that made it; empty before, and for our own.
    performer: str
    source: str
    #: Issuer of Patient ID; empty where nobody named one.
    issuer: str
    #: Of a step to read a study: that study, and the how manieth reading it is; else "" and 0.
    study_instance_uid: str
    number: int
    attributes: Attributes
    #: What we said last in a step to read a study, but for its images.
    generated: Attributes
    created_at: str
    #: Of which revision of the study the images are named.
    revision: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What has to be known of the latest step to read a study to see whether anything of it changes."""

    sop_instance_uid: str
    state: UpsState
    number: int
    revision: int
    generated: Attributes
    created_at: str


def add(db: Database, now: Instant, row: UpsRow) -> bool:
    """Keep a new step, inside the caller's transaction; `False` if there is one with this UID."""
    made = db.execute(
        "INSERT OR IGNORE INTO ups (sop_instance_uid, state, source, issuer, study_instance_uid, number, revision,"
        " priority_order, attributes, generated, created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(row.sop_instance_uid, row.state, row.source, row.issuer, row.study_instance_uid, row.number),
            row.revision,
            *(_priority_order(row.attributes), json.dumps(row.attributes), json.dumps(row.generated)),
            *(now.iso, now.iso),
        ),
    )
    if made.rowcount:
        reason = f"asked by {row.source}" if row.source else "to be read"
        _note(db, now, row, "", row.state, reason)
    return bool(made.rowcount)


def record(db: Database, now: Instant, uid: str, attributes: Attributes) -> None:
    """Keep what a step says now."""
    db.execute(
        "UPDATE ups SET attributes = ?, priority_order = ?, changed_at = ? WHERE sop_instance_uid = ?",
        (json.dumps(attributes), _priority_order(attributes), now.iso, uid),
    )


def record_generated(db: Database, uid: str, generated: Attributes, *, revision: int) -> None:
    """Keep what we have said last of a study, and of which revision."""
    db.execute(
        "UPDATE ups SET generated = ?, revision = ? WHERE sop_instance_uid = ?", (json.dumps(generated), revision, uid)
    )


def move(
    db: Database, now: Instant, row: UpsRow, after: UpsState, *, reason: str, transaction_uid: str = "",
    performer: str = "",
) -> None:  # fmt: skip
    """Move a step to another state; a claim records by which Transaction UID and by whom."""
    db.execute(
        "UPDATE ups SET state = ?, changed_at = ?, transaction_uid = CASE WHEN ? = '' THEN transaction_uid ELSE ? END,"
        " performer = CASE WHEN ? = '' THEN performer ELSE ? END WHERE sop_instance_uid = ?",
        (after, now.iso, transaction_uid, transaction_uid, performer, performer, row.sop_instance_uid),
    )
    _note(db, now, row, row.state, after, reason)


def step(db: Database, uid: str, *, shown_alone: bool = False) -> UpsRow | None:
    """One step; with `shown_alone` none whose study is held before anybody has claimed it."""
    where = f" AND {_SHOWN}" if shown_alone else ""
    found = db.row(f"SELECT u.* {_FROM} WHERE u.sop_instance_uid = ?{where}", (uid,))
    return _row(found) if found else None


def shown(db: Database, *, uids: Sequence[str] = (), states: Sequence[str] = ()) -> Iterator[UpsRow]:
    """Steps with one of these UIDs and in one of these states, most urgent first; what is empty is any."""
    wheres = {
        "u.sop_instance_uid IN (SELECT value FROM json_each(?))": json.dumps(list(uids)) if uids else "",
        "u.state IN (SELECT value FROM json_each(?))": json.dumps(list(states)) if states else "",
    }
    asked = {where: value for where, value in wheres.items() if value}
    rows = db.rows(
        f"SELECT u.sop_instance_uid {_FROM} WHERE {' AND '.join([_SHOWN, *asked])}"
        " ORDER BY coalesce(s.lane_order, u.priority_order), s.sort_key DESC, u.created_at, u.sop_instance_uid",
        tuple(asked.values()),
    )
    found = [row["sop_instance_uid"] for row in rows]
    # A step may be of a megabyte.
    for piece in (found[at : at + _AT_ONCE] for at in range(0, len(found), _AT_ONCE)):
        whole = f"SELECT u.* {_FROM} WHERE {_SHOWN} AND u.sop_instance_uid IN (SELECT value FROM json_each(?))"
        held = {row["sop_instance_uid"]: row for row in db.rows(whole, (json.dumps(piece),))}
        yield from (_row(held[uid]) for uid in piece if uid in held)


def reading(db: Database, study_instance_uid: str) -> Reading | None:
    """The latest step to read a study."""
    found = db.row(
        "SELECT sop_instance_uid, state, number, revision, generated, created_at FROM ups"
        " WHERE study_instance_uid = ? AND number > 0 ORDER BY number DESC LIMIT 1",
        (study_instance_uid,),
    )
    if found is None:
        return None
    known = {"state": UpsState(found["state"]), "generated": json.loads(found["generated"])}
    return Reading(**{**dict(found), **known})


def images(db: Database, study_instance_uid: str, *, limit: int) -> list[tuple[str, str, str]]:
    """Series, SOP Class and SOP Instance UID of the images to read of a study, in order; ours and rejected ones not."""
    rows = db.rows(
        "SELECT series_instance_uid, sop_class_uid, sop_instance_uid FROM instance WHERE study_instance_uid = ?"
        " AND current = 1 AND image = 1 AND ours = 0 AND rejected = ''"
        " ORDER BY series_instance_uid, sop_instance_uid LIMIT ?",
        (study_instance_uid, limit),
    )
    return [tuple(row) for row in rows]


def count_asked(db: Database) -> int:
    """How many steps that peers asked for are kept."""
    row = db.row("SELECT count(*) AS number FROM ups WHERE number = 0")
    return int(row["number"]) if row else 0


def unsettled_studies(db: Database, *, limit: int) -> list[str]:
    """Closed studies without a step to read them that should have one, and those with one that should have none."""
    rows = db.rows(
        "SELECT s.study_instance_uid FROM study s LEFT JOIN ups u ON u.study_instance_uid = s.study_instance_uid"
        " AND u.number = (SELECT max(number) FROM ups m WHERE m.study_instance_uid = s.study_instance_uid"
        " AND m.number > 0)"
        " WHERE (u.state = 'SCHEDULED' AND (s.state = 'held' OR s.prior != '' OR s.report_state = 'final'))"
        " OR (s.revision > 0 AND s.early = 0 AND s.state != 'held' AND s.prior = '' AND s.report_state != 'final'"
        " AND (u.state IS NULL OR u.state = 'CANCELED')) LIMIT ?",
        (limit,),
    )
    return [row["study_instance_uid"] for row in rows]


def forget_final(db: Database, before_iso: str) -> int:
    """Forget steps that are final since before then and that nobody has locked; return how many."""
    gone = db.execute(
        "DELETE FROM ups WHERE state IN ('COMPLETED', 'CANCELED') AND changed_at < ?"
        " AND NOT EXISTS (SELECT 1 FROM ups_subscription WHERE ups = sop_instance_uid AND locked = 1)"
        # The newest reading of a study says that it was read, and counts the readings.
        " AND (number = 0 OR EXISTS (SELECT 1 FROM ups l WHERE l.study_instance_uid = ups.study_instance_uid"
        " AND l.number > ups.number) OR EXISTS (SELECT 1 FROM study s WHERE s.study_instance_uid"
        " = ups.study_instance_uid AND s.report_state = 'final'))",
        (before_iso,),
    )
    return gone.rowcount


def _priority_order(attributes: Attributes) -> int:
    return _ORDER.get(text(attributes, PRIORITY), len(_ORDER))


def _row(row: sqlite3.Row) -> UpsRow:
    values: dict[str, Value] = {name: row[name] for name in UpsRow.__slots__ if name not in ("attributes", "generated")}
    return UpsRow(
        **{
            **values,
            "state": UpsState(row["state"]),
            "attributes": json.loads(row["attributes"]),
            "generated": json.loads(row["generated"] or "{}"),
        }
    )


def _note(db: Database, now: Instant, row: UpsRow, before: str, after: str, reason: str) -> None:
    study = row.study_instance_uid if row.number else ""
    events.record(db, now, "ups", row.sop_instance_uid, before=before, after=after, reason=reason, study=study)
