"""Dates and times of HL7 v2 (data types DT, DTM, TS): as much of them as was told, in the sender's zone."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_TIME = re.compile(
    r"(?P<year>\d{4})(?:(?P<month>\d\d)(?:(?P<day>\d\d)(?:(?P<hour>\d\d)(?:(?P<minute>\d\d)"
    r"(?:(?P<second>\d\d)(?:\.\d{1,6})?)?)?)?)?)?(?P<offset>[+-]\d{4})?"
)
_LARGEST_OFFSET_MINUTES = 14 * 60


def observed(text: str, zone: tzinfo | None) -> str:
    """Return a time as ISO 8601: a date where no more was told, else with its offset from UTC; "" where it is none.

    `zone`: the sender's, `None` for the node's own; counts where the time names no offset.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None or not found["day"]:
        return _date(found["year"], found["month"] or "01", "01")[: 7 if found["month"] else 4] if found else ""
    if not found["hour"]:
        return _date(found["year"], found["month"], found["day"])
    moment = _moment(found, zone)
    return moment.isoformat(timespec="seconds") if moment else ""


def said_at(text: str, zone: tzinfo | None) -> str:
    """Return when a message was made, as ISO 8601 in UTC; "" where that is not told, or means two moments.

    In the hour that a clock shows twice in autumn, a time without an offset does.
    """
    found = _TIME.fullmatch(text.strip())
    if found is None or not found["minute"]:
        return ""
    moment = _moment(found, zone)
    if moment is None or (not found["offset"] and moment.utcoffset() != moment.replace(fold=1).utcoffset()):
        return ""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def day(text: str) -> str:
    """Return the day of a date or time as DICOM writes it, YYYYMMDD; "" where it is none."""
    found = _TIME.fullmatch(text.strip())
    return _date(found["year"], found["month"], found["day"]).replace("-", "") if found and found["day"] else ""


def _date(year: str, month: str, day_of_month: str) -> str:
    try:
        return datetime(int(year), int(month), int(day_of_month), tzinfo=UTC).date().isoformat()
    except ValueError:
        return ""


def _moment(found: re.Match[str], zone: tzinfo | None) -> datetime | None:
    numbers = [int(found[part] or 0) for part in ("year", "month", "day", "hour", "minute", "second")]
    offset = found["offset"]
    try:
        if offset:
            minutes = int(offset[1:3]) * 60 + int(offset[3:])
            if minutes > _LARGEST_OFFSET_MINUTES:
                return None
            return datetime(*numbers, tzinfo=timezone(timedelta(minutes=minutes if offset[0] == "+" else -minutes)))  # type: ignore[arg-type, misc]
        naive = datetime(*numbers)  # type: ignore[arg-type]  # noqa: DTZ001  a zone follows
        return naive.replace(tzinfo=zone) if zone is not None else naive.astimezone()
    except (ValueError, OverflowError):
        return None
