"""One history query: whom the server means, then resource by resource; what fails takes nothing else with it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from node.domain.history import Fact
from node.domain.inquiry import InquiryState
from node.domain.report_state import ReportState
from node.errors import Failed, Transient
from node.retrieve.fhir import medications, observations, orders
from node.retrieve.fhir.bundle import ANOTHER_PATIENT, Found, is_about, search
from node.retrieve.fhir.elements import Json, record, records, text
from node.retrieve.fhir.exchange import (
    AskedResource,
    Capability,
    CapabilityQuery,
    HistoryAnswer,
    HistoryQuery,
    ResourceAnswer,
)
from node.retrieve.fhir.facts import Reader, Reading, of_allergy, of_condition, of_procedure
from node.retrieve.fhir.rest import Busy, Declined, Rest, reached
from node.retrieve.fhir.whom import Meant, meant, token
from node.retrieve.found import MALFORMED

#: More facts of one resource than this say no more.
_MOST_FACTS = 1000
_CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
_R4 = "4.0"

#: Reads each resource that becomes facts of the patient.
READERS: dict[str, Reader] = {
    "Condition": of_condition,
    "MedicationStatement": medications.of_statement,
    "MedicationRequest": medications.of_request,
    "Observation": observations.of_observation,
    "AllergyIntolerance": of_allergy,
    "Procedure": of_procedure,
}


_Part = TypeVar("_Part")


@dataclass
class _Told:
    """What the matches of one resource tell."""

    facts: list[Fact]
    priority: str = ""
    report_state: ReportState | None = None


def history_of(query: HistoryQuery) -> HistoryAnswer:
    """Ask a server for everything of the query; whatever goes wrong stands in the answer."""
    try:
        with reached(query) as rest:
            one = meant(rest, query)
            if one.state is not InquiryState.ANSWERED:
                return HistoryAnswer(state=one.state, reason=one.reason)
            answers: list[ResourceAnswer] = []
            wait_s = 0.0
            for asked in query.asked:
                answer, wanted_s = _one(rest, query, one, asked)
                wait_s = max(wait_s, wanted_s)
                answers.append(answer)
            return HistoryAnswer(
                birth_date=one.birth_date,
                sex=one.sex,
                state=InquiryState.ANSWERED,
                wait_s=wait_s,
                resources=tuple(answers),
            )
    except Failed as error:
        return HistoryAnswer(state=InquiryState.FAILED, reason=str(error))
    except Transient as error:
        wait_s = error.wait_s if isinstance(error, Busy) else 0.0
        return HistoryAnswer(state=InquiryState.FAILED, reason=str(error), again=True, wait_s=wait_s)


def capability_of(query: CapabilityQuery) -> Capability:
    """Look what a server says of itself, and whether it lets us search.

    Raises:
        Failed: it is no FHIR R4 server, or does not let us in.
        Transient: it does not answer now.
    """
    with reached(query) as rest:
        document = rest.get("metadata").document or {}
        version = text(document.get("fhirVersion"))
        if document.get("resourceType") != "CapabilityStatement" or not version:
            raise Failed("answers /metadata with something else than a CapabilityStatement; correct base")
        if not version.startswith(_R4):
            raise Failed(f"speaks FHIR {version}; R4 (4.0) is needed")
        listed = {
            each.get("type") for part in records(document.get("rest", [])) for each in records(part.get("resource", []))
        }
        missing = tuple(each for each in ("Patient", *query.resources) if each not in listed) if listed else ()
        keys = (("identifier", token(query.system, query.nobody)),)
        search(rest, query.base, "Patient", keys, post=query.post, etag="", most_pages=1)
        return Capability(version=version, software=text(record(document.get("software")).get("name")), missing=missing)


def _one(rest: Rest, query: HistoryQuery, one: Meant, asked: AskedResource) -> tuple[ResourceAnswer, float]:
    """Ask for one resource; the answer, and for how long the server asks to be left alone."""
    name = asked.resource
    try:
        keys = _keys(query, one, name)
        digest = _digest(query, one, keys)
        etag = asked.etag if asked.digest == digest else ""
        found = search(rest, query.base, name, keys, post=query.post, etag=etag, most_pages=query.most_pages)
    except Declined as error:
        return ResourceAnswer(resource=name, state=InquiryState.NOT_OFFERED, reason=str(error)), 0.0
    except Failed as error:
        return ResourceAnswer(resource=name, state=InquiryState.FAILED, reason=str(error)), 0.0
    except Transient as error:
        wait_s = error.wait_s if isinstance(error, Busy) else 0.0
        return ResourceAnswer(resource=name, state=InquiryState.FAILED, reason=str(error), again=True), wait_s
    told = _told(found, query, one)
    answer = ResourceAnswer(
        resource=name,
        state=InquiryState.ANSWERED,
        facts=tuple(told.facts[:_MOST_FACTS]),
        unchanged=found.unchanged,
        reason=_left_out(found, len(told.facts)),
        etag=found.etag,
        digest=digest,
        priority=told.priority,
        report_state=told.report_state,
    )
    return answer, 0.0


def _keys(query: HistoryQuery, one: Meant, resource: str) -> list[tuple[str, str]]:
    keys = [("patient", f"Patient/{one.id}"), ("_count", str(query.page_size))]
    match resource:
        case "Observation":
            keys.append(("category", ",".join(f"{_CATEGORY}|{each}" for each in query.categories)))
            keys += [("date", f"ge{query.since}"), ("_sort", "-date")]
        case "MedicationStatement" | "MedicationRequest":
            keys.append(("_include", f"{resource}:medication"))
        case "ServiceRequest":
            keys.append(("identifier", token(query.accession_system, query.accession_number)))
        case "DiagnosticReport":
            keys += [("category", orders.IMAGING), ("_include", "DiagnosticReport:based-on")]
    return keys


def _told(found: Found, query: HistoryQuery, one: Meant) -> _Told:
    """Read what is about the patient, and leave out what is not."""
    reading = Reading(found=found, source=f"fhir {query.server}", today=query.today)
    told = _Told([])
    about = [each for each in _each_once(found.matches) if _is_about(each, found, query, one)]
    match found.resource:
        case "ServiceRequest":
            requests = list(_read(found, about, lambda each: orders.of_request(each, reading, query)))
            told.facts = [fact for facts, _ in requests for fact in facts]
            told.priority = orders.most_urgent(priority for _, priority in requests)
        case "DiagnosticReport":
            states = _read(found, about, lambda each: orders.of_report(each, reading, query))
            told.report_state = orders.least(each for each in states if each is not None)
        case name:
            reader = READERS[name]
            told.facts = [fact for facts in _read(found, about, lambda each: reader(each, reading)) for fact in facts]
    if found.resource == "Observation":
        told.facts = observations.newest(told.facts, reading)
    told.facts = list(dict.fromkeys(told.facts))
    return told


def _read(found: Found, resources: list[Json], reader: Callable[[Json], _Part]) -> Iterator[_Part]:
    """What a reader makes of each resource; one that cannot be read takes no other with it."""
    for each in resources:
        try:
            yield reader(each)
        except MALFORMED:
            found.drop("that cannot be read")


def _each_once(matches: list[Json]) -> list[Json]:
    """The resources without those that an earlier page held already."""
    newest = {text(each.get("id")) or str(number): each for number, each in enumerate(matches)}
    return list(newest.values())


def _is_about(resource: Json, found: Found, query: HistoryQuery, one: Meant) -> bool:
    if is_about(resource, found, one.id, query.system, query.patient_id):
        return True
    found.drop(ANOTHER_PATIENT)
    return False


def _left_out(found: Found, facts: int) -> str:
    """What of the answer was not read, in words; no more than numbers and reasons."""
    told = [f"{number} left out: {reason}" for reason, number in found.left_out.items()]
    if found.cut_off:
        told.append("further pages left out (most_pages)")
    if facts > _MOST_FACTS:
        told.append(f"{facts - _MOST_FACTS} facts left out: more than {_MOST_FACTS}")
    return "; ".join(told)


def _digest(query: HistoryQuery, one: Meant, keys: Sequence[tuple[str, str]]) -> str:
    """Of the question and of whom it is about: an ETag holds for both alone."""
    parts = (query.base, one.id, one.birth_date, one.sex, query.study_instance_uid, *(f"{a}={b}" for a, b in keys))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
