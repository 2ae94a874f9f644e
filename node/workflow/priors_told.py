"""The priors of a study as plain values: what archives told of, and what became of each."""

from __future__ import annotations

from typing import Any

from node.store import prior_candidates
from node.store.database import Database
from node.store.studies import StudyRow

Story = dict[str, Any]


def priors_told(db: Database, study: StudyRow) -> Story:
    """What is told of priors beside the rest of a study's story."""
    return {"prior_candidates": _candidates(db, study.study_instance_uid)}


def _candidates(db: Database, study_instance_uid: str) -> list[Story]:
    return [
        {
            "study_instance_uid": each.study_instance_uid,
            "archive": each.archive,
            "study_date": each.study_date,
            "modalities_in_study": [part for part in each.modalities.split(", ") if part],
            "standing": each.standing,
            "selector": each.selector,
            "reason": each.reason,
        }
        for each in prior_candidates.of_study(db, study_instance_uid)
    ]
