"""What a message says of the patient's history: AL1, DG1, PR1, PV1 and OBX, as facts of the closed vocabulary."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from zoneinfo import ZoneInfo

from node.domain import coding_systems
from node.domain.history import Fact, Standing
from node.domain.told import ToldFacts
from node.receive.hl7.syntax import Element, Message, Segment
from node.receive.hl7.times import observed

#: Characters of one value, and facts of one matter in one message, that are kept.
LONGEST_VALUE = 500
_MOST_FACTS = 500
#: PV1-2 (table 0004) in words.
_CLASSES = {"E": "emergency", "I": "inpatient", "O": "outpatient", "P": "preadmit", "R": "recurring patient",
            "B": "obstetrics"}  # fmt: skip
#: PV1-15 (table 0009): pregnant.
_PREGNANT = "B6"
_NUMBER = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{0,15})?([eE][+-]?[0-9]{1,2})?")
#: LOINC codes of observations that have a topic of their own.
_TOPICS = {
    "LN:82810-3": "pregnancy_status",
    "LN:11449-6": "pregnancy_status",
    "LN:72166-2": "smoking_status",
}
#: OBX-8 (table 0078) in words.
_FLAGS = {
    "H": "high", "HH": "critically high", ">": "above the range", "L": "low", "LL": "critically low",
    "<": "below the range", "A": "abnormal", "AA": "critically abnormal",
}  # fmt: skip
#: OBX-11 (table 0085): taken back, or not done.
_TAKEN_BACK = frozenset(("D", "W", "X", "N"))
#: Types of OBX-5 that are read; binary ones, references and times are not.
_READ_TYPES = frozenset(("NM", "SN", "ST", "TX", "FT", "CE", "CWE", "CNE", "IS", "ID"))
#: Words and codes that say: no allergy is known.
_NO_ALLERGY = ("no known", "nka", "nkda", "none known", "keine allergie", "keine bekannt")
_NO_ALLERGY_CODES = frozenset(("SCT:716186003", "SCT:409137002"))


def coded_of(element: Element) -> str:
    """`Fact.coded` of a coded element (CE, CWE): of its first coding, else of its second."""
    for code, scheme in ((1, 3), (4, 6)):
        prefix = coding_systems.FROM_HL7.get(element.text(scheme).upper())
        if found := coding_systems.coded(prefix, element.text(code)):
            return found
    return ""


def words_of(element: Element) -> str:
    """What a coded element means in words; its code where it has none."""
    return (element.text(2) or element.text(5) or element.text(1))[:LONGEST_VALUE]


def told_facts(message: Message, source: str, zone: ZoneInfo | None, *, whole: bool) -> tuple[ToldFacts, ...]:
    """Allergies, diagnoses, procedures and observations; a matter of which nothing is said is left out.

    `whole`: what is said of allergies, diagnoses and procedures is all that there is (snapshot mode, §2.10.4). One
    segment whose identifying field is null says that there are none any more.
    """
    readers = (("AL1", "allergies", 3, _allergy), ("DG1", "diagnoses", 3, _diagnosis), ("PR1", "procedures", 3, _done))
    told = []
    for name, matter, number, reader in readers:
        segments = list(message.named(name))[:_MOST_FACTS]
        stated = [each for each in segments if each.raw_field(number) or each.raw_field(4)]
        none_left = len(stated) == 1 and stated[0].first(number).is_null
        facts = [] if none_left else [fact for each in stated if (fact := reader(each, source, zone)) is not None]
        if facts or none_left:
            told.append(ToldFacts(matter=matter, facts=tuple(facts), whole=whole or none_left))
    observations = list(message.named("OBX"))[:_MOST_FACTS]
    if observations:
        told.append(told_observations(observations, source, zone))
    return tuple(told)


def visit(message: Message, source: str, zone: ZoneInfo | None, *, is_over: bool) -> tuple[ToldFacts, ...]:
    """Where the patient is, in which class, and whose: PV1; `is_over` says that this is so no longer."""
    pv1 = message.one("PV1")
    if is_over:
        return (ToldFacts(matter="visit"),)
    if pv1 is None:
        return ()
    at = observed(pv1.text(44), zone)
    place = pv1.first(3)
    said = {
        "patient_location": " ".join(filter(None, (place.text(1), place.text(2), place.text(3), place.text(9)))),
        "service": words_of(pv1.first(10)),
    }
    facts = [
        Fact(code=code, value=value[:LONGEST_VALUE], source=source, observed_at=at)
        for code, value in said.items()
        if value
    ]
    in_class = _CLASSES.get(pv1.text(2).upper())
    if in_class:
        facts.append(Fact(code="patient_location", value=in_class, source=source, observed_at=at))
    if any(each.text(1).upper() == _PREGNANT for each in pv1.elements(15)):
        facts.append(Fact(code="pregnancy_status", value="pregnant", source=source, observed_at=at))
    return (ToldFacts(matter="visit", facts=tuple(facts)),) if facts else ()


def told_observations(segments: Iterable[Segment], source: str, zone: ZoneInfo | None, at: str = "") -> ToldFacts:
    """Laboratory values, vital signs and the like: OBX with a code; `at` is their time where they tell none."""
    facts: list[Fact] = []
    withdrawn: list[str] = []
    for obx in segments:
        coded = coded_of(obx.first(3))
        if obx.text(11).upper() in _TAKEN_BACK:
            withdrawn += [coded] if coded else []
        elif obx.text(2).upper() in _READ_TYPES:
            facts += _observation(obx, coded, source, observed(obx.text(14), zone) or at)
    return ToldFacts(
        matter="observations", facts=tuple(facts[:_MOST_FACTS]), whole=False, withdrawn=tuple(dict.fromkeys(withdrawn))
    )


def _allergy(al1: Segment, source: str, zone: ZoneInfo | None) -> Fact | None:
    element = al1.first(3)
    words, coded = words_of(element), coded_of(element)
    if not words or element.is_null:
        return None
    none_known = coded in _NO_ALLERGY_CODES or words.lower().startswith(_NO_ALLERGY)
    reaction = "" if none_known else al1.text(5)
    return Fact(
        code="allergy",
        value=(f"{words}: {reaction}" if reaction else words)[:LONGEST_VALUE],
        source=source,
        coded=coded,
        standing=Standing.NO if none_known else Standing.YES,
        observed_at=observed(al1.text(6), zone),
    )


def _diagnosis(dg1: Segment, source: str, zone: ZoneInfo | None) -> Fact | None:
    element = dg1.first(3)
    words = element.text(2) or dg1.text(4) or words_of(element)
    if not words or element.is_null or dg1.text(21).upper() == "D":
        return None
    # DG1-6 (table 0052): admitting, working, final.
    code = "admitting_diagnosis" if dg1.text(6).upper() == "A" else "problem"
    at = observed(dg1.text(5), zone)
    return Fact(code=code, value=words[:LONGEST_VALUE], source=source, coded=coded_of(element), observed_at=at)


def _done(pr1: Segment, source: str, zone: ZoneInfo | None) -> Fact | None:
    element = pr1.first(3)
    words = element.text(2) or pr1.text(4) or words_of(element)
    if not words or element.is_null:
        return None
    at = observed(pr1.text(5), zone)
    return Fact(code="procedure", value=words[:LONGEST_VALUE], source=source, coded=coded_of(element), observed_at=at)


def _observation(obx: Segment, coded: str, source: str, at: str) -> Sequence[Fact]:
    """The value of an observation, and in words that it is out of range."""
    kind, element = obx.text(2).upper(), obx.first(5)
    name = words_of(obx.first(3))
    if element.is_null or not name:
        return ()
    topic = _TOPICS.get(coded, "observation")
    made: list[Fact] = []
    number = _number(kind, element)
    if number:
        made.append(Fact(code=topic, value=number, unit=obx.text(6)[:64], source=source, coded=coded, observed_at=at))
    elif text := _text(kind, element)[:LONGEST_VALUE]:
        standing = Standing.NO if topic == "pregnancy_status" and text.lower().startswith("not ") else Standing.YES
        value = text if topic != "observation" else f"{name}: {text}"[:LONGEST_VALUE]
        made.append(Fact(code=topic, value=value, source=source, coded=coded, observed_at=at, standing=standing))
    flags = [_FLAGS[flag] for each in obx.elements(8) if (flag := each.text(1).upper()) in _FLAGS]
    if made and flags:
        value = f"{name} {flags[0]}"[:LONGEST_VALUE]
        made.append(Fact(code="observation", value=value, source=source, coded=coded, observed_at=at))
    return made


def _text(kind: str, element: Element) -> str:
    """A value that is no number, in words; of a structured one as ">20" or "1:128" all of its parts."""
    if kind == "SN":
        return "".join(element.text(number) for number in (1, 2, 3, 4))
    return words_of(element) if kind in ("CE", "CWE", "CNE") else element.text(1)


def _number(kind: str, element: Element) -> str:
    """A plain number (NM), or of a structured one (SN) that compares or spans nothing; else empty."""
    text = element.text(1) if kind == "NM" else ""
    if kind == "SN" and element.text(1) in ("", "=") and not element.text(3):
        text = element.text(2)
    return text if _NUMBER.fullmatch(text) else ""
