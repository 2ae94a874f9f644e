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
    #: Placer and Filler Order Number; empty where nobody has told any.
    placer_number: str
    filler_number: str
    #: Requested Procedure Priority (0040,1003); empty where nothing was said of it, or the order was cancelled.
    priority: str
    #: When it came here (ISO 8601 UTC).
    priority_recorded_at: str
    cancelled: bool
    report_state: ReportState | None
    #: When that was so (ISO 8601 UTC).
    report_at: str
    told_by: str

    @property
    def number(self) -> str:
        """What the order is told from others of its study by; empty where nobody has told any."""
        return self.placer_number or self.filler_number


def keep(db: Database, now: Instant, patient: Patient, order: ToldOrder, *, at: str, told_by: str) -> OrderRow:
    """Keep what is said of an order: of its priority only if that is no older than what is known (`at`, or unknown).

    An order is the same as one of the same accession number and study whose placer's number it has, or whose filler's
    where one of them has no other; what has no number yet gets it, and what comes without one is of the only one.
    A report state is not taken back by a lesser one here: `workflow.reported` judges that for a study.
    """
    key = (patient.issuer, patient.patient_id, order.accession_number, order.study_instance_uid)
    found = _known(db, key, order)
    if found is None:
        made = db.execute(
            "INSERT INTO told_order (issuer, patient_id, accession_number, study_instance_uid, told_by, recorded_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (*key, told_by, now.iso),
        )
        found = made.lastrowid
    db.execute(
        "UPDATE told_order SET told_by = ?, recorded_at = ?, birth_date = coalesce(nullif(?, ''), birth_date),"
        " sex = coalesce(nullif(?, ''), sex), placer_number = coalesce(nullif(?, ''), placer_number),"
        " filler_number = coalesce(nullif(?, ''), filler_number) WHERE id = ?",
        (told_by, now.iso, patient.birth_date, patient.sex, order.placer_number, order.filler_number, found),
    )
    if order.priority is not None or order.cancelled:
        db.execute(
            "UPDATE told_order SET priority = ?, cancelled = ?, priority_at = ?, priority_recorded_at = ?"
            " WHERE id = ? AND (? = '' OR priority_at <= ?)",
            ("" if order.cancelled else order.priority or "", order.cancelled, at, now.iso, found, at, at),
        )
    if order.report is not None:
        db.execute(
            "UPDATE told_order SET report_state = ?, report_at = ? WHERE id = ? AND report_state != ?",
            (order.report, at or now.iso, found, ReportState.FINAL),
        )
    row = db.row("SELECT * FROM told_order WHERE id = ?", (found,))
    assert row is not None
    return _order(row)


def _known(db: Database, key: tuple[str, str, str, str], order: ToldOrder) -> int | None:
    """The row of the order that is meant, of those of one patient, accession number and study."""
    rows = db.rows(
        "SELECT id, placer_number, filler_number FROM told_order WHERE issuer = ? AND patient_id = ?"
        " AND accession_number = ? AND study_instance_uid = ? ORDER BY id",
        key,
    )
    placer, filler = order.placer_number, order.filler_number
    unnamed = [row["id"] for row in rows if not (row["placer_number"] or row["filler_number"])]
    if not (placer or filler):
        return unnamed[0] if unnamed else rows[0]["id"] if len(rows) == 1 else None
    by_placer = [row["id"] for row in rows if placer and row["placer_number"] == placer]
    by_filler = [
        row["id"] for row in rows if filler and row["filler_number"] == filler and not (placer and row["placer_number"])
    ]
    return next(iter([*by_placer, *by_filler, *unnamed]), None)


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
        placer_number=row["placer_number"],
        filler_number=row["filler_number"],
        priority=row["priority"],
        priority_recorded_at=row["priority_recorded_at"],
        cancelled=bool(row["cancelled"]),
        report_state=ReportState(row["report_state"]) if row["report_state"] else None,
        report_at=row["report_at"],
        told_by=row["told_by"],
    )
