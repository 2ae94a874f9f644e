"""What a Unified Procedure Step has to say when it is created, changed and ended (PS3.4 Table CC.2.5-3).

Attributes are those of `domain/dicom_json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node.domain.dicom_json import Attributes, element, is_filled, items, text
from node.domain.patient import UNDECODABLE, Patient
from node.domain.ups import UpsState, UpsStatus

SPECIFIC_CHARACTER_SET, TIMEZONE_OFFSET = "00080005", "00080201"
SOP_CLASS_UID, SOP_INSTANCE_UID, TRANSACTION_UID = "00080016", "00080018", "00081195"
STATE, READINESS, PRIORITY = "00741000", "00404041", "00741200"
STEP_LABEL, WORKLIST_LABEL = "00741204", "00741202"
START, MODIFIED, EXPECTED_COMPLETION = "00404005", "00404010", "00404011"
PROGRESS, PERFORMED = "00741002", "00741216"
CANCELLATION_TIME, DISCONTINUATION_REASON = "00404052", "0074100E"
REASON_FOR_CANCELLATION, CONTACT_URI, CONTACT_NAME = "00741238", "0074100A", "0074100C"
RECEIVING_AE, REQUESTING_AE, DELETION_LOCK = "00741234", "00741236", "00741230"
STATION_NAMES, HUMAN_PERFORMERS = "00404025", "00404034"
COMMENTS, PARAMETERS = "00400400", "00741210"
PATIENT_NAME, PATIENT_ID, ISSUER_OF_PATIENT_ID = "00100010", "00100020", "00100021"
BIRTH_DATE, SEX, STUDY_INSTANCE_UID = "00100030", "00100040", "0020000D"
WORKITEM_CODE, INPUT, REFERENCED_REQUEST = "00404018", "00404021", "0040A370"

#: Defined terms (PS3.3 §C.30.1, §C.30.2).
_TERMS = {PRIORITY: ("HIGH", "MEDIUM", "LOW"), READINESS: ("INCOMPLETE", "UNAVAILABLE", "READY")}
#: Type 1 of an N-CREATE.
_NEEDED = {
    PRIORITY: "Scheduled Procedure Step Priority",
    STEP_LABEL: "Procedure Step Label",
    START: "Scheduled Procedure Step Start DateTime",
    READINESS: "Input Readiness State",
}
#: Type 2 of an N-CREATE: what does not come is kept empty.
_EMPTY = {
    **dict.fromkeys((PATIENT_NAME,), "PN"),
    **dict.fromkeys((PATIENT_ID, "00380010", "00081080"), "LO"),
    **dict.fromkeys((BIRTH_DATE,), "DA"),
    **dict.fromkeys((SEX,), "CS"),
    **dict.fromkeys((COMMENTS,), "LT"),
    **dict.fromkeys(("00380014", "00081084", REFERENCED_REQUEST, PARAMETERS, STATION_NAMES, "00404026"), "SQ"),
    **dict.fromkeys(("00404027", HUMAN_PERFORMERS, WORKITEM_CODE, INPUT, PROGRESS, PERFORMED), "SQ"),
}
#: Not to be set: whom it is about and on whose behalf, what it is, and what only N-ACTION changes.
_NOT_SET = frozenset(
    {
        *(SOP_CLASS_UID, SOP_INSTANCE_UID, PATIENT_NAME, PATIENT_ID, ISSUER_OF_PATIENT_ID, BIRTH_DATE, SEX),
        *("00101002", "00100024", "00380010", "00380014", "00081080", "00081084"),
        *(STUDY_INSTANCE_UID, REFERENCED_REQUEST, "00741224", MODIFIED),
    }
)
#: Needed in COMPLETED, in each item of what was performed: station, start, code of the work, end.
_PERFORMED_NEEDS = {
    "00404028": "Performed Station Name Code Sequence",
    "00404050": "Performed Procedure Step Start DateTime",
    "00404019": "Performed Workitem Code Sequence",
    "00404051": "Performed Procedure Step End DateTime",
}
_OUTPUT = "00404033"

#: What is wrong with a request: its status, and why in words.
Fault = tuple[UpsStatus, str]


def fault_of_creation(attributes: Mapping[str, Any]) -> Fault | None:
    """What keeps a step with these attributes from being created; `None` if nothing does."""
    if STATE not in attributes:
        return UpsStatus.MISSING_ATTRIBUTE, "the Procedure Step State is missing"
    if text(attributes, STATE) != UpsState.SCHEDULED:
        return UpsStatus.NOT_CREATED_SCHEDULED, "a step is created SCHEDULED"
    if is_filled(attributes, TRANSACTION_UID):
        return UpsStatus.INVALID_ATTRIBUTE_VALUE, "a step is created without a Transaction UID"
    for tag, name in _NEEDED.items():
        if tag not in attributes:
            return UpsStatus.MISSING_ATTRIBUTE, f"the {name} is missing"
    return _fault_of_values(attributes)


def fault_of_setting(changes: Mapping[str, Any]) -> Fault | None:
    """What keeps these attributes from being set; `None` if nothing does."""
    if STATE in changes:
        if text(changes, STATE) == UpsState.SCHEDULED:
            return UpsStatus.SCHEDULED_BY_CREATION_ALONE, "a step is SCHEDULED by N-CREATE alone"
        return UpsStatus.NO_SUCH_ATTRIBUTE, "the Procedure Step State is changed by N-ACTION alone"
    if forbidden := sorted(_NOT_SET & set(changes)):
        return UpsStatus.NO_SUCH_ATTRIBUTE, f"({forbidden[0][:4]},{forbidden[0][4:]}) is not to be set"
    return _fault_of_values(changes)


def completed_creation(attributes: Attributes, *, worklist_label: str) -> Attributes:
    """The attributes of a new step with all that a step has, empty where nobody said anything."""
    made = {tag: element(vr) for tag, vr in _EMPTY.items()} | attributes
    made.pop(TRANSACTION_UID, None)
    if not is_filled(made, WORKLIST_LABEL):
        made[WORKLIST_LABEL] = element("LO", worklist_label)
    return made


def of_patient(patient: Patient) -> Attributes:
    """Whom a step is about, as far as that is sure: no ID that stands for nobody, no name that could not be read."""
    identified = patient.is_identified
    return {
        PATIENT_NAME: element("PN", "" if UNDECODABLE in patient.name else patient.name),
        PATIENT_ID: element("LO", patient.patient_id if identified else ""),
        ISSUER_OF_PATIENT_ID: element("LO", patient.issuer if identified else ""),
        BIRTH_DATE: element("DA", patient.birth_date),
        SEX: element("CS", patient.sex),
    }


def of_request(study_instance_uid: str, accession_number: str) -> Attributes:
    """On whose behalf: the Referenced Request Sequence, empty where no order is known."""
    request = {
        STUDY_INSTANCE_UID: element("UI", study_instance_uid),
        "00080050": element("SH", accession_number),
        "00321064": element("SQ"),
        "00401001": element("SH"),
        "00321060": element("LO"),
    }
    return {REFERENCED_REQUEST: element("SQ", *([request] if accession_number else []))}


def unmet(attributes: Mapping[str, Any], after: UpsState) -> str:
    """What is missing before a step may be COMPLETED or CANCELED (PS3.4 §CC.2.5.1.1); empty if nothing is."""
    if after is UpsState.CANCELED:
        told = items(attributes, PROGRESS)
        names = {CANCELLATION_TIME: "Procedure Step Cancellation DateTime",
                 DISCONTINUATION_REASON: "Procedure Step Discontinuation Reason Code Sequence"}  # fmt: skip
        return next((name for tag, name in names.items() if not any(is_filled(each, tag) for each in told)), "")
    performed = items(attributes, PERFORMED)
    if not performed:
        return "Unified Procedure Step Performed Procedure Sequence"
    for item in performed:
        for tag, name in _PERFORMED_NEEDS.items():
            if not is_filled(item, tag):
                return name
        if _OUTPUT not in item:
            return "Output Information Sequence"
    return ""


def with_cancellation(attributes: Attributes, *, at: str, reason: Attributes | None) -> Attributes:
    """The attributes with the time of the cancellation, and with its reason, where they do not say them already."""
    told = items(attributes, PROGRESS)
    item = dict(told[0]) if told else {}
    if not is_filled(item, CANCELLATION_TIME):
        item[CANCELLATION_TIME] = element("DT", at)
    if reason is not None and not is_filled(item, DISCONTINUATION_REASON):
        item[DISCONTINUATION_REASON] = element("SQ", reason)
    return {**attributes, PROGRESS: element("SQ", item, *told[1:])}


def _fault_of_values(attributes: Mapping[str, Any]) -> Fault | None:
    for tag, name in _NEEDED.items():
        if tag in attributes and not is_filled(attributes, tag):
            return UpsStatus.MISSING_ATTRIBUTE_VALUE, f"the {name} is empty"
    for tag, terms in _TERMS.items():
        if tag in attributes and text(attributes, tag) not in terms:
            return UpsStatus.INVALID_ATTRIBUTE_VALUE, f"the {_NEEDED[tag]} is none of {', '.join(terms)}"
    return None
