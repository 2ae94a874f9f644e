"""The outbox: one row a dataset a destination, sent as the stored file's bytes, as often as needed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from node.domain.rejection import REJECTION_NOTE
from node.domain.time import Instant
from node.domain.work import RESULT_MOVES, ResultState
from node.store import events
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """One dataset on its way to one destination."""

    id: int
    artifact_id: int
    outcome_id: int
    study_instance_uid: str
    destination: str
    state: ResultState
    reason: str
    attempts: int
    owner: str
    kind: str
    #: Relative to the data folder.
    path: str
    sop_instance_uid: str
    sop_class_uid: str
    sent_at: str
    #: How often it was refused in a way that may pass, but seldom does.
    refusals: int = 0


def add(db: Database, now: Instant, *, artifact_id: int, study: str, destination: str) -> None:
    """Queue one dataset for one destination, once."""
    made = db.execute(
        "INSERT OR IGNORE INTO outbox (artifact_id, study_instance_uid, destination, created_at) VALUES (?, ?, ?, ?)",
        (artifact_id, study, destination, now.iso),
    )
    if made.rowcount:
        subject = f"{artifact_id}→{destination}"
        events.record(db, now, "result", subject, after=ResultState.QUEUED, study=study)


def claim(db: Database, now: Instant, destination: str, owner: str, lease_s: float, *, limit: int) -> list[OutboxRow]:
    """Lease up to `limit` queued rows of a destination, most urgent study first; opens its own transaction."""
    with db.transaction():
        rows = db.rows(
            "UPDATE outbox SET attempts = attempts + 1, owner = ?, boot_id = ?, lease_boot_s = ? WHERE id IN ("
            " SELECT o.id FROM outbox o JOIN study s USING (study_instance_uid) WHERE o.state = 'queued'"
            " AND o.destination = ? AND (o.boot_id != ? OR (o.lease_boot_s <= ? AND o.not_before_boot_s <= ?))"
            " ORDER BY s.lane_order, s.sort_key DESC, o.id LIMIT ?) RETURNING id",
            (
                *(owner, now.boot_id, now.boottime_s + lease_s),
                *(destination, now.boot_id, now.boottime_s, now.boottime_s, limit),
            ),
        )
        ids = tuple(row["id"] for row in rows)
        marks = ", ".join("?" for _ in ids)
        join = "JOIN study s USING (study_instance_uid)"
        return _rows(db, f"{join} WHERE o.id IN ({marks}) ORDER BY s.lane_order, s.sort_key DESC, o.id", ids)


def heartbeat(db: Database, now: Instant, row: OutboxRow, lease_s: float) -> bool:
    """Lengthen the lease; `False` if the row is no longer ours."""
    with db.transaction():
        moved = db.execute(
            "UPDATE outbox SET lease_boot_s = ? WHERE id = ? AND owner = ? AND state = 'queued'",
            (now.boottime_s + lease_s, row.id, row.owner),
        )
    return moved.rowcount == 1


def move(db: Database, now: Instant, row: OutboxRow, after: ResultState, reason: str, *, wait_s: float = 0.0) -> bool:
    """Record what became of a row inside the caller's transaction; `QUEUED` means: again after `wait_s`.

    It is queued again, or dead, only from the state in which the caller saw it: whoever lost it meanwhile sends
    nothing anew.
    """
    held = db.row("SELECT state FROM outbox WHERE id = ?", (row.id,))
    if held is None or after not in RESULT_MOVES[ResultState(held["state"])]:
        return False
    if after in (ResultState.QUEUED, ResultState.DEAD) and held["state"] != row.state:
        return False
    db.execute(
        "UPDATE outbox SET state = ?, reason = ?, owner = '', lease_boot_s = 0, boot_id = ?, not_before_boot_s = ?,"
        " sent_at = CASE WHEN ? = 'sent' THEN ? ELSE sent_at END,"
        # A person has it tried again: the count starts anew.
        " refusals = CASE WHEN state IN ('dead', 'held') THEN 0 ELSE refusals END WHERE id = ?",
        (after, reason, now.boot_id, now.boottime_s + wait_s, after, now.iso, row.id),
    )
    subject = f"{row.artifact_id}→{row.destination}"
    study = row.study_instance_uid
    events.record(db, now, "result", subject, before=held["state"], after=after, reason=reason, study=study)
    return True


def count_refusal(db: Database, row: OutboxRow) -> None:
    """Count one more refusal of a row inside the caller's transaction."""
    db.execute("UPDATE outbox SET refusals = refusals + 1 WHERE id = ?", (row.id,))


def wake(db: Database, destination: str) -> None:
    """A destination is back: what waits only because it was away is next again; opens its own transaction."""
    with db.transaction():
        db.execute(
            "UPDATE outbox SET not_before_boot_s = 0 WHERE state = 'queued' AND destination = ? AND refusals = 0",
            (destination,),
        )


def release(db: Database, owner_prefix: str) -> int:
    """Drop the leases that a killed sender left behind; opens its own transaction."""
    with db.transaction():
        freed = db.execute(
            "UPDATE outbox SET lease_boot_s = 0, owner = '' WHERE state = 'queued' AND owner LIKE ?",
            (owner_prefix + "%",),
        )
    return freed.rowcount


def owned(db: Database, owner_prefix: str) -> list[OutboxRow]:
    """Rows leased to an owner whose name starts so: what a killed sender held."""
    return _rows(db, "WHERE o.state = 'queued' AND o.owner LIKE ? ORDER BY o.id", (owner_prefix + "%",))


def row(db: Database, row_id: int) -> OutboxRow | None:
    """One row."""
    found = _rows(db, "WHERE o.id = ?", (row_id,))
    return found[0] if found else None


def of_study(db: Database, study_instance_uid: str) -> list[OutboxRow]:
    """All rows of a study."""
    return _rows(db, "WHERE o.study_instance_uid = ? ORDER BY o.id", (study_instance_uid,))


def with_ids(db: Database, ids: Sequence[int]) -> list[OutboxRow]:
    """These rows, oldest first."""
    return _rows(db, "WHERE o.id IN (SELECT value FROM json_each(?)) ORDER BY o.id", (json.dumps(list(ids)),))


def unsent_of_outcome(db: Database, outcome_id: int) -> list[OutboxRow]:
    """Rows of an outcome that may still leave."""
    return _rows(
        db,
        "WHERE a.outcome_id = ? AND a.kind != ? AND o.state IN ('queued', 'dead', 'held') ORDER BY o.id",
        (outcome_id, REJECTION_NOTE),
    )


def of_outcome(db: Database, outcome_id: int) -> list[OutboxRow]:
    """All rows of an outcome."""
    return _rows(db, "WHERE a.outcome_id = ? ORDER BY o.id", (outcome_id,))


def waiting(db: Database) -> dict[str, int]:
    """How many rows wait, by destination."""
    rows = db.rows("SELECT destination, count(*) AS number FROM outbox WHERE state = 'queued' GROUP BY destination")
    return {row["destination"]: row["number"] for row in rows}


def _rows(db: Database, where: str, values: tuple[str | int, ...]) -> list[OutboxRow]:
    rows = db.rows(
        "SELECT o.id, o.artifact_id, a.outcome_id, o.study_instance_uid, o.destination, o.state, o.reason, o.attempts,"
        " o.owner, a.kind, a.path, a.sop_instance_uid, a.sop_class_uid, o.sent_at, o.refusals"
        f" FROM outbox o JOIN artifact a ON a.id = o.artifact_id {where}",
        values,
    )
    return [_row(row) for row in rows]


def _row(row: sqlite3.Row) -> OutboxRow:
    return OutboxRow(**{**dict(row), "state": ResultState(row["state"])})
