"""Rejections: what the notes name, as facts that may come before the instances, and what they have taken out of use."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from node.domain.patient import Patient
from node.domain.rejection import Rejection, RejectionTitle
from node.domain.time import Instant
from node.store.database import Database
from node.store.versions import patient_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A rejection note that is kept."""

    sop_instance_uid: str
    #: The study it came in.
    study_instance_uid: str
    #: Name of the peer that sent it.
    source: str
    patient: Patient
    title: RejectionTitle


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A described instance that a note names and that is still in use."""

    note: Note
    instance_id: int
    study_instance_uid: str
    #: The study in which the note names it.
    named_in: str
    patient: Patient
    #: Whether the note's source has sent any version of it.
    same_source: bool
    #: Whether a model could read it: the current version of an image that is not ours.
    is_input: bool


def record(db: Database, now: Instant, note: int, rejection: Rejection) -> None:
    """Keep what the note of this row names; a note that is described again names the same."""
    db.execute_each(
        "INSERT OR IGNORE INTO rejection (sop_instance_uid, note, study_instance_uid, title, recorded_at)"
        " VALUES (?, ?, ?, ?, ?)",
        [
            (each.sop_instance_uid, note, each.study_instance_uid, rejection.title, now.iso)
            for each in rejection.references
        ],
    )


def named_by(db: Database, note: int) -> list[Named]:
    """What is here of that which the note of this row names."""
    return _named(db, "r.note = ?", note)


def naming(db: Database, instance_id: int) -> list[Named]:
    """This instance once for each note that names it and was here before."""
    return _named(db, "i.id = ?", instance_id)


def mark(db: Database, instance_ids: Sequence[int], title: RejectionTitle) -> None:
    """Take instances out of use."""
    ids = json.dumps(list(instance_ids))
    db.execute("UPDATE instance SET rejected = ? WHERE id IN (SELECT value FROM json_each(?))", (title, ids))


def is_told(db: Database, study_instance_uid: str, note_uid: str, after: str) -> bool:
    """Whether an event of the study tells already what became of a note."""
    row = db.row(
        "SELECT 1 FROM event WHERE study_instance_uid = ? AND about = 'rejection' AND subject = ? AND after = ?",
        (study_instance_uid, note_uid, after),
    )
    return row is not None


def _named(db: Database, where: str, value: int) -> list[Named]:
    rows = db.rows(
        "SELECT i.id, i.study_instance_uid, i.current AND i.image AND NOT i.ours AS is_input,"
        " json_extract(nullif(i.description, ''), '$.patient') AS patient, r.title, r.study_instance_uid AS named_in,"
        " n.sop_instance_uid AS note_uid, n.study_instance_uid AS note_study, n.source AS note_source,"
        " json_extract(nullif(n.description, ''), '$.patient') AS note_patient,"
        " EXISTS (SELECT 1 FROM instance v WHERE v.sop_instance_uid = i.sop_instance_uid AND v.source = n.source)"
        " AS same_source"
        " FROM rejection r JOIN instance i ON i.sop_instance_uid = r.sop_instance_uid JOIN instance n ON n.id = r.note"
        f" WHERE {where} AND i.state = 'described' AND n.state = 'described' AND i.rejected = '' ORDER BY n.id, i.id",
        (value,),
    )
    return [_row(row) for row in rows]


def _row(row: sqlite3.Row) -> Named:
    note = Note(
        sop_instance_uid=row["note_uid"],
        study_instance_uid=row["note_study"],
        source=row["note_source"],
        patient=patient_of(row["note_patient"]),
        title=RejectionTitle(row["title"]),
    )
    return Named(
        note=note,
        instance_id=row["id"],
        study_instance_uid=row["study_instance_uid"],
        named_in=row["named_in"],
        patient=patient_of(row["patient"]),
        same_source=bool(row["same_source"]),
        is_input=bool(row["is_input"]),
    )
