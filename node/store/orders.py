"""What a RIS says of orders: it lies over what the objects say, whether the study is here or still to come."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node.domain.patient import Patient
from node.domain.report_state import ReportState
from node.domain.time import Instant
from node.domain.told import ToldOrder
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow:
    """The newest word on one order."""

    id: int
    #: Whom it was told of; without a name.
    patient: Patient
    accession_number: str
    study_instance_uid: str
    #: Requested Procedure Priority (0040,1003); empty where nothing was said of it, or the order was cancelled.
    priority: str
    #: When it came here (ISO 8601 UTC).
    priority_recorded_at: str
    cancelled: bool
    report_state: ReportState | None
    #: When that was so (ISO 8601 UTC).
    report_at: str
    told_by: str


def keep(db: Database, now: Instant, patient: Patient, order: ToldOrder, *, at: str, told_by: str) -> OrderRow:
    """Keep what is said of an order: of its priority only if that is no older than what is known (`at`, or unknown).

    A report state is not taken back by a lesser one here: `workflow.reported` judges that for a study.
    """
    key = (patient.issuer, patient.patient_id, order.accession_number, order.study_instance_uid)
    db.execute(
        "INSERT INTO told_order (issuer, patient_id, accession_number, study_instance_uid, birth_date, sex, told_by,"
        " recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET told_by = excluded.told_by,"
        " recorded_at = excluded.recorded_at, birth_date = coalesce(nullif(excluded.birth_date, ''), birth_date),"
        " sex = coalesce(nullif(excluded.sex, ''), sex)",
        (*key, patient.birth_date, patient.sex, told_by, now.iso),
    )
    where = "issuer = ? AND patient_id = ? AND accession_number = ? AND study_instance_uid = ?"
    if order.priority is not None or order.cancelled:
        db.execute(
            "UPDATE told_order SET priority = ?, cancelled = ?, priority_at = ?, priority_recorded_at = ?"
            f" WHERE {where} AND (? = '' OR priority_at <= ?)",
            ("" if order.cancelled else order.priority or "", order.cancelled, at, now.iso, *key, at, at),
        )
    if order.report is not None:
        db.execute(
            f"UPDATE told_order SET report_state = ?, report_at = ? WHERE {where} AND report_state != ?",
            (order.report, at or now.iso, *key, ReportState.FINAL),
        )
    row = db.row(f"SELECT * FROM told_order WHERE {where}", key)
    assert row is not None
    return _order(row)


def forget_report(db: Database, order_id: int) -> None:
    """What was told of the report of an order counts no more."""
    db.execute("UPDATE told_order SET report_state = '', report_at = '' WHERE id = ?", (order_id,))


def of_patients(
    db: Database, patients: Mapping[str, Patient], patient_ids: Mapping[str, Sequence[str]]
) -> dict[str, list[OrderRow]]:
    """The orders of several patients under these IDs of theirs, by whatever they are called by, the latest first."""
    asked = [[key, each.issuer, one] for key, each in patients.items() for one in patient_ids[key]]
    rows = db.rows(
        "SELECT a.value ->> 0 AS asked_for, o.* FROM json_each(?) a CROSS JOIN told_order o"
        " ON o.issuer = a.value ->> 1 AND o.patient_id = a.value ->> 2 ORDER BY o.recorded_at DESC, o.id DESC",
        (json.dumps(asked),),
    )
    found: dict[str, list[OrderRow]] = {}
    for row in rows:
        found.setdefault(row["asked_for"], []).append(_order(row))
    return found


def studies_meant(db: Database, patient: Patient, patient_ids: Sequence[str], order: ToldOrder) -> list[str]:
    """UIDs of the studies of these Patient IDs that an order is about: its own, or those of its accession number."""
    rows = db.rows(
        "SELECT study_instance_uid FROM study WHERE issuer = ? AND patient_id IN (SELECT value FROM json_each(?))"
        " AND ((? != '' AND study_instance_uid = ?) OR (? != '' AND \"order\" ->> 'accession_number' = ?))"
        " ORDER BY first_wall",
        (
            *(patient.issuer, json.dumps(list(patient_ids))),
            *(order.study_instance_uid, order.study_instance_uid, order.accession_number, order.accession_number),
        ),
    )
    return [row["study_instance_uid"] for row in rows]


def _order(row: sqlite3.Row) -> OrderRow:
    return OrderRow(
        id=row["id"],
        patient=Patient(
            patient_id=row["patient_id"], issuer=row["issuer"], birth_date=row["birth_date"], sex=row["sex"]
        ),
        accession_number=row["accession_number"],
        study_instance_uid=row["study_instance_uid"],
        priority=row["priority"],
        priority_recorded_at=row["priority_recorded_at"],
        cancelled=bool(row["cancelled"]),
        report_state=ReportState(row["report_state"]) if row["report_state"] else None,
        report_at=row["report_at"],
        told_by=row["told_by"],
    )
