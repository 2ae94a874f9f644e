"""Whether it is night by the site's clock, and until when."""

from __future__ import annotations

from node.config import Settings
from node.domain.time import Instant
from node.triage.nights import NightHour, hour_of


def hour(now: Instant, settings: Settings) -> NightHour:
    """How now stands to the nights of [night] `window`."""
    return hour_of(now.wall, settings.night.hours, settings.night.zone)


def is_night(now: Instant, settings: Settings) -> bool:
    """Whether what may wait for the night is done now."""
    return hour(now, settings).inside


def until_night_s(now: Instant, settings: Settings) -> float:
    """Seconds until the next night begins; 0 in one."""
    found = hour(now, settings)
    return 0.0 if found.inside else (found.boundary_at - now.wall).total_seconds()
