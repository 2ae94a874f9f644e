"""Observations: laboratory values, vital signs and what is like them, each with its LOINC code and UCUM unit."""

from __future__ import annotations

from math import isfinite

from node.domain.history import Fact
from node.retrieve.fhir.elements import Json, code, date_time, known_codes, record, records, text, words
from node.retrieve.fhir.facts import IN_ERROR, SAYS_NOTHING, UNCERTAIN, Reading, start_and_end

_SOUND = frozenset({"final", "amended", "corrected", "preliminary"})
_UCUM = "http://unitsofmeasure.org"
_COMPARATORS = ("<", "<=", ">=", ">")
#: What has a topic of its own among our facts.
_TOPICS = {"LN:72166-2": "smoking_status", "LN:82810-3": "pregnancy_status"}
#: Of each code, the newest; who needs a series of values asks the server.
_MOST_OF_A_CODE = 5
_MOST_COMPONENTS = 20
OLDER = f"older than the newest {_MOST_OF_A_CODE} of their code"


def of_observation(resource: Json, reading: Reading) -> list[Fact]:
    """Its value, and those of its components, as a blood pressure's."""
    state = code(resource.get("status"))
    if state not in _SOUND:
        reading.found.drop(IN_ERROR if state == "entered-in-error" else UNCERTAIN)
        return []
    begun, until = start_and_end(resource, "effective")
    at = until or begun or date_time(resource.get("effectiveInstant")) or date_time(resource.get("issued"))
    parts = [resource, *records(resource.get("component", []))[:_MOST_COMPONENTS]]
    found = [fact for part in parts for fact in _facts(part, reading, at)]
    if not found:
        reading.found.drop(SAYS_NOTHING)
    return found


def newest(facts: list[Fact], reading: Reading) -> list[Fact]:
    """The newest facts of each code; the others are counted."""
    kept: list[Fact] = []
    number: dict[str, int] = {}
    for fact in sorted(facts, key=lambda each: each.observed_at, reverse=True):
        if fact.coded:
            number[fact.coded] = number.get(fact.coded, 0) + 1
        if number.get(fact.coded, 0) > _MOST_OF_A_CODE:
            reading.found.drop(OLDER)
        else:
            kept.append(fact)
    return kept


def _facts(part: Json, reading: Reading, at: str) -> list[Fact]:
    """A value with each code of what was observed; without a code, its name is put before it."""
    value, unit = _value(part)
    if not value:
        return []
    codes, name = known_codes(part.get("code")), words(part.get("code"))
    if not codes:
        shown = f"{name}: {value} {unit}".strip() if name else ""
        fact = Fact(code="observation", value=shown, source=reading.source, observed_at=at)
        return [fact] if shown else []
    return [
        Fact(
            code=_TOPICS.get(each, "observation"),
            value=value,
            unit=unit,
            source=reading.source,
            observed_at=at,
            coded=each,
        )
        for each in codes
    ]


def _value(part: Json) -> tuple[str, str]:
    """The value and its unit; a number below or above what can be measured bears its sign, and is a text so."""
    quantity = record(part.get("valueQuantity"))
    if quantity:
        number = _number(quantity.get("value"))
        comparator = quantity.get("comparator")
        sign = str(comparator) if comparator in _COMPARATORS else ""
        if comparator is not None and not sign:
            return "", ""
        of_ucum = quantity.get("system") == _UCUM
        unit = text(quantity.get("code")) if of_ucum else text(quantity.get("unit"))
        return (f"{sign}{number}", unit) if number else ("", "")
    for element in ("valueInteger", "valueDecimal"):
        if number := _number(part.get(element)):
            return number, ""
    if isinstance(told := part.get("valueBoolean"), bool):
        return ("yes" if told else "no"), ""
    concept = part.get("valueCodeableConcept")
    return (words(concept) or text(part.get("valueString")) or date_time(part.get("valueDateTime"))), ""


def _number(value: object) -> str:
    """A JSON number as text; empty where it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    try:
        return str(value) if isfinite(value) else ""
    except (ValueError, OverflowError):
        return ""
