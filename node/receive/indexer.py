"""The indexer: a thread that writes the rows of durable objects in batches, after their senders have been answered.

What is acknowledged is never dropped here: the thread tries until it succeeds, and if the process dies first, the next
start reads the journal from the checkpoint on. So that nothing piles up without end, nobody is let in with more objects
while the index is far behind.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import islice

import structlog

from node.domain.time import Instant
from node.errors import Transient
from node.loop import guarded
from node.receive.indexing import index
from node.store.arrivals import Arrival
from node.store.checkpoint import Checkpoint
from node.store.database import Database
from node.store.journal import Place
from node.store.spool import Spool

#: Rows of one transaction, and how long the first of them waits for the others.
_BATCH = 256
_LINGER_S = 0.02
#: Objects that may wait for their rows, and how long the oldest may.
_MOST_WAITING = 4096
_LONGEST_S = 30.0
#: How long somebody who brings more is made to wait before he is told to come later.
_PATIENCE_S = 5.0
_BACKOFF_S = 0.05
_BACKOFF_MAXIMUM_S = 2.0

Durable = tuple[Place, tuple[Instant, Arrival]]

log = structlog.get_logger()


class Indexer:
    """The thread and what waits for it. `open_database` is called in the thread: it has a connection of its own."""

    def __init__(
        self,
        open_database: Callable[[], Database],
        spool: Spool,
        around: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`around` is entered by the thread for as long as it lives."""
        self._open_database = open_database
        self._spool = spool
        self._around = around
        self._changed = threading.Condition()
        self._waiting: deque[tuple[float, Place, Instant, Arrival]] = deque()
        self._indexed = 0
        self._db: Database | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="indexer", daemon=True)
        self._thread.start()

    def put(self, durable: Sequence[Durable]) -> None:
        """Take objects that are durable, in the order of the journal."""
        now_s = time.monotonic()
        with self._changed:
            idle = not self._waiting
            for place, (now, arrival) in durable:
                self._waiting.append((now_s, place, now, arrival))
            if idle or len(self._waiting) >= _BATCH:
                self._changed.notify_all()

    def admit(self) -> None:
        """Wait a moment if the index is far behind.

        Raises:
            Transient: it still is.
        """
        if not self._is_behind():
            return
        with self._changed:
            if not self._changed.wait_for(lambda: not self._is_behind(), _PATIENCE_S):
                raise Transient(f"the index is {len(self._waiting)} objects behind")

    def settle(self, limit_s: float) -> bool:
        """Wait until everything durable is indexed; `False` if it is not after `limit_s` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting, limit_s)

    def close(self, limit_s: float) -> bool:
        """Index what waits, then end the thread; `False` if something is left for the next start."""
        settled = self.settle(limit_s if self._thread.is_alive() else 0.0)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(limit_s)
        return settled

    def _is_behind(self) -> bool:
        waiting = self._waiting
        if len(waiting) >= _MOST_WAITING:
            return True
        try:
            return time.monotonic() - waiting[0][0] > _LONGEST_S
        except IndexError:
            return False

    def _run(self) -> None:
        with self._around():
            self._index_all()

    def _index_all(self) -> None:
        # Whatever goes wrong is told in the log and tried again: these objects are acknowledged.
        attempt = guarded(self._index)
        backoff_s = _BACKOFF_S
        while self._await_batch():
            before = self._indexed
            attempt()
            if self._indexed > before:
                backoff_s = _BACKOFF_S
                continue
            with self._changed:
                self._changed.wait_for(lambda: self._closing, backoff_s)
            backoff_s = min(_BACKOFF_MAXIMUM_S, 2 * backoff_s)
        if self._db is not None:
            self._db.close()

    def _await_batch(self) -> bool:
        """Wait until there is something to be indexed, and a moment for more; `False` at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            self._changed.wait_for(lambda: len(self._waiting) >= _BATCH or self._closing, _LINGER_S)
            return not self._closing

    def _index(self) -> None:
        if self._db is None:
            self._db = self._open_database()
        with self._changed:
            batch = list(islice(self._waiting, _BATCH))
        entries = [(now, _placed(arrival, place)) for _, place, now, arrival in batch]
        last = batch[-1][1]
        index(self._db, self._spool, entries, Checkpoint(last.use, last.end))
        with self._changed:
            for _ in batch:
                self._waiting.popleft()
            self._indexed += len(batch)
            self._changed.notify_all()


def _placed(arrival: Arrival, place: Place) -> Arrival:
    return arrival if arrival.path else replace(arrival, path=place.path)
