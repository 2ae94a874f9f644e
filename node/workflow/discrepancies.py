"""Discrepancies: urgent findings that came after the report. They re-rank and flag nothing; a person sees to each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node.domain.time import Instant
from node.errors import Failed
from node.store import acknowledgements, events, studies
from node.store.acknowledgements import Acknowledgement
from node.store.database import Database
from node.workflow.acknowledged import finding_told
from node.workflow.acknowledging import DISCREPANCY

#: Of what a person says, characters.
_LONGEST_REASON = 200


def close(db: Database, now: Instant, discrepancy_id: int, *, by: str, because: str) -> Acknowledgement:
    """Keep who has settled a discrepancy, and how; return it as it was. Opens its own transaction.

    Raises:
        Failed: there is none of this number, it is closed, or nothing says how it was settled.
    """
    said = "".join(letter for letter in " ".join(because.split()) if letter.isprintable())[:_LONGEST_REASON]
    if not said:
        raise Failed("nothing says how it was settled: whoever reads this later will ask")
    with db.transaction():
        row = acknowledgements.one(db, discrepancy_id)
        if row is None or not row.after_report:
            raise Failed(f"there is no discrepancy {discrepancy_id}")
        if not acknowledgements.close(db, now, discrepancy_id, by, said):
            raise Failed(f"{row.closed_by} has closed it already: {row.closed_because}")
        subject, reason = f"{row.key.model} {row.code.meaning}", f"by {by}: {said}"
        events.record(
            db, now, DISCREPANCY, subject, before="overdue" if row.overdue else "due", after="closed", reason=reason,
            study=row.study_instance_uid,
        )  # fmt: skip
    return row


def discrepancies_told(db: Database, *, every: bool = False) -> list[dict[str, Any]]:
    """Discrepancies as plain values, oldest first; `every`: also those that are closed or stand no longer."""
    rows = acknowledgements.discrepancies(db, every=every)
    known = {each.study_instance_uid: each for each in studies.some(db, _uids(rows))}
    return [_told(row, known[row.study_instance_uid]) for row in rows if row.study_instance_uid in known]


def _uids(rows: Sequence[Acknowledgement]) -> list[str]:
    return list(dict.fromkeys(row.study_instance_uid for row in rows))


def _told(row: Acknowledgement, study: studies.StudyRow) -> dict[str, Any]:
    return {
        "discrepancy": row.id,
        "state": _state(row),
        "owner": row.owner,
        "found_at": row.asked_at,
        "due_at": row.due_at,
        **finding_told(row),
        "closed_by": row.closed_by,
        "closed_at": row.closed_at,
        "closed_because": row.closed_because,
        "study_instance_uid": row.study_instance_uid,
        "accession_number": study.order.accession_number,
        "patient_id": study.patient.patient_id,
        "issuer_of_patient_id": study.patient.issuer,
        "patient_name": study.patient.name,
        "study_description": study.order.study_description,
        "modality": study.modality,
        "report_told_by": study.report_told_by,
    }


def _state(row: Acknowledgement) -> str:
    if row.closed_by:
        return "closed"
    return "fallen" if not row.standing else "overdue" if row.overdue else "due"
