"""Patient history: facts of one (Patient ID, issuer), each with its source."""

from __future__ import annotations

from collections.abc import Sequence

from node.domain.history import Fact
from node.domain.patient import Patient
from node.domain.time import Instant
from node.store.database import Database


def record(db: Database, now: Instant, patient: Patient, facts: Sequence[Fact], *, study: str) -> None:
    """Keep the facts that a study brings; what the same study said before and no longer says is superseded."""
    held = {
        (row["code"], row["scheme"], row["value"]): row["id"]
        for row in db.rows(
            "SELECT id, code, scheme, value FROM history WHERE study_instance_uid = ? AND patient_id = ?"
            " AND issuer = ? AND superseded_by IS NULL",
            (study, patient.patient_id, patient.issuer),
        )
    }
    said = {(fact.code, fact.scheme, fact.value): fact for fact in facts}
    newest: dict[str, int] = {}
    for key, fact in said.items():
        if key in held:
            newest[fact.code] = held[key]
            continue
        made = db.execute(
            "INSERT INTO history (patient_id, issuer, code, scheme, value, unit, source, observed_at,"
            " study_instance_uid, recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(patient.patient_id, patient.issuer, fact.code, fact.scheme, fact.value, fact.unit),
                *(fact.source, fact.observed_at, study, now.iso),
            ),
        )
        assert made.lastrowid is not None
        newest[fact.code] = made.lastrowid
    for key, row_id in held.items():
        if key not in said:
            db.execute("UPDATE history SET superseded_by = ? WHERE id = ?", (newest.get(key[0], row_id), row_id))


def facts(db: Database, patient: Patient, *, study: str) -> list[Fact]:
    """What is known about a patient: the study's own facts, and all others where the patient is identified.

    An unidentified patient (no ID, a placeholder) has only what the study itself says.
    """
    rows = db.rows(
        "SELECT code, scheme, value, unit, source, observed_at FROM history WHERE patient_id = ? AND issuer = ?"
        " AND superseded_by IS NULL AND (? OR study_instance_uid = ?) ORDER BY id",
        (patient.patient_id, patient.issuer, patient.is_identified, study),
    )
    return [Fact(**dict(row)) for row in rows]
