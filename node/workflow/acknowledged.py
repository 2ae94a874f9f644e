"""How the acknowledgement of a study's findings is told, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node.domain.acknowledgement import AcknowledgementState
from node.domain.report_state import ReportState
from node.store import acknowledgements
from node.store.acknowledgements import Acknowledgement
from node.store.database import Database
from node.store.studies import StudyRow

Story = dict[str, Any]
_S = AcknowledgementState


def acknowledgements_told(db: Database, rows: Sequence[StudyRow]) -> dict[str, Story | None]:
    """By UID: state, by whom, when and by when, over all findings and of each; `None` where nothing is asked for."""
    standing = acknowledgements.standing_of(db, [row.study_instance_uid for row in rows])
    return {row.study_instance_uid: _told(row, standing[row.study_instance_uid]) for row in rows}


def finding_told(row: Acknowledgement) -> Story:
    """Which finding it is, and who asks for somebody to see it."""
    return {
        "model": row.key.model,
        "code_value": row.code.value,
        "coding_scheme_designator": row.code.scheme,
        "code_meaning": row.code.meaning,
        "lane": row.lane.value if row.lane else "",
        "asked_by": row.asked_by,
    }


def _told(study: StudyRow, rows: Sequence[Acknowledgement]) -> Story | None:
    if not rows:
        return None
    waiting = [row for row in rows if row.is_open]
    # What is not done speaks first: the earliest that is due; else whoever came last.
    first = (
        min(waiting, key=lambda row: (not row.overdue, row.due_at or "~"))
        if waiting
        else max(rows, key=lambda row: row.acknowledged_at)
    )
    return {
        **_one(study, first),
        "findings": [{**finding_told(row), **_one(study, row)} for row in rows],
    }


def _one(study: StudyRow, row: Acknowledgement) -> Story:
    return {
        "state": _state(study, row).value,
        "by": row.acknowledged_by,
        "at": row.acknowledged_at,
        "due_at": row.due_at,
    }


def _state(study: StudyRow, row: Acknowledgement) -> AcknowledgementState:
    if row.acknowledged_by:
        return _S.ACKNOWLEDGED
    if study.report_state is ReportState.FINAL:
        return _S.REPORTED
    return _S.OVERDUE if row.overdue else _S.DUE
