"""What each resource of a FHIR answer says of the patient, as facts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from node.domain.history import Fact, Standing
from node.retrieve.fhir.bundle import Found
from node.retrieve.fhir.elements import (
    Json,
    code,
    date_time,
    day,
    is_coded_as,
    known_codes,
    record,
    status,
    words,
)

#: Why something is not read.
IN_ERROR = "entered in error"
UNCERTAIN = "not certain"
NOT_DONE_YET = "not done, or not taken, yet"
SAYS_NOTHING = "without a code or a word"

_TERMINOLOGY = "http://terminology.hl7.org/CodeSystem"
_CLINICAL = {kind: f"{_TERMINOLOGY}/{kind}-clinical" for kind in ("condition", "allergyintolerance")}
_VERIFICATION = {
    "condition": f"{_TERMINOLOGY}/condition-ver-status",
    "allergyintolerance": f"{_TERMINOLOGY}/allergyintolerance-verification",
}
_OVER = frozenset({"inactive", "remission", "resolved"})
_SNOMED = "http://snomed.info/sct"
_IPS = "http://hl7.org/fhir/uv/ips/CodeSystem/absent-unknown-uv-ips"
#: Codes that say that there is none of a kind (IPS, "absent or unknown") → in what words the denial is kept, whatever
#: language the server speaks: of the whole topic as "No known …", of a part of it as that part, which is not so.
ABSENT_CODES = {
    "716186003": "No known allergies",
    "409137002": "drug allergy",
    "428607008": "environmental allergy",
    "429625007": "food allergy",
    "787481004": "No known medications",
    "160245001": "No known problems",
    "no-known-allergies": "No known allergies",
    "no-known-medication-allergies": "drug allergy",
    "no-known-environmental-allergies": "environmental allergy",
    "no-known-food-allergies": "food allergy",
    "no-known-medications": "No known medications",
    "no-known-problems": "No known problems",
    "no-known-procedures": "No known procedures",
}
_NO_INFORMATION = ("no-allergy-info", "no-medication-info", "no-problem-info", "no-procedure-info")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What facts of one answer have in common."""

    found: Found
    #: What the facts call their source.
    source: str
    #: YYYY-MM-DD; what is over, but not told since when, is over since then.
    today: str


def facts_about(
    reading: Reading,
    concept: object,
    *,
    topic: str,
    standing: Standing = Standing.YES,
    observed_at: str = "",
    ended_at: str = "",
) -> list[Fact]:
    """A fact for each code of a concept that we know, or one in words alone; none where it says that nobody knows."""
    if is_coded_as(concept, _IPS, *_NO_INFORMATION):
        return []
    value, codes = words(concept), known_codes(concept)
    absent = next((each for each in ABSENT_CODES if is_coded_as(concept, _system_of(each), each)), "")
    if absent:
        standing, value = Standing.NO, ABSENT_CODES[absent]
    if not value and not codes:
        reading.found.drop(SAYS_NOTHING)
        return []
    when = {"observed_at": observed_at, "ended_at": ended_at, "source": reading.source}
    return [Fact(code=topic, value=value, coded=each, standing=standing, **when) for each in codes or [""]]


def _system_of(absent: str) -> str:
    return _SNOMED if absent.isdecimal() else _IPS


def over_since(reading: Reading, resource: Json, told: str) -> str:
    """When something ended of which it is told that it is over: then, or known to be over since."""
    updated = day(date_time(record(resource.get("meta")).get("lastUpdated")))
    return told or updated or reading.today


def ended(reading: Reading, told: str) -> str:
    """When something ends, if that is not in the future: what still lasts has no end."""
    return told if told and day(told) <= reading.today else ""


def start_and_end(resource: Json, element: str) -> tuple[str, str]:
    """Beginning and end of a [x] element that is a dateTime or a Period."""
    period = record(resource.get(f"{element}Period"))
    at = date_time(resource.get(f"{element}DateTime")) or date_time(period.get("start"))
    return at, date_time(period.get("end"))


def of_condition(resource: Json, reading: Reading) -> list[Fact]:
    """A problem. One that nobody has confirmed is no fact: a suspicion is not history."""
    verified = status(resource, _VERIFICATION["condition"], "verificationStatus")
    if verified in ("unconfirmed", "provisional", "differential"):
        reading.found.drop(UNCERTAIN)
        return []
    return _of_problem(resource, reading, "problem", "condition", verified)


def of_allergy(resource: Json, reading: Reading) -> list[Fact]:
    """An allergy or intolerance; what a patient tells of, unconfirmed, counts: it costs nothing to heed it."""
    verified = status(resource, _VERIFICATION["allergyintolerance"], "verificationStatus")
    return _of_problem(resource, reading, "allergy", "allergyintolerance", verified)


def _of_problem(resource: Json, reading: Reading, topic: str, kind: str, verified: str) -> list[Fact]:
    if verified == "entered-in-error":
        reading.found.drop(IN_ERROR)
        return []
    begun, _ = start_and_end(resource, "onset")
    abated, until = start_and_end(resource, "abatement")
    over = status(resource, _CLINICAL[kind], "clinicalStatus") in _OVER
    over = over or any(name.startswith("abatement") for name in resource)
    told = until or abated
    return facts_about(
        reading,
        resource.get("code"),
        topic=topic,
        standing=Standing.NO if verified == "refuted" else Standing.YES,
        observed_at=begun or date_time(resource.get("recordedDate")),
        ended_at=over_since(reading, resource, told) if over else "",
    )


def of_procedure(resource: Json, reading: Reading) -> list[Fact]:
    """What was done, or was not."""
    state = code(resource.get("status"))
    if state == "entered-in-error":
        reading.found.drop(IN_ERROR)
        return []
    if state not in ("completed", "in-progress", "not-done"):
        reading.found.drop(NOT_DONE_YET)
        return []
    done_at, _ = start_and_end(resource, "performed")
    standing = Standing.NO if state == "not-done" else Standing.YES
    return facts_about(reading, resource.get("code"), topic="procedure", standing=standing, observed_at=done_at)


#: Reads one resource.
Reader = Callable[[Json, Reading], list[Fact]]
