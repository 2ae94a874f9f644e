"""Nights by a site's clock: when one begins, whether it is night now, and what comes next; daylight saving included.

A night is an uninterrupted stretch of time and is named by the local day on which it begins. A time of the day that a
change to summer time leaves out is taken to be the first moment after it; one that comes twice is its first coming. So
every local day has one night and one morning, whatever its clock does. A day that a country leaves out has neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

_DAY = timedelta(days=1)
#: Clocks are turned by an hour or two, or across the date line by a day: what was left out ends within this.
_LONGEST_GAP = timedelta(hours=30)
#: From UTC and back the day of a moment is within two of its neighbours.
_NEAR = (2, 1, 0, -1, -2, -3)
MIDNIGHT = time()

#: From, and until, by the site's clock; `None` is the whole day.
Window = tuple[time, time] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """One night; moments are UTC."""

    #: The local day on which it begins, and the one on which it ends.
    day: date
    last_day: date
    begins_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NightHour:
    """How a moment stands to the nights around it."""

    #: The night that is, or else the last one.
    night: Night
    inside: bool
    #: When that changes, UTC: the end of this night, or the beginning of the next.
    boundary_at: datetime


def hour_of(moment: datetime, window: Window, zone: tzinfo | None) -> NightHour:
    """Say whether a moment (aware) is in a night, in which, and until when; `zone` `None` is the machine's."""
    night = next(
        each for day in _days_near(moment, zone) if (each := night_of(day, window, zone)) and _has(each, moment)
    )
    inside = moment < night.ends_at
    return NightHour(night=night, inside=inside, boundary_at=night.ends_at if inside else _next(night, window, zone))


def night_of(day: date, window: Window, zone: tzinfo | None) -> Night | None:
    """The night that begins on a local day; `None` where that day does not exist."""
    first, last = window or (MIDNIGHT, MIDNIGHT)
    begins_at = moment_of(day, first, zone)
    if begins_at is None:
        return None
    last_day = day if first < last else day + _DAY
    while (ends_at := moment_of(last_day, last, zone)) is None:
        last_day += _DAY
    return Night(day=day, last_day=last_day, begins_at=begins_at, ends_at=max(begins_at, ends_at))


def latest(moment: datetime, at: time, zone: tzinfo | None) -> tuple[date, datetime]:
    """The last local day on which that time of the day has come by now, and when it came, UTC."""
    return next(
        (day, came)
        for day in _days_near(moment, zone)
        if (came := moment_of(day, at, zone)) is not None and came <= moment
    )


def following(moment: datetime, at: time, zone: tzinfo | None) -> tuple[date, datetime]:
    """The first local day on which that time of the day is still to come, and when it comes, UTC."""
    return next(
        (day, comes)
        for day in reversed(_days_near(moment, zone))
        if (comes := moment_of(day, at, zone)) is not None and comes > moment
    )


def moment_of(day: date, at: time, zone: tzinfo | None) -> datetime | None:
    """When a clock shows a time of a local day for the first time, or would have; `None` where there is no such day."""
    wanted = datetime.combine(day, at)
    found = wanted.replace(tzinfo=zone).astimezone(UTC)
    if _local(found, zone) == wanted:
        return found
    found = _end_of_gap(wanted, found, zone)
    return found if _local(found, zone).date() == day else None


def _end_of_gap(wanted: datetime, near: datetime, zone: tzinfo | None) -> datetime:
    """The first moment whose local time is not before what a change of the clock has left out."""
    early, late = near - _LONGEST_GAP, near + _LONGEST_GAP
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) / 2
        if _local(middle, zone) < wanted:
            early = middle
        else:
            late = middle
    # Clocks are turned at a whole second of UTC.
    return late.replace(microsecond=0)


def _next(night: Night, window: Window, zone: tzinfo | None) -> datetime:
    day = night.day + _DAY
    while (following_night := night_of(day, window, zone)) is None:
        day += _DAY
    return following_night.begins_at


def _has(night: Night, moment: datetime) -> bool:
    return night.begins_at <= moment


def _days_near(moment: datetime, zone: tzinfo | None) -> list[date]:
    """Local days around a moment, the latest first."""
    today = _local(moment, zone).date()
    return [today + timedelta(days=step) for step in _NEAR]


def _local(moment: datetime, zone: tzinfo | None) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)
