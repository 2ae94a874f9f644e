"""The order of a study (ServiceRequest), and the radiologist's report of it (DiagnosticReport)."""

from __future__ import annotations

from collections.abc import Iterable

from node.domain.history import Fact
from node.domain.report_state import FROM_DIAGNOSTIC_REPORT, ReportState
from node.retrieve.fhir.elements import Json, code, codings, date_time, identifiers, record, records, text
from node.retrieve.fhir.exchange import HistoryQuery
from node.retrieve.fhir.facts import IN_ERROR, NOT_DONE_YET, Reading, facts_about

OF_ANOTHER_STUDY = "of another study"
NOT_IMAGING = "not of imaging"

_PRIORITIES = ("stat", "asap", "urgent", "routine")
_STANDING_ORDERS = frozenset({"active", "on-hold", "completed"})
_ORDERED = frozenset({"order", "original-order", "reflex-order", "filler-order", "instance-order"})
#: Diagnostic Service Section ID (HL7 table 0074) of imaging, and LOINC's "Radiology".
_SECTIONS = "http://terminology.hl7.org/CodeSystem/v2-0074"
_IMAGING = {
    _SECTIONS: frozenset({"RAD", "CT", "NMR", "NMS", "RX", "RUS", "CUS", "OUS", "VUS", "XRC"}),
    "http://loinc.org": frozenset({"LP29684-5"}),
}
IMAGING = ",".join(f"{system}|{code}" for system, codes in _IMAGING.items() for code in sorted(codes))
#: System of a Study Instance UID as an identifier (FHIR R4, ImagingStudy).
_UIDS = "urn:dicom:uid"
_ORGANISATIONS = ("Organization", "HealthcareService", "Location")


def of_request(resource: Json, reading: Reading, query: HistoryQuery) -> tuple[list[Fact], str]:
    """Why and by whom the study was asked for, and how urgent that is; nothing of the order of another study."""
    if (query.accession_system, query.accession_number) not in identifiers(resource.get("identifier")):
        reading.found.drop(OF_ANOTHER_STUDY)
        return [], ""
    state, intent = code(resource.get("status")), code(resource.get("intent"))
    if state not in _STANDING_ORDERS or intent not in _ORDERED or resource.get("doNotPerform") is True:
        reading.found.drop(IN_ERROR if state == "entered-in-error" else NOT_DONE_YET)
        return [], ""
    at = date_time(resource.get("authoredOn"))
    found: list[Fact] = []
    for reason in records(resource.get("reasonCode", [])):
        found += facts_about(reading, reason, topic="reason_for_request", observed_at=at)
    asks = _service(resource.get("requester"))
    if asks:
        found.append(Fact(code="service", value=asks, source=reading.source, observed_at=at))
    priority = code(resource.get("priority"))
    return found, priority if priority in _PRIORITIES else ""


def most_urgent(priorities: Iterable[str]) -> str:
    """The most urgent of several priorities; empty where there is none."""
    told = set(priorities)
    return next((each for each in _PRIORITIES if each in told), "")


def of_report(resource: Json, reading: Reading, query: HistoryQuery) -> ReportState | None:
    """How far a report of the study is; `None` where it is another's, or says nothing."""
    if not _is_imaging(resource):
        reading.found.drop(NOT_IMAGING)
        return None
    if not _is_of_study(resource, reading, query):
        reading.found.drop(OF_ANOTHER_STUDY)
        return None
    return FROM_DIAGNOSTIC_REPORT.get(code(resource.get("status")))


def least(states: Iterable[ReportState]) -> ReportState | None:
    """The least of several reports of one study: half of it signed is not signed; `None` where there is none."""
    told, order = set(states), list(ReportState)
    return min(told, key=order.index) if told else None


def _is_imaging(resource: Json) -> bool:
    sections = [each for category in records(resource.get("category", [])) for each in codings(category)]
    return any(text(each.get("code")) in _IMAGING.get(text(each.get("system")), ()) for each in sections)


def _is_of_study(resource: Json, reading: Reading, query: HistoryQuery) -> bool:
    """Whether it names the study by its UID, or no study at all, and it or its order the study's accession number."""
    studies = records(resource.get("imagingStudy", []))
    resolved = [reading.found.resolved(each, resource) for each in studies]
    named = {pair for each in (*studies, *resolved) for pair in identifiers(each.get("identifier"))}
    uids = {value for system, value in named if system == _UIDS}
    if uids:
        return f"urn:oid:{query.study_instance_uid}" in uids
    accession = (query.accession_system, query.accession_number)
    if not all(accession) or query.accession_is_shared:
        return False
    based_on = records(resource.get("basedOn", []))
    bearers = [resource, *(reading.found.resolved(each, resource) for each in based_on)]
    return any(accession in identifiers(each.get("identifier")) for each in (*bearers, *based_on))


def _service(requester: object) -> str:
    """The service that asks; a person's name is no service."""
    reference = record(requester)
    target = reference.get("reference")
    kind = reference.get("type") or (target.split("/")[-2:][0] if isinstance(target, str) else "")
    return text(reference.get("display")) if kind in _ORGANISATIONS else ""
