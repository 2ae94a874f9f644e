"""What the night and the morning bring, a beat at a time, on a thread and a connection of its own."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from node.domain.time import Clock
from node.store.database import Database
from node.workflow import backfilling, nightly
from node.workflow.policy import Policy

log = structlog.get_logger()


class Nights:
    """Looks what is due by the site's clock; the tables know what was done."""

    def __init__(self, db: Database, clock: Clock, policy: Callable[[], Policy]) -> None:
        self._db = db
        self._clock = clock
        self._policy = policy

    def step(self) -> None:
        """Do what is due, and let studies of old come as far as they may.

        Raises:
            Transient: the database is busy.
        """
        for each in nightly.run_due(self._db, self._clock.now, self._policy()):
            late_s = (self._clock.now().wall - each.due_at).total_seconds()
            log.info("nightly_task_done", task=each.task.value, day=each.day.isoformat(), late_s=round(late_s))
        moved = backfilling.step(self._db, self._clock.now(), self._policy())
        if moved:
            log.info("backfill_goes_on", studies=moved)
