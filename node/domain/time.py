"""Instants that survive a clock step: wall time for people, boot time for intervals."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Instant:
    """One moment, read from both clocks at once."""

    #: Wall time, aware, UTC.
    wall: datetime
    #: Seconds of CLOCK_BOOTTIME: steady through clock steps and suspends, restarts at boot.
    boottime_s: float
    #: The boot to which `boottime_s` belongs.
    boot_id: str

    def __post_init__(self) -> None:
        if self.wall.utcoffset() is None:
            raise ValueError("wall time must be aware")

    @property
    def iso(self) -> str:
        """The wall time as ISO 8601 in UTC with microseconds: sorts as text."""
        return self.wall.astimezone(UTC).isoformat(timespec="microseconds")


def elapsed_s(earlier: Instant, later: Instant) -> float:
    """Seconds from `earlier` to `later`, never negative.

    Within one boot the steady clock decides. Over a reboot only wall time is left.
    """
    if earlier.boot_id == later.boot_id:
        return max(0.0, later.boottime_s - earlier.boottime_s)
    return max(0.0, (later.wall - earlier.wall).total_seconds())


class Clock(Protocol):
    """Where the time comes from; tests bring their own."""

    def now(self) -> Instant:
        """Return the present moment."""
        ...


class SystemClock:
    """The machine's clocks."""

    def __init__(self) -> None:
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()

    def now(self) -> Instant:
        """Return the present moment of this machine."""
        return Instant(datetime.now(UTC), time.clock_gettime(time.CLOCK_BOOTTIME), self._boot_id)
