"""What of patients pages and JSON show: what [web] shows lists, and nothing of the rest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from node.config.sections import Shown

Story = dict[str, Any]

#: What a word of [web] shows stands for: the keys of a told study, and what stands there when it is not shown.
_KEYS: Mapping[Shown, Mapping[str, Any]] = {
    "patient_id": {"patient_id": "", "issuer_of_patient_id": ""},
    "patient_name": {"patient_name": ""},
    "patient_birth_date": {"patient_birth_date": ""},
    "patient_sex": {"patient_sex": ""},
    "patient_age": {"patient_age_years": None},
    "accession_number": {"accession_number": "", "study_id": ""},
    "study_date": {"study_date": "", "study_time": ""},
    "study_description": {"study_description": ""},
    "reasons": {"reasons": [], "pinned": None},
    "history": {"history": []},
}


def shown(study: Mapping[str, Any], shows: Collection[Shown]) -> Story:
    """A told study, or discrepancy, as far as it is shown."""
    hidden = [word for word in _KEYS if word not in shows]
    if not hidden:
        return dict(study)
    told = dict(study)
    for word in hidden:
        told |= {key: nothing for key, nothing in _KEYS[word].items() if key in told}
    for key in told.keys() - _KNOWN:
        # What is not known to be harmless may say what is hidden.
        told[key] = _nothing(told[key])
    if "reasons" in hidden and "findings" in told:
        told["findings"] = [{**each, "sentence": ""} if "sentence" in each else each for each in told["findings"]]
    return told


def _nothing(value: Any) -> Any:
    if isinstance(value, str):
        return ""
    return [] if isinstance(value, list) else {} if isinstance(value, dict) else None


#: Keys that say nothing in words about a patient, or whose words are hidden above.
_WORDS = """
    place study_instance_uid state lane score report_state report_told_by wait_min overtakable_until waits_too_long
    acknowledgement requested_procedure_priority modality received_at last_received_at revision prior instances
    instances_expected instances_undescribed findings changes outcomes results deliveries revisions procedure_steps
    artifacts discrepancy owner found_at due_at model code_value coding_scheme_designator code_meaning asked_by
    closed_by closed_at
"""
_KNOWN = frozenset(_WORDS.split()) | {key for keys in _KEYS.values() for key in keys}
