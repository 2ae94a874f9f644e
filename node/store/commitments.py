"""Which results are still to be confirmed by their destination, and what was asked of it (PS3.4 Annex J)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from node.domain.time import Instant
from node.store import events, outbox
from node.store.database import Database
from node.store.outbox import OutboxRow


class Way(StrEnum):
    """How a result that was sent is confirmed from now on."""

    #: As the peer's `confirm` says.
    CONFIGURED = ""
    #: By asking whether it is there: the destination offers no storage commitment.
    QUERY = "query"
    #: Not at all any more: it stays sent, with the reason.
    ENDED = "ended"


class CommitmentState(StrEnum):
    """Where a request for storage commitment stands."""

    #: It may or may not have arrived; a report counts in any case.
    ASKED = "asked"
    #: The destination answered success, and owes a report.
    ACCEPTED = "accepted"
    #: It was refused, or did not get there, with the reason.
    REFUSED = "refused"
    REPORTED = "reported"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unconfirmed:
    """A result that was sent and is to be confirmed."""

    row: OutboxRow
    way: Way
    #: How often its destination was asked about it since it was last sent.
    questions: int
    #: How often it was sent again because the destination does not have it.
    resends: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Commitment:
    """One request."""

    transaction_uid: str
    destination: str
    state: CommitmentState
    reason: str
    #: ISO 8601 UTC; `reported_at` is empty until then.
    asked_at: str
    reported_at: str


def due(db: Database, now: Instant, destination: str, *, quiet_s: float, limit: int) -> list[Unconfirmed]:
    """Results of a destination that are to be confirmed now, at least `quiet_s` after they were sent."""
    rows = db.rows(
        f"SELECT id, confirmation, questions, resends FROM outbox WHERE {_OPEN} AND destination = ?"
        " AND (boot_id < ? OR boot_id > ? OR (boot_id = ? AND not_before_boot_s <= ?)) ORDER BY id LIMIT ?",
        (destination, now.boot_id, now.boot_id, now.boot_id, now.boottime_s - quiet_s, limit),
    )
    return _unconfirmed(db, rows)


def is_due(db: Database, now: Instant, destination: str, *, quiet_s: float) -> bool:
    """Whether `due` finds anything."""
    return bool(due(db, now, destination, quiet_s=quiet_s, limit=1))


def unconfirmed(db: Database, outbox_id: int) -> Unconfirmed | None:
    """How far the confirmation of one result has come, if there is such a result."""
    rows = db.rows("SELECT id, confirmation, questions, resends FROM outbox WHERE id = ?", (outbox_id,))
    found = _unconfirmed(db, rows)
    return found[0] if found else None


def record_asked(
    db: Database, now: Instant, transaction_uid: str, destination: str, rows: Sequence[OutboxRow], *, wait_s: float
) -> None:
    """Keep what is about to be asked, before it is: the report may come at once. Asked again after `wait_s`."""
    db.execute(
        "INSERT INTO commitment (transaction_uid, destination, asked_at) VALUES (?, ?, ?)",
        (transaction_uid, destination, now.iso),
    )
    db.execute_each(
        "INSERT INTO commitment_result (transaction_uid, outbox_id) VALUES (?, ?)",
        [(transaction_uid, row.id) for row in rows],
    )
    events.record(db, now, "commitment", transaction_uid, after=CommitmentState.ASKED, reason=f"of {destination}")
    for row in rows:
        count_question(db, row.id)
        postpone(db, now, row.id, wait_s)


def move(db: Database, now: Instant, transaction_uid: str, after: CommitmentState, reason: str = "") -> None:
    """Keep what became of a request; what was reported stays reported."""
    moved = db.execute(
        "UPDATE commitment SET state = ?, reason = ?, reported_at = CASE WHEN ? = 'reported' THEN ? ELSE '' END"
        " WHERE transaction_uid = ? AND state != 'reported'",
        (after, reason, after, now.iso, transaction_uid),
    )
    if moved.rowcount:
        events.record(db, now, "commitment", transaction_uid, after=after, reason=reason)


def commitment(db: Database, transaction_uid: str) -> Commitment | None:
    """One request, if we made it."""
    row = db.row("SELECT * FROM commitment WHERE transaction_uid = ?", (transaction_uid,))
    return None if row is None else Commitment(**{**dict(row), "state": CommitmentState(row["state"])})


def results_of(db: Database, transaction_uid: str) -> list[OutboxRow]:
    """What was asked about."""
    rows = db.rows("SELECT outbox_id FROM commitment_result WHERE transaction_uid = ?", (transaction_uid,))
    return outbox.with_ids(db, [row["outbox_id"] for row in rows])


def postpone(db: Database, now: Instant, outbox_id: int, wait_s: float, reason: str | None = None) -> None:
    """Ask about a sent result again after `wait_s`; `reason` says what was said of it."""
    db.execute(
        "UPDATE outbox SET boot_id = ?, not_before_boot_s = ?, reason = coalesce(?, reason)"
        " WHERE id = ? AND state = 'sent'",
        (now.boot_id, now.boottime_s + wait_s, reason, outbox_id),
    )


def count_question(db: Database, outbox_id: int, number: int = 1) -> None:
    """The destination was asked about a result once more, or, where `number` is -1, was not asked after all."""
    db.execute("UPDATE outbox SET questions = max(0, questions + ?) WHERE id = ?", (number, outbox_id))


def unreported(db: Database, row: OutboxRow) -> int:
    """How many requests about a result, since it was last sent, arrived or may have, and were never reported on."""
    found = db.row(
        "SELECT count(*) AS number FROM commitment_result JOIN commitment USING (transaction_uid)"
        " WHERE outbox_id = ? AND state IN ('asked', 'accepted') AND asked_at >= ?",
        (row.id, row.sent_at),
    )
    return int(found["number"]) if found else 0


def go_on_by(db: Database, now: Instant, row: OutboxRow, way: Way, reason: str) -> None:
    """Confirm a sent result in another way from now on, or not at all any more, with the reason."""
    moved = db.execute(
        "UPDATE outbox SET confirmation = ?, questions = 0, reason = ?, boot_id = ?, not_before_boot_s = ?"
        " WHERE id = ? AND state = 'sent'",
        (way, reason, now.boot_id, now.boottime_s, row.id),
    )
    if moved.rowcount:
        subject, study = f"{row.artifact_id}→{row.destination}", row.study_instance_uid
        after = "confirmed by query" if way is Way.QUERY else "not confirmed"
        events.record(db, now, "result", subject, after=after, reason=reason, study=study)


def record_committed(db: Database, now: Instant, outbox_id: int) -> None:
    """Keep when the destination promised to keep a result, or was found to hold it."""
    db.execute("UPDATE outbox SET committed_at = ? WHERE id = ?", (now.iso, outbox_id))


def record_resend(db: Database, outbox_id: int) -> None:
    """A result is sent again because its destination does not have it: its confirmation begins anew."""
    db.execute("UPDATE outbox SET resends = resends + 1, questions = 0 WHERE id = ?", (outbox_id,))


def confirmations_of_study(db: Database, study_instance_uid: str) -> dict[int, str]:
    """When each result of a study was committed (ISO 8601 UTC), by row id; only those that were."""
    rows = db.rows(
        "SELECT id, committed_at FROM outbox WHERE study_instance_uid = ? AND committed_at != ''", (study_instance_uid,)
    )
    return {row["id"]: row["committed_at"] for row in rows}


#: As the index has it.
_OPEN = "state = 'sent' AND confirmation != 'ended'"


def _unconfirmed(db: Database, rows: Sequence[sqlite3.Row]) -> list[Unconfirmed]:
    found = {row["id"]: row for row in rows}
    return [
        Unconfirmed(
            row=row,
            way=Way(found[row.id]["confirmation"]),
            questions=found[row.id]["questions"],
            resends=found[row.id]["resends"],
        )
        for row in outbox.with_ids(db, list(found))
    ]
