"""What has changed since priors, as plain values and as sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from node.domain.alignment import Alignment
from node.domain.change import Change
from node.domain.finding import Code
from node.domain.model_card import Mode
from node.store.changes import Comparison
from node.store.database import Database
from node.store.studies import StudyRow
from node.triage.change_said import said
from node.workflow.changed import comparisons_of
from node.workflow.measured_elsewhere import sizes_of_others

Story = dict[str, Any]


def comparisons_told(db: Database, row: StudyRow) -> dict[int, Comparison]:
    """Outcome id → the comparison of that result which stands now."""
    return {each.outcome_id: each for each in comparisons_of(db, [row])[row.study_instance_uid]}


def changes_told(db: Database, row: StudyRow, made: Sequence[Comparison]) -> list[Story]:
    """Each size of each finding against that of the prior; then beside those that others have measured."""
    compared = [
        _told(change, each.mode) | _made(each.made_at, each.alignment) for each in made for change in each.changes
    ]
    return compared + [_told(change, outcome.mode) | _made("", None) for outcome, change in sizes_of_others(db, row)]


def _made(made_at: str, alignment: Alignment | None) -> Story:
    return {"compared_at": made_at, "similarity": None if alignment is None else alignment.similarity}


def _told(change: Change, mode: Mode) -> Story:
    return {
        "model": change.model,
        "mode": mode.value,
        "code": _code(change.code),
        "segment_number": change.segment_number or None,
        "lesion_number": change.lesion_number or None,
        "prior_lesion_number": change.prior_lesion_number or None,
        "tracking_uid": change.tracking_uid,
        "quantity": _code(change.quantity),
        "unit": change.unit.value,
        "before": change.before,
        "after": change.after,
        "ratio": change.ratio,
        "ratio_low": change.ratio_low,
        "ratio_high": change.ratio_high,
        "doubling_days": change.doubling_days,
        "days": change.days,
        "verdict": change.verdict.value,
        "reason": change.reason,
        "sentence": said(change),
        "prior_study_instance_uid": change.prior_study_instance_uid,
        "prior_study_date": change.prior_date,
    }


def _code(code: Code) -> Story:
    return {"code_value": code.value, "coding_scheme_designator": code.scheme, "code_meaning": code.meaning}
