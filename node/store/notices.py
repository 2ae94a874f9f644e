"""Notices: one row a study, route and version; the newest takes the place of what has not been acknowledged."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from node.domain.notice import NOTICE_MOVES, STANDING, Flag, NoticeState, control_id
from node.domain.patient import Patient
from node.domain.time import Instant, elapsed_s
from node.store import events
from node.store.database import Database

_FLAG = TypeAdapter(Flag)
_WAITING = "state IN ('queued', 'sent')"
#: Acknowledged notices that lags are taken from, the newest.
_LOOK_BACK = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What one route is told of one study."""

    id: int
    study_instance_uid: str
    route: str
    #: 1 is the first that this route was told of the study.
    version: int
    control_id: str
    state: NoticeState
    #: Of the state.
    reason: str
    #: Why it is told.
    because: str
    flag: Flag
    #: As it is sent, in every character; `None` until it leaves for the first time.
    message: bytes | None
    told_at: str
    #: When the study's last instance had come.
    received: Instant
    #: ISO 8601 UTC; empty where it has not.
    sent_at: str
    acknowledged_at: str
    #: From the last instance to the acknowledgement, seconds.
    lag_s: float | None
    attempts: int
    refusals: int
    owner: str


def add(db: Database, now: Instant, *, route: str, flag: Flag, received: Instant, because: str) -> None:
    """Queue a notice in the caller's transaction; older ones of the study and route are superseded."""
    study = flag.study_instance_uid
    supersede(db, now, study, route, "a newer notice took its place")
    row = db.row("SELECT max(version) AS number FROM notice WHERE study_instance_uid = ? AND route = ?", (study, route))
    version = 1 + int(row["number"] or 0) if row else 1
    db.execute(
        "INSERT INTO notice (study_instance_uid, route, version, control_id, because, flag, told_at, received_wall,"
        " received_boot_s, received_boot_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(study, route, version, control_id(study, route, version, now.iso), because, _json(flag), now.iso),
            *(received.iso, received.boottime_s, received.boot_id),
        ),
    )
    events.record(
        db, now, "notice", f"{route} {version}", after=NoticeState.QUEUED, reason=because, study=study
    )  # fmt: skip


def supersede(db: Database, now: Instant, study_instance_uid: str, route: str, reason: str) -> None:
    """Nothing that stands of a study on a route is sent any more; in the caller's transaction."""
    for notice in of_study(db, study_instance_uid):
        if notice.route == route and notice.state in STANDING:
            move(db, now, notice, NoticeState.SUPERSEDED, reason)


def claim(db: Database, now: Instant, route: str, owner: str, lease_s: float) -> Notice | None:
    """Lease the most urgent notice of a route that is due; opens its own transaction."""
    with db.transaction():
        row = db.row(
            "UPDATE notice SET attempts = attempts + 1, owner = ?, boot_id = ?, lease_boot_s = ? WHERE id ="
            f" (SELECT n.id FROM notice n JOIN study s USING (study_instance_uid) WHERE n.{_WAITING} AND {_DUE}"
            " ORDER BY s.lane_order, s.sort_key DESC, n.id LIMIT 1) RETURNING id",
            (owner, now.boot_id, now.boottime_s + lease_s, route, *_due(now)),
        )
        return _notices(db, "WHERE id = ?", (row["id"],))[0] if row else None


_DUE = "n.route = ? AND (n.boot_id != ? OR (n.lease_boot_s <= ? AND n.not_before_boot_s <= ?))"


def is_due(db: Database, now: Instant, route: str) -> bool:
    """Whether a notice of a route may be claimed."""
    where = f"SELECT 1 FROM notice n WHERE n.{_WAITING} AND {_DUE} LIMIT 1"
    return db.row(where, (route, *_due(now))) is not None


def begin(db: Database, now: Instant, notice: Notice, message: bytes) -> bool:
    """Fix what is sent, and that it may be there from now on; `False` if the notice is no longer ours.

    Opens its own transaction: it is durable before the first byte leaves, so whoever sends it again sends the same.
    """
    with db.transaction():
        fixed = db.execute(
            "UPDATE notice SET message = coalesce(message, ?), sent_at = CASE sent_at WHEN '' THEN ? ELSE sent_at END"
            f" WHERE id = ? AND owner = ? AND {_WAITING}",
            (message, now.iso, notice.id, notice.owner),
        )
        if fixed.rowcount and notice.state is NoticeState.QUEUED:
            db.execute("UPDATE notice SET state = 'sent' WHERE id = ?", (notice.id,))
            _record(db, now, notice, NoticeState.SENT, "")
    return bool(fixed.rowcount)


def move(db: Database, now: Instant, notice: Notice, after: NoticeState, reason: str, *, wait_s: float = 0.0) -> bool:
    """Record what became of a notice in the caller's transaction; `False` if that is no legal move any more.

    Queued or sent again: after `wait_s`. A notice that was acknowledged after a newer one had taken its place stays
    superseded, but the acknowledgement is kept.
    """
    held = db.row("SELECT state FROM notice WHERE id = ?", (notice.id,))
    if held is None:
        return False
    before = NoticeState(held["state"])
    if after is NoticeState.ACKNOWLEDGED:
        lag_s = elapsed_s(notice.received, now)
        db.execute("UPDATE notice SET acknowledged_at = ?, lag_s = ? WHERE id = ?", (now.iso, lag_s, notice.id))
    if after not in NOTICE_MOVES[before]:
        return False
    db.execute(
        "UPDATE notice SET state = ?, reason = ?, owner = '', lease_boot_s = 0, boot_id = ?, not_before_boot_s = ?,"
        " refusals = CASE WHEN state IN ('dead', 'held') THEN 0 ELSE refusals END WHERE id = ?",
        (after, reason, now.boot_id, now.boottime_s + wait_s, notice.id),
    )
    if before is not after or reason != notice.reason:
        _record(db, now, notice, after, reason, before)
    return True


def count_refusal(db: Database, notice: Notice) -> None:
    """Count one more refusal in the caller's transaction."""
    db.execute("UPDATE notice SET refusals = refusals + 1 WHERE id = ?", (notice.id,))


def wake(db: Database, route: str) -> None:
    """A route is back: what waits only because it was away is next again; opens its own transaction."""
    with db.transaction():
        db.execute(f"UPDATE notice SET not_before_boot_s = 0 WHERE {_WAITING} AND route = ? AND refusals = 0", (route,))


def release(db: Database, owner_prefix: str) -> int:
    """Drop the leases of owners whose name starts so; opens its own transaction."""
    with db.transaction():
        freed = db.execute(
            f"UPDATE notice SET lease_boot_s = 0, owner = '' WHERE {_WAITING} AND owner LIKE ?", (owner_prefix + "%",)
        )
    return freed.rowcount


def owned(db: Database, owner_prefix: str) -> list[Notice]:
    """Notices leased to an owner whose name starts so: what a killed sender held."""
    return _notices(db, f"WHERE {_WAITING} AND owner LIKE ? ORDER BY id", (owner_prefix + "%",))


def waiting(db: Database) -> dict[str, int]:
    """How many notices wait, by route."""
    rows = db.rows(f"SELECT route, count(*) AS number FROM notice WHERE {_WAITING} GROUP BY route")
    return {row["route"]: row["number"] for row in rows}


def waiting_of(db: Database, route: str) -> list[Notice]:
    """Notices that wait on a route, oldest first."""
    return _notices(db, f"WHERE {_WAITING} AND route = ? ORDER BY id", (route,))


def of_study(db: Database, study_instance_uid: str) -> list[Notice]:
    """Every notice of a study, oldest first."""
    return _notices(db, "WHERE study_instance_uid = ? ORDER BY id", (study_instance_uid,))


def last_message(db: Database, notice: Notice) -> bytes | None:
    """The message of the latest notice before this one, of its study and route, that has left; `None` if none has."""
    row = db.row(
        "SELECT message FROM notice WHERE study_instance_uid = ? AND route = ? AND version < ? AND message IS NOT NULL"
        " ORDER BY version DESC LIMIT 1",
        (notice.study_instance_uid, notice.route, notice.version),
    )
    return row["message"] if row else None


def told_and_over(db: Database, routes: Sequence[str], *, limit: int) -> list[str]:
    """Studies of which one of these routes was told that they are to be read, and that are not any more."""
    over = "coalesce(json_extract(n.flag, '$.over'), '') != ''"
    sent = f"NOT {over} AND n.sent_at != '' AND n.state != 'dead'"
    rows = db.rows(
        "SELECT DISTINCT n.study_instance_uid FROM notice n JOIN study s USING (study_instance_uid)"
        " WHERE n.route IN (SELECT value FROM json_each(?))"
        " AND (s.state = 'held' OR s.prior != '' OR s.report_state = 'final') GROUP BY n.study_instance_uid, n.route"
        f" HAVING max(CASE WHEN {sent} THEN n.id ELSE 0 END) > max(CASE WHEN {over} THEN n.id ELSE 0 END)"
        " LIMIT ?",
        (json.dumps(list(routes)), limit),
    )
    return [row["study_instance_uid"] for row in rows]


def newest_of_route(db: Database, route: str, *, since: str) -> list[Notice]:
    """The newest notice of each study on a route that was told since then (ISO 8601 UTC), oldest first."""
    where = "WHERE id IN (SELECT max(id) FROM notice WHERE route = ? GROUP BY study_instance_uid) AND told_at >= ?"
    return _notices(db, f"{where} ORDER BY id", (route, since))


def counts(db: Database, route: str) -> dict[str, int]:
    """How many notices of a route are in which state."""
    rows = db.rows("SELECT state, count(*) AS number FROM notice WHERE route = ? GROUP BY state", (route,))
    return {row["state"]: row["number"] for row in rows}


def last_acknowledged(db: Database, route: str) -> str:
    """When a notice of a route was last acknowledged, ISO 8601 UTC; empty if never."""
    row = db.row("SELECT max(acknowledged_at) AS at FROM notice WHERE route = ?", (route,))
    return str(row["at"] or "") if row else ""


def last_trouble(db: Database, route: str) -> str:
    """What was last wrong with a notice of a route that waits or is dead; empty if nothing is."""
    row = db.row(
        "SELECT reason FROM notice WHERE route = ? AND reason != '' AND state IN ('queued', 'sent', 'dead')"
        " ORDER BY id DESC LIMIT 1",
        (route,),
    )
    return str(row["reason"]) if row else ""


def lags_s(db: Database, route: str, *, lanes: Collection[str] = ()) -> list[float]:
    """Seconds from last instance to acknowledgement of the newest first notices of studies, ascending."""
    rows = db.rows(
        "SELECT lag_s, json_extract(flag, '$.lane') AS lane FROM notice WHERE route = ? AND version = 1"
        " AND acknowledged_at != '' ORDER BY acknowledged_at DESC LIMIT ?",
        (route, _LOOK_BACK),
    )
    return sorted(row["lag_s"] for row in rows if not lanes or row["lane"] in lanes)


def studies_of_accession(db: Database, patient: Patient, accession_number: str) -> list[str]:
    """UIDs of the studies of (Patient ID, issuer) under an accession number, first received first."""
    rows = db.rows(
        "SELECT study_instance_uid FROM study WHERE json_extract(\"order\", '$.accession_number') = ?"
        " AND patient_id = ? AND issuer = ? ORDER BY first_wall, study_instance_uid",
        (accession_number, patient.patient_id, patient.issuer),
    )
    return [row["study_instance_uid"] for row in rows]


def _record(
    db: Database,
    now: Instant,
    notice: Notice,
    after: NoticeState,
    reason: str,
    before: NoticeState | None = None,
) -> None:
    subject, study = f"{notice.route} {notice.version}", notice.study_instance_uid
    events.record(db, now, "notice", subject, before=before or notice.state, after=after, reason=reason, study=study)


def _due(now: Instant) -> tuple[str, float, float]:
    return (now.boot_id, now.boottime_s, now.boottime_s)


def _json(flag: Flag) -> str:
    return _FLAG.dump_json(flag).decode()


def _notices(db: Database, where: str, values: Sequence[str | int]) -> list[Notice]:
    return [_notice(row) for row in db.rows(f"SELECT * FROM notice {where}", values)]


def _notice(row: sqlite3.Row) -> Notice:
    wanted = {name: row[name] for name in Notice.__slots__ if name not in ("received", "flag", "state")}
    return Notice(
        **wanted,
        state=NoticeState(row["state"]),
        flag=_FLAG.validate_json(row["flag"]),
        received=Instant(datetime.fromisoformat(row["received_wall"]), row["received_boot_s"], row["received_boot_id"]),
    )
