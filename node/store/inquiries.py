"""Inquiries: what was asked of which FHIR server about whom, and what came of it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

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


def of_server(db: Database, server: str) -> list[Inquiry]:
    """Every newest question to one server."""
    return _inquiries(db, "WHERE server = ?", (server,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """A closed study that waits for a radiologist."""

    study_instance_uid: str
    patient: Patient
    accession_number: str


def unread_studies(db: Database, now: Instant, issuers: Collection[str], within_days: int) -> list[Unread]:
    """Closed studies of identified patients of these issuers that came lately and nobody has read, newest first."""
    since = Instant(now.wall - timedelta(days=within_days), now.boottime_s, now.boot_id).iso
    rows = db.rows(
        "SELECT study_instance_uid, patient_id, issuer, coalesce(\"order\" ->> 'accession_number', '') AS accession"
        " FROM study WHERE revision > 0 AND report_state != 'final' AND prior = '' AND state != 'held'"
        " AND first_wall >= ? AND issuer IN (SELECT value FROM json_each(?)) ORDER BY first_wall DESC",
        (since, json.dumps(list(issuers))),
    )
    found = [
        Unread(
            study_instance_uid=row["study_instance_uid"],
            patient=Patient(patient_id=row["patient_id"], issuer=row["issuer"]),
            accession_number=row["accession"],
        )
        for row in rows
    ]
    return [each for each in found if each.patient.is_identified]


def _inquiries(db: Database, where: str, values: tuple[str, ...]) -> list[Inquiry]:
    columns = f"{_COLUMNS}, asked_wall, asked_boot_s, asked_boot_id"
    return [_inquiry(row) for row in db.rows(f"SELECT {columns} FROM history_inquiry {where}", values)]


def _inquiry(row: sqlite3.Row) -> Inquiry:
    plain = {name: row[name] for name in _COLUMNS.split(", ")}
    asked = Instant(datetime.fromisoformat(row["asked_wall"]), row["asked_boot_s"], row["asked_boot_id"])
    return Inquiry(**{**plain, "state": InquiryState(row["state"])}, asked=asked)
