"""How values read on a page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def ago(iso: str, now: datetime) -> str:
    """How long before `now` a moment was, in the coarsest unit that still tells: "4 min", "7 h", "3 d"."""
    if not iso:
        return ""
    seconds = max(0, int((now - datetime.fromisoformat(iso)).total_seconds()))
    if seconds < _MINUTE_S:
        return f"{seconds} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds // _MINUTE_S} min"
    if seconds < 2 * _DAY_S:
        return f"{seconds // _HOUR_S} h"
    return f"{seconds // _DAY_S} d"


def clock(iso: str) -> str:
    """A moment of the store as "2026-01-31 04:15:02", in the node's local time."""
    return datetime.fromisoformat(iso).astimezone().strftime("%Y-%m-%d %H:%M:%S") if iso else ""


def dicom_date(text: str) -> str:
    """A DA value (PS3.5 §6.2) as 2026-01-31; anything else as it is."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text


def person_name(text: str) -> str:
    """A PN value (PS3.5 §6.2.1) as it is spoken of: "Doe, Jane"; the first component group that says anything."""
    group = next((part for part in text.split("=") if part.strip("^ ")), "")
    family, _, rest = group.partition("^")
    given = " ".join(part for part in rest.split("^") if part)
    return ", ".join(part for part in (family.strip(), given.strip()) if part)


def points(value: float) -> str:
    """Points of a score, without needless decimals; nothing for a reason that only names a lane."""
    return f"{value:+g}" if value else ""


def telling(events: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    """Events without the three ordinary moves of each instance's description."""
    return [
        event
        for event in events
        if not (event["subject"].startswith("describe:") and event["after"] in {"ready", "claimed", "finished"})
    ]


def number(value: float) -> str:
    """A measured value with as many decimals as say something."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.2g}"


def words(state: str) -> str:
    """A state as words."""
    return state.replace("_", " ")


def end_of(uid: str) -> str:
    """The last twelve characters of a UID, where only its difference from others matters."""
    return uid if len(uid) <= 14 else f"…{uid[-12:]}"


FILTERS: dict[str, Callable[..., Any]] = {
    "ago": ago,
    "clock": clock,
    "dicom_date": dicom_date,
    "person_name": person_name,
    "points": points,
    "number": number,
    "telling": telling,
    "words": words,
    "end_of": end_of,
}
