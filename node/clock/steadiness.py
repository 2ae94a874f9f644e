"""The machine's wall clock may be set; APScheduler, which goes by it, is told when it was."""

from __future__ import annotations

import structlog
from apscheduler.schedulers.base import BaseScheduler

from node.domain.time import Clock, Instant

#: A clock that is kept by small corrections moves less than this between two looks, seconds.
_STEP_S = 1.0

log = structlog.get_logger()


class Steadiness:
    """Compares wall and boot time from one look to the next."""

    def __init__(self, scheduler: BaseScheduler, clock: Clock) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._ahead_s = _ahead_s(clock.now())

    def look(self) -> bool:
        """Have every beat come now where the wall clock was set since the last look; whether it was.

        A clock that is set back would else keep all beats waiting until it shows the old time again.
        """
        now = self._clock.now()
        before_s, self._ahead_s = self._ahead_s, _ahead_s(now)
        step_s = self._ahead_s - before_s
        if abs(step_s) < _STEP_S:
            return False
        log.warning("clock_was_set", step_s=round(step_s, 1))
        for job in self._scheduler.get_jobs():
            job.modify(next_run_time=now.wall)
        return True


def _ahead_s(now: Instant) -> float:
    return now.wall.timestamp() - now.boottime_s
