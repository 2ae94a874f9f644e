"""In which time zone an object speaks: one offset for every date in it (PS3.3 §C.12.1, (0008,0201))."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from pydicom import Dataset
from pydicom.valuerep import DA, TM

from node.report.evidence import Evidence

_OFFSET = re.compile(r"([+-])([01]\d)([0-5]\d)")
#: Timezone Offset From UTC (0008,0201) lies in this range (PS3.3 §C.12.1).
_FARTHEST = (timedelta(hours=-12), timedelta(hours=14))
#: Dates of the source that tell when the study was made, the best first.
_STUDY_TIMES = ("Study", "Series", "Acquisition", "Content")


def offset(evidence: Evidence) -> timezone | None:
    """The offset of all dates and times: the source's, else that of its configured zone when the study was made.

    It governs the study's own dates, which are copied as they are: so summer time counts as on that day, not as when
    the model was through. `None` where nobody says in which zone the scanner's clock runs.
    """
    said = named(evidence.source)
    if said is not None:
        return said
    if evidence.zone is None:
        return None
    made = _study_time(evidence.source) or evidence.finished_at.astimezone(evidence.zone).replace(tzinfo=None)
    at_site = made.replace(tzinfo=evidence.zone).utcoffset()
    return None if at_site is None else timezone(timedelta(minutes=round(at_site.total_seconds() / 60)))


def named(header: Dataset) -> timezone | None:
    """The offset that a header names (0008,0201); `None` where it names none, or none that there is."""
    parts = _OFFSET.fullmatch(str(header.get("TimezoneOffsetFromUTC", "")).strip())
    if parts is None:
        return None
    minutes = int(parts[2]) * 60 + int(parts[3])
    found = timedelta(minutes=minutes if parts[1] == "+" else -minutes)
    return timezone(found) if _FARTHEST[0] <= found <= _FARTHEST[1] else None


def moment(evidence: Evidence) -> datetime:
    """The finish time in the zone of all other dates of the object, else in the zone it was given in."""
    return evidence.finished_at.astimezone(offset(evidence) or evidence.finished_at.tzinfo)


def written(zone: timezone) -> str:
    """The offset as a value of (0008,0201): &ZZXX."""
    return f"{datetime(2000, 1, 1, tzinfo=zone):%z}"


def _study_time(source: Dataset) -> datetime | None:
    """When the study was made, on the clock of the scanner; noon where it names the day alone."""
    for which in _STUDY_TIMES:
        day = str(source.get(f"{which}Date") or "")
        if not day:
            continue
        try:
            return datetime.combine(DA(day), TM(source.get(f"{which}Time") or "120000").replace(tzinfo=None))
        except (ValueError, TypeError):
            continue
    return None
