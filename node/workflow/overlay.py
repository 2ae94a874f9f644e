"""What hospital systems say of a study's patient and order beyond what its objects say, as plain values. Read only."""

from __future__ import annotations

from typing import Any

from node.store import identities
from node.store.database import Database
from node.store.studies import StudyRow
from node.workflow import order_facts


def overlay(db: Database, row: StudyRow) -> dict[str, Any]:
    """{"known_as": the patient's ID today, every ID, and the demographics told; "told_orders": what a RIS says}."""
    told = identities.told(db, row.patient)
    return {
        "known_as": {
            "patient_id": identities.survivor(db, row.patient),
            "other_patient_ids": identities.identifiers(db, row.patient)[1:],
            "patient_name": told.name if told else "",
            "patient_birth_date": told.birth_date if told else "",
            "patient_sex": told.sex if told else "",
        },
        "told_orders": [
            {
                "requested_procedure_priority": each.priority,
                "cancelled": each.cancelled,
                "report_state": each.report_state.value if each.report_state else "",
                "told_by": each.told_by,
            }
            for each in order_facts.of_studies(db, [row])[row.study_instance_uid]
        ],
    }
