"""Attribute matching (PS3.4 §C.2.2.2) of keys against what is held, both in the DICOM JSON Model.

Universal, single value, wildcard, range and sequence matching, and lists of UIDs; a key with several values is matched
by any of them. Date-times without an offset from UTC are compared as they stand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from node.domain.dicom_json import Attributes, element, items, texts

_RANGED = frozenset(("DA", "TM", "DT"))
_WITHOUT_WILDCARDS = _RANGED | {"UI", "SL", "SS", "SV", "UL", "US", "UV", "FL", "FD", "OB", "OW", "UN", "AT", "UR"}
_DATE_TIME = re.compile(r"(\d{4,14})(?:\.(\d{1,6}))?([+-]\d{4})?")
#: Of a range of date-times west of Greenwich; with more it is none.
_MOST_HYPHENS = 3
#: Offsets from UTC lie within these (PS3.5 §6.2).
_FIRST_OFFSET, _LAST_OFFSET = -1200, 1400
_DT_LOW, _DT_HIGH = "00000101000000000000", "99991231235959999999"
_TM_LOW, _TM_HIGH = "000000000000", "235959999999"


def matches(keys: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    """Whether everything that the keys ask for is so; a key without a value asks for nothing."""
    return all(_matches_one(tag, key, held) for tag, key in keys.items())


def told(keys: Mapping[str, Any], held: Mapping[str, Any]) -> Attributes:
    """What the keys ask to be told, in sequences too; empty where it is not known."""
    made: Attributes = {}
    for tag, key in keys.items():
        inner = items(keys, tag)
        if tag not in held:
            made[tag] = element(key["vr"])
        elif inner and inner[0]:
            made[tag] = element("SQ", *(told(inner[0], item) for item in items(held, tag)))
        else:
            made[tag] = held[tag]
    return made


def _matches_one(tag: str, key: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    vr = key["vr"]
    if vr == "SQ":
        inner = key.get("Value", ())
        return not inner or not inner[0] or matches(inner[0], {}) or any(
            matches(inner[0], item) for item in items(held, tag)
        )  # fmt: skip
    wanted = texts({tag: key}, tag)
    found = texts(held, tag)
    return not any(wanted) or any(_is_met(vr, each, found) for each in wanted)


def _is_met(vr: str, wanted: str, found: list[str]) -> bool:
    if vr in _RANGED:
        return any(_in_range(vr, wanted, value) for value in found)
    if vr == "PN":
        wanted, found = wanted.casefold(), [value.casefold() for value in found]
    if vr not in _WITHOUT_WILDCARDS and ("*" in wanted or "?" in wanted):
        if set(wanted) == {"*"}:
            return True
        return any(_globbed(wanted, value) or (vr == "PN" and _globbed(wanted, _padded(value))) for value in found)
    if vr == "PN":
        return wanted.rstrip("^ ") in [value.rstrip("^ ") for value in found]
    return wanted in found


def _globbed(pattern: str, value: str) -> bool:
    """Whether a value is as a pattern with `*` and `?` says, in a time that grows with the product of their lengths."""
    at = start = kept = 0
    star = -1
    while at < len(value):
        if start < len(pattern) and pattern[start] == "*":
            star, kept = start, at
            start += 1
        elif start < len(pattern) and pattern[start] in ("?", value[at]):
            start, at = start + 1, at + 1
        elif star >= 0:
            kept += 1
            start, at = star + 1, kept
        else:
            return False
    return not pattern[start:].strip("*")


def _padded(name: str) -> str:
    """A name whose missing components are empty ones: `DOE^J*^*` is also meant for `DOE^JANE`."""
    return name + "^" * (4 - name.count("^"))


def _in_range(vr: str, wanted: str, value: str) -> bool:
    bounds = _bounds(vr, wanted)
    if bounds is None:
        return wanted == value
    first, last = bounds
    own = _single(vr, value)
    if own is None:
        return False
    return (not first or _moment(vr, first, own)[0] <= _moment(vr, own, first)[0]) and (
        not last or _moment(vr, own, last)[0] <= _moment(vr, last, own)[1]
    )


_Parts = tuple[str, str]


@lru_cache(maxsize=256)
def _bounds(vr: str, wanted: str) -> tuple[_Parts | None, _Parts | None] | None:
    """First and last of a range, `None` where it is open; both the same for a single value."""
    single = _single(vr, wanted)
    if single is not None:
        return single, single
    if wanted.count("-") > _MOST_HYPHENS:
        return None
    for hyphen in (at for at, sign in enumerate(wanted) if sign == "-"):
        before, after = wanted[:hyphen].strip(), wanted[hyphen + 1 :].strip()
        first, last = (_single(vr, each) if each else None for each in (before, after))
        if (first or not before) and (last or not after) and (before or after):
            return first, last
    return None


def _single(vr: str, text: str) -> _Parts | None:
    """Digits and offset of one value; `None` where it is none."""
    plain = text.replace(":", "") if vr == "TM" else text.replace(".", "") if vr == "DA" else text
    if vr == "TM":
        found = re.fullmatch(r"(\d{2}|\d{4}|\d{6})(?:\.(\d{1,6}))?", plain)
        return (found[1] + (found[2] or ""), "") if found else None
    found = _DATE_TIME.fullmatch(plain)
    if not found or len(found[1]) % 2:
        return None
    offset = found[3] or ""
    if offset and (vr == "DA" or not _FIRST_OFFSET <= int(offset) <= _LAST_OFFSET):
        return None
    return found[1] + (found[2] or ""), offset


def _moment(vr: str, parts: _Parts, other: _Parts) -> tuple[str, str]:
    """Earliest and latest moment that is meant, as digits; in UTC where the other has an offset too."""
    digits, offset = parts
    low, high = (_TM_LOW, _TM_HIGH) if vr == "TM" else (_DT_LOW, _DT_HIGH)
    ends = (digits + low[len(digits) :], digits + high[len(digits) :])
    if not (offset and other[1]):
        return ends
    first, last = (_shifted(each, offset) for each in ends)
    return first, last


def _shifted(digits: str, offset: str) -> str:
    minutes = int(offset[1:3]) * 60 + int(offset[3:5])
    shift = timedelta(minutes=-minutes if offset[0] == "+" else minutes)
    try:
        moved = datetime.strptime(f"{digits}+0000", "%Y%m%d%H%M%S%f%z") + shift
    except (ValueError, OverflowError):
        return digits
    return moved.strftime("%Y%m%d%H%M%S%f")
