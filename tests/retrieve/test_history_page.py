"""The page on history says what the code does."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

import pytest

from node.config.fhir import FhirResource, FhirServer
from node.domain.coding_systems import FROM_HL7, FROM_URI, PREFIXES
from node.domain.history import Fact
from node.domain.inquiry import InquiryState
from node.retrieve.fhir.bundle import Found
from node.retrieve.fhir.facts import ABSENT_CODES, Reading
from node.retrieve.fhir.inquiry import READERS
from node.retrieve.table import OPTIONAL, REQUIRED
from tests.retrieve.records import SCT, about, coded_status, concept

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "node" / "HISTORY.md").read_text()
_SYSTEMS = {
    ("Condition", "verificationStatus"): "condition-ver-status",
    ("Condition", "clinicalStatus"): "condition-clinical",
    ("AllergyIntolerance", "verificationStatus"): "allergyintolerance-verification",
    ("AllergyIntolerance", "clinicalStatus"): "allergyintolerance-clinical",
}


def rows(first_heading: str) -> list[list[str]]:
    """Cells of the tables whose first heading is this."""
    found: list[list[str]] = []
    inside = False
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if not cells:
            inside = False
        elif inside and not set(cells[0]) <= {"-"}:
            found.append(cells)
        elif cells[0] == first_heading:
            inside = True
    return found


def words(cell: str) -> list[str]:
    return [word for word in re.split(r"[,\s`]+", cell) if word]


def test_the_coding_systems_are_those_of_the_table() -> None:
    uris, hl7 = {}, {}
    for prefix, systems, names in rows("prefix"):
        uris |= dict.fromkeys(words(systems), prefix.strip("`"))
        hl7 |= dict.fromkeys(words(names), prefix.strip("`"))
    assert uris == FROM_URI
    assert hl7 == FROM_HL7
    assert {prefix.strip("`") for prefix, *_ in rows("prefix")} == PREFIXES


def test_every_state_of_a_question_is_explained() -> None:
    assert [cells[0].strip("`") for cells in rows("state")] == [*InquiryState, "waiting"]


def test_every_resource_is_explained_and_no_other() -> None:
    listed = [cells[0].strip("`") for cells in rows("resource") if cells[1] != "status" and "Status" not in cells[1]]
    assert listed == list(get_args(FhirResource))


def test_every_column_of_a_table_is_explained() -> None:
    assert {word for cells in rows("column") for word in words(cells[0])} == {*REQUIRED, *OPTIONAL}


def test_codes_that_deny_are_listed() -> None:
    assert set(re.findall(r"\b\d{9}\b", PAGE)) - {"363358000"} == {each for each in ABSENT_CODES if each.isdecimal()}


def test_every_key_stands_in_config_toml() -> None:
    text = (ROOT / "config.toml").read_text()
    section = text[text.index("# [[fhir]]") :].partition("\n\n")[0]
    assert set(re.findall(r"^# (\w+) = ", section, re.MULTILINE)) == set(FhirServer.model_fields)
    for name, value in re.findall(r"^# (\w+) = ([^#\s{\[]+)", section, re.MULTILINE):
        default = FhirServer.model_fields[name].default
        if isinstance(default, int | float):
            assert float(value) == default, name


def resource(kind: str, element: str, code: str) -> dict[str, Any]:
    told = concept(SCT, "363358000", "something")
    made = about(kind, 1, code=told, medicationCodeableConcept=told, intent="order", status="final")
    if kind == "Observation":
        made["valueQuantity"] = {"value": 1}
    system = _SYSTEMS.get((kind, element))
    return {**made, element: coded_status(system, code) if system else code}


def outcome_of(facts: list[Fact]) -> str:
    if not facts:
        return "left out"
    (fact,) = facts
    return "ended" if fact.ended_at else fact.standing.value


STATUSES = [
    (cells[0].strip("`"), cells[1], code, cells[3])
    for cells in rows("resource")
    if len(cells) == 4 and ("Status" in cells[1] or cells[1] == "status")
    for code in words(cells[2])
]


@pytest.mark.parametrize(("kind", "element", "code", "becomes"), STATUSES)
def test_every_status_becomes_what_the_page_says(kind: str, element: str, code: str, becomes: str) -> None:
    reading = Reading(found=Found("http://h", kind), source="fhir H", today="2026-01-02")
    assert outcome_of(READERS[kind](resource(kind, element, code), reading)) == becomes


def test_the_statuses_are_many() -> None:
    told = defaultdict(set)
    for kind, element, code, _ in STATUSES:
        told[kind, element].add(code)
    assert set(READERS) == {kind for kind, _ in told}
    assert len(STATUSES) > 40
