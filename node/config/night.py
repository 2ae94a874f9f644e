"""[night]: what is done while nobody waits, and when the morning begins."""

from __future__ import annotations

import re
from datetime import time, tzinfo
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field

from node.config.retrieve import Hours, hours_of
from node.config.values import Section, TimeZone

_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def _time(text: str) -> str:
    if not _TIME.fullmatch(text):
        raise ValueError('a time of the day, as "06:00"')
    return text


class NightSettings(Section):
    """[night]: hours, by the site's clock, and how much is done in them."""

    #: Zone of the site's clock; empty for the machine's.
    timezone: TimeZone = ""
    #: When it is night: what may wait is done then; empty for the whole day.
    window: Hours = "22:00-06:00"
    #: When the list is ranked anew and the digest of the night is written.
    morning: Annotated[str, AfterValidator(_time)] = "06:00"
    #: Studies in the lane ROUTINE are read by night alone, unless somebody asks.
    defer_routine: bool = False
    #: Priors of unread studies that a night reads anew with today's models; 0 reads none.
    rerun_priors: Annotated[int, Field(ge=0, le=10_000)] = 50
    #: Studies of old that are fetched for `matins fetch --shadow` in an hour.
    backfill_per_hour: Annotated[int, Field(ge=1, le=10_000)] = 30
    #: They are fetched only while so much of the disk is free, percent.
    backfill_free_percent: Annotated[float, Field(ge=0, lt=100)] = 20.0
    #: Minutes after which a scheduled examination that has not come is told as never arrived.
    arrives_within_min: Annotated[int, Field(ge=1, le=10_080)] = 240
    #: Digests, and what was expected and when, are kept so long, days.
    keep_days: Annotated[int, Field(ge=7, le=3650)] = 400

    @property
    def zone(self) -> tzinfo | None:
        """`timezone` as Python has it; `None` is the machine's."""
        return ZoneInfo(self.timezone) if self.timezone else None

    @property
    def hours(self) -> tuple[time, time] | None:
        """`window` parsed: from, and until; `None` for the whole day."""
        return hours_of(self.window)

    @property
    def morning_at(self) -> time:
        """`morning` parsed."""
        return time.fromisoformat(self.morning)
