"""Rejection notes of our own: which results each takes back at which destination, and what stays there without one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from node.domain.rejection import REJECTION_NOTE, RejectionTitle
from node.domain.time import Instant
from node.store import events, outbox
from node.store.database import Database
from node.store.outbox import OutboxRow


@dataclass(frozen=True, slots=True, kw_only=True)
class WithdrawalNote:
    """One note to one destination about one study."""

    id: int
    study_instance_uid: str
    destination: str
    title: RejectionTitle
    #: Why, for whoever reads the note.
    reason: str
    #: ISO 8601 UTC; dates and times in the note come from here.
    created_at: str
    #: The file, once it is written.
    artifact_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentResult:
    """A result of ours that a destination has."""

    outbox_id: int
    outcome_id: int
    model: str
    model_digest: str
    study_instance_uid: str
    #: Empty where it was written by a version that did not keep it.
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str
    kind: str
    destination: str
    sent_at: str
    #: Relative to the data folder.
    path: str


def add(
    db: Database, now: Instant, *, rows: Sequence[OutboxRow], title: RejectionTitle, reason: str
) -> WithdrawalNote | None:
    """Open the note over `rows` of one study at one destination; `None` if every one of them is named already."""
    study, destination = rows[0].study_instance_uid, rows[0].destination
    ids = json.dumps([row.id for row in rows])
    known = "SELECT outbox_id FROM withdrawal_note_result WHERE outbox_id IN (SELECT value FROM json_each(?))"
    named = {row["outbox_id"] for row in db.rows(known, (ids,))}
    fresh = [row for row in rows if row.id not in named]
    if not fresh:
        return None
    made = db.execute(
        "INSERT INTO withdrawal_note (study_instance_uid, destination, title, reason, created_at)"
        " VALUES (?, ?, ?, ?, ?)",
        (study, destination, title, reason, now.iso),
    )
    assert made.lastrowid is not None
    db.execute_each(
        "INSERT INTO withdrawal_note_result (outbox_id, note) VALUES (?, ?)",
        [(row.id, made.lastrowid) for row in fresh],
    )
    told = f"a rejection note ({title}, DCM) over {len(fresh)} result(s) goes to {destination}: {reason}"
    events.record(db, now, "withdrawal", made.lastrowid, after="opened", reason=told, study=study)
    return note(db, made.lastrowid)


def note(db: Database, note_id: int) -> WithdrawalNote | None:
    """One note."""
    row = db.row("SELECT * FROM withdrawal_note WHERE id = ?", (note_id,))
    return None if row is None else WithdrawalNote(**{**dict(row), "title": RejectionTitle(row["title"])})


def of_study(db: Database, study_instance_uid: str) -> list[WithdrawalNote]:
    """Every note about a study, oldest first."""
    rows = db.rows("SELECT * FROM withdrawal_note WHERE study_instance_uid = ? ORDER BY id", (study_instance_uid,))
    return [WithdrawalNote(**{**dict(row), "title": RejectionTitle(row["title"])}) for row in rows]


def named_by(db: Database, note_id: int) -> list[SentResult]:
    """What a note takes back, oldest first."""
    return _sent(db, "n.note = ?", (note_id,))


def standing_elsewhere(db: Database, study_instance_uid: str = "") -> list[SentResult]:
    """What a destination has of that which is withdrawn or superseded here, and no note takes back there.

    Of one study, or of all; oldest first.
    """
    narrowed, values = (" AND o.study_instance_uid = ?", (study_instance_uid,)) if study_instance_uid else ("", ())
    where = "n.note IS NULL AND o.state IN ('withdrawn', 'superseded') AND o.sent_at != '' AND a.kind != ?"
    return _sent(db, where + narrowed, (REJECTION_NOTE, *values))


def sent_of(db: Database, outcome_ids: Sequence[int]) -> list[SentResult]:
    """What destinations have of these outcomes and nothing has taken back, oldest first."""
    marks = ", ".join("?" for _ in outcome_ids)
    where = f"o.state IN ('sent', 'committed') AND a.kind != ? AND a.outcome_id IN ({marks})"
    return _sent(db, where, (REJECTION_NOTE, *outcome_ids))


def studies_with_superseded(db: Database) -> list[str]:
    """Studies of which a destination has results that are superseded here."""
    rows = db.rows(
        "SELECT DISTINCT o.study_instance_uid FROM outcome c JOIN artifact a ON a.outcome_id = c.id"
        " JOIN outbox o ON o.artifact_id = a.id"
        " WHERE c.state = 'superseded' AND o.state IN ('sent', 'committed') AND a.kind != ?",
        (REJECTION_NOTE,),
    )
    return [row["study_instance_uid"] for row in rows]


def record_arrival(db: Database, now: Instant, row: OutboxRow) -> OutboxRow | None:
    """A destination has accepted a result that was stopped here; return the row as it is now."""
    db.execute("UPDATE outbox SET sent_at = ? WHERE id = ?", (now.iso, row.id))
    return next(iter(outbox.with_ids(db, [row.id])), None)


def queue(db: Database, now: Instant, note_id: int, artifact_id: int) -> None:
    """The note is written: it goes where what it names went, and nobody is asked whether it is kept.

    An archive may well follow a note without showing it to anybody.
    """
    found = note(db, note_id)
    if found is None:
        return
    db.execute("UPDATE withdrawal_note SET artifact_id = ? WHERE id = ?", (artifact_id, note_id))
    destination = found.destination
    outbox.add(db, now, artifact_id=artifact_id, study=found.study_instance_uid, destination=destination)
    db.execute(
        "UPDATE outbox SET confirmation = 'ended' WHERE artifact_id = ? AND destination = ?", (artifact_id, destination)
    )


def _sent(db: Database, where: str, values: tuple[str | int, ...]) -> list[SentResult]:
    rows = db.rows(
        "SELECT o.id AS outbox_id, a.outcome_id, c.model, c.model_digest, o.study_instance_uid, a.series_instance_uid,"
        " a.sop_class_uid, a.sop_instance_uid, a.kind, o.destination, o.sent_at, a.path"
        " FROM outbox o JOIN artifact a ON a.id = o.artifact_id JOIN outcome c ON c.id = a.outcome_id"
        f" LEFT JOIN withdrawal_note_result n ON n.outbox_id = o.id WHERE {where} ORDER BY o.id",
        values,
    )
    return [SentResult(**dict(row)) for row in rows]
