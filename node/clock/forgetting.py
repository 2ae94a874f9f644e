"""Forgets rows on which nothing rests any more, now and then, a few at a time."""

from __future__ import annotations

from datetime import UTC, timedelta

from node.config import Settings
from node.domain.time import Clock, Instant, elapsed_s
from node.store.database import Database
from node.store.forgetting import forget

#: After everything old is forgotten, so long nothing is looked for.
_AGAIN_S = 3600.0
#: Rows of one kind in one transaction, and transactions in one beat.
_MOST_ROWS, _MOST_TURNS = 200, 20


class Forgetting:
    """Does what is due."""

    def __init__(self, db: Database, clock: Clock, settings: Settings) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._done: Instant | None = None

    def step(self) -> int:
        """Forget what is older than [data] forget_days; return how many rows.

        Raises:
            Transient: the database is busy.
        """
        now, days = self._clock.now(), self._settings.data.forget_days
        if not days or (self._done is not None and elapsed_s(self._done, now) < _AGAIN_S):
            return 0
        before = (now.wall.astimezone(UTC) - timedelta(days=days)).isoformat(timespec="microseconds")
        forgotten = 0
        for _ in range(_MOST_TURNS):
            gone = forget(self._db, before, limit=_MOST_ROWS)
            if not gone:
                self._done = now
                break
            forgotten += gone
        return forgotten
