"""Elements of FHIR resources (R4, Data Types), read with suspicion: what is not as it should be is not there."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any, TypeAlias

from node.domain.coding_systems import FROM_URI, coded

Json: TypeAlias = dict[str, Any]

#: Longest text that is kept, characters, and most elements of a list that are looked at.
_LONGEST_TEXT = 200
_MOST = 50
#: dateTime: a year, a month, a day, or a moment with its zone.
_DATE_TIME = re.compile(
    r"\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01])"
    r"(T([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d{1,9})?(Z|[+-]\d{2}:\d{2}))?)?)?",
    re.ASCII,
)
_DAY = 10
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")


def records(value: Any) -> list[Json]:
    """The objects of a list; an object alone counts as a list of one."""
    listed = value if isinstance(value, list) else [value]
    return [each for each in listed if isinstance(each, dict)]


def record(value: Any) -> Json:
    """An object; empty where there is none."""
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """A string on one line, without what does not print, shortened; empty where it is none."""
    if not isinstance(value, str):
        return ""
    shown = (" " if mark in "\r\n\t" else mark for mark in value[: 4 * _LONGEST_TEXT])
    kept = "".join(mark for mark in shown if unicodedata.category(mark)[0] != "C")
    return " ".join(kept.split())[:_LONGEST_TEXT]


def codes_of(value: Any) -> list[str]:
    """A code as a list of one; empty where it has not the form of a code."""
    return [value] if isinstance(value, str) and _CODE.fullmatch(value) else []


def code(value: Any) -> str:
    """A code; empty where it has not the form of one."""
    return next(iter(codes_of(value)), "")


def date_time(value: Any) -> str:
    """A date or dateTime as it is told; empty where it has not the form."""
    return value if isinstance(value, str) and _DATE_TIME.fullmatch(value) else ""


def day(value: str) -> str:
    """The day of a dateTime, or what of it is told."""
    return value[:_DAY]


def codings(concept: Any) -> list[Json]:
    """The codings of a CodeableConcept, most of them."""
    return records(record(concept).get("coding"))[:_MOST]


def is_coded_as(concept: Any, system: str, *codes: str) -> bool:
    """Whether a CodeableConcept has one of these codes of a system."""
    return any(each.get("system") == system and each.get("code") in codes for each in codings(concept))


def known_codes(concept: Any) -> list[str]:
    """Codes of a concept for `Fact.coded`: those of systems that we know, each once; what the user chose first."""
    chosen = sorted(codings(concept), key=lambda each: each.get("userSelected") is not True)
    found = (coded(FROM_URI.get(text(each.get("system"))), text(each.get("code"))) for each in chosen)
    return list(dict.fromkeys(each for each in found if each))


def words(concept: Any) -> str:
    """What a concept says in words: its text, else a display, else a code; empty where it says nothing."""
    own = text(record(concept).get("text"))
    displays = (text(each.get("display")) for each in codings(concept))
    codes = (text(each.get("code")) for each in codings(concept))
    return own or next(filter(None, displays), "") or next(filter(None, codes), "")


def status(resource: Json, system: str, element: str) -> str:
    """A status that is a CodeableConcept of one system, as clinicalStatus; empty where it is not told."""
    found = (each.get("code") for each in codings(resource.get(element)) if each.get("system") == system)
    return next((code for each in found for code in codes_of(each)), "")


def identifiers(value: Any) -> Iterator[tuple[str, str]]:
    """(system, value) of identifiers that are in use."""
    for each in records(value)[:_MOST]:
        system, number = each.get("system"), each.get("value")
        if isinstance(system, str) and isinstance(number, str) and each.get("use") != "old":
            yield system, number
