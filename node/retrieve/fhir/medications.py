"""Medications: what a patient takes (MedicationStatement), and what was prescribed (MedicationRequest)."""

from __future__ import annotations

from node.domain.history import Fact, Standing
from node.retrieve.fhir.elements import Json, code, date_time, records
from node.retrieve.fhir.facts import (
    IN_ERROR,
    NOT_DONE_YET,
    UNCERTAIN,
    Reading,
    ended,
    facts_about,
    over_since,
    start_and_end,
)

#: MedicationStatement.status of what is taken. What is on hold may be in the blood still, and counts.
_TAKEN = frozenset({"active", "on-hold"})
_NO_LONGER_TAKEN = frozenset({"completed", "stopped"})
#: MedicationRequest.intent of what was really ordered.
_ORDERS = frozenset({"order", "original-order", "reflex-order", "filler-order", "instance-order"})


def of_statement(resource: Json, reading: Reading) -> list[Fact]:
    """What the patient takes, took, or does not take."""
    state = code(resource.get("status"))
    begun, until = start_and_end(resource, "effective")
    if state == "not-taken":
        return _facts(resource, reading, begun, "", Standing.NO)
    if state in _NO_LONGER_TAKEN:
        return _facts(resource, reading, begun, over_since(reading, resource, ended(reading, until)))
    if state in _TAKEN:
        return _facts(resource, reading, begun, ended(reading, until))
    reading.found.drop(_why_not(state))
    return []


def of_request(resource: Json, reading: Reading) -> list[Fact]:
    """What was prescribed, and is to be taken, or no longer."""
    state, at = code(resource.get("status")), date_time(resource.get("authoredOn"))
    if code(resource.get("intent")) not in _ORDERS and state != "entered-in-error":
        reading.found.drop(NOT_DONE_YET)
        return []
    if state in _TAKEN:
        forbidden = resource.get("doNotPerform") is True
        return _facts(resource, reading, at, "", Standing.NO if forbidden else Standing.YES)
    if state in _NO_LONGER_TAKEN and resource.get("doNotPerform") is not True:
        return _facts(resource, reading, at, over_since(reading, resource, ""))
    reading.found.drop(_why_not(state))
    return []


def _facts(
    resource: Json, reading: Reading, begun: str, ended_at: str, standing: Standing = Standing.YES
) -> list[Fact]:
    """Facts on the medication, which stands in the resource or is a Medication that came with it."""
    concept = resource.get("medicationCodeableConcept")
    if not records(concept):
        concept = reading.found.resolved(resource.get("medicationReference"), resource).get("code")
    return facts_about(reading, concept, topic="medication", standing=standing, observed_at=begun, ended_at=ended_at)


def _why_not(state: str) -> str:
    if state == "entered-in-error":
        return IN_ERROR
    return UNCERTAIN if state == "unknown" else NOT_DONE_YET
