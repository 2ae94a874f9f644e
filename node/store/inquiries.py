"""Inquiries: what was asked of which FHIR server about whom, and what came of it."""

from __future__ import annotations

import sqlite3
from datetime import datetime

from node.domain.inquiry import Inquiry, InquiryState
from node.domain.patient import Patient
from node.domain.time import Instant
from node.store.database import Database

_COLUMNS = "server, resource, patient_id, issuer, study_instance_uid, state, facts, reason, etag, digest"


def record(db: Database, inquiry: Inquiry) -> None:
    """Keep what came of a question in place of what came of it before."""
    db.execute(
        f"INSERT OR REPLACE INTO history_inquiry ({_COLUMNS}, asked_wall, asked_boot_s, asked_boot_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(getattr(inquiry, name) for name in _COLUMNS.split(", ")),
            *(inquiry.asked.iso, inquiry.asked.boottime_s, inquiry.asked.boot_id),
        ),
    )


def of_study(db: Database, patient: Patient, study_instance_uid: str) -> list[Inquiry]:
    """What was asked for a study: about its patient, and about itself; by server and resource."""
    return _inquiries(
        db,
        "WHERE patient_id = ? AND issuer = ? AND study_instance_uid IN ('', ?) ORDER BY server, resource",
        (patient.patient_id, patient.issuer, study_instance_uid),
    )


def newest_of_servers(db: Database) -> list[Inquiry]:
    """The newest question to each server that was asked anything."""
    return _inquiries(
        db,
        "WHERE rowid IN (SELECT rowid FROM (SELECT rowid, row_number() OVER (PARTITION BY server"
        " ORDER BY asked_wall DESC, rowid DESC) AS nth FROM history_inquiry WHERE state != 'not asked') WHERE nth = 1)"
        " ORDER BY server",
        (),
    )


def unread_patients(db: Database, issuers: tuple[str, ...]) -> list[tuple[str, Patient]]:
    """Closed studies of patients of these issuers that wait for a radiologist: (UID, patient), newest first."""
    marks = ", ".join("?" for _ in issuers)
    rows = db.rows(
        "SELECT study_instance_uid, patient_id, issuer FROM study WHERE revision > 0 AND report_state != 'final'"
        f" AND prior = '' AND state != 'held' AND patient_id != '' AND issuer IN ({marks})"
        " ORDER BY first_wall DESC",
        issuers,
    )
    found = ((row["study_instance_uid"], Patient(patient_id=row["patient_id"], issuer=row["issuer"])) for row in rows)
    return [(uid, patient) for uid, patient in found if patient.is_identified]


def _inquiries(db: Database, where: str, values: tuple[str, ...]) -> list[Inquiry]:
    columns = f"{_COLUMNS}, asked_wall, asked_boot_s, asked_boot_id"
    return [_inquiry(row) for row in db.rows(f"SELECT {columns} FROM history_inquiry {where}", values)]


def _inquiry(row: sqlite3.Row) -> Inquiry:
    plain = {name: row[name] for name in _COLUMNS.split(", ")}
    asked = Instant(datetime.fromisoformat(row["asked_wall"]), row["asked_boot_s"], row["asked_boot_id"])
    return Inquiry(**{**plain, "state": InquiryState(row["state"])}, asked=asked)
