"""The reading list: the place of each study, and how far the radiologist is with it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from node.domain.patient import Patient
from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.domain.time import Instant
from node.store.database import Database


def record_rank(
    db: Database,
    study_instance_uid: str,
    *,
    lane: Lane,
    score: float,
    sort_key: float,
    reasons: Sequence[dict[str, object]],
) -> None:
    """Keep the place of a study in the worklist, with the reasons."""
    db.execute(
        "UPDATE study SET lane = ?, lane_order = ?, score = ?, sort_key = ?, reasons = ? WHERE study_instance_uid = ?",
        (lane, lane.order, score, sort_key, json.dumps(list(reasons)), study_instance_uid),
    )


def unread_of_patient(db: Database, patient: Patient) -> list[str]:
    """UIDs of the studies of (Patient ID, issuer) that wait for a radiologist, oldest first."""
    rows = db.rows(
        "SELECT study_instance_uid FROM study WHERE patient_id = ? AND issuer = ? AND report_state != 'final'"
        " ORDER BY first_wall",
        (patient.patient_id, patient.issuer),
    )
    return [row["study_instance_uid"] for row in rows]


def record_report_state(
    db: Database, now: Instant, study_instance_uid: str, state: ReportState, *, told_by: str
) -> None:
    """Keep how far the radiologist's report is, and who told it."""
    db.execute(
        "UPDATE study SET report_state = ?, report_told_by = ?, report_told_at = ? WHERE study_instance_uid = ?",
        (state, told_by, now.iso, study_instance_uid),
    )
