"""The recycler: a thread that gives drained segments of the journal back, and keeps some ready ahead of need."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from node.errors import Transient
from node.loop import guarded
from node.receive.rush import LONGEST_S
from node.store import checkpoint
from node.store.database import Database
from node.store.segments import SPARES, Segments

_PERIOD_S = 0.5


class Recycler:
    """The thread. `open_database` is called in it, and gives a connection that syncs its commits."""

    def __init__(
        self,
        segments: Segments,
        open_database: Callable[[], Database],
        *,
        spares: int = SPARES,
        has_room: Callable[[], bool] = lambda: True,
        is_rush: Callable[[], bool] = lambda: False,
    ) -> None:
        """Keep `spares` segments ready while the disk has room, and nothing better to do."""
        self._segments = segments
        self._open_database = open_database
        self._spares = spares
        self._has_room = has_room
        self._is_rush = is_rush
        self._prepared_s = time.monotonic()
        self._begun = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recycler", daemon=True)
        self._thread.start()

    def close(self, limit_s: float = 10.0) -> None:
        """End the thread."""
        self._closing.set()
        self._thread.join(limit_s)

    def _run(self) -> None:
        db: list[Database] = []
        attempt = guarded(lambda: self._step(db))
        while not self._closing.is_set():
            attempt()
            self._closing.wait(_PERIOD_S)
        for each in db:
            each.close()

    def _step(self, db: list[Database]) -> None:
        if self._segments.sealed():
            if not db:
                db.append(self._open_database())
            free_drained(db[0], self._segments, most_spares=max(self._spares, SPARES))
        try:
            while not self._is_busy() and self._wants_a_spare():
                self._segments.prepare()
                self._prepared_s = time.monotonic()
        except OSError as error:
            raise Transient(f"no segment can be made ready: {error.strerror or error}") from error

    def _is_busy(self) -> bool:
        """Whether segments were begun since this was last asked, or more came than leaves the disk to us."""
        begun, self._begun = self._begun, self._segments.begun
        is_rush = self._is_rush()
        if self._segments.spares() < SPARES and time.monotonic() - self._prepared_s > LONGEST_S:
            # In a rush that lasts it has its turn, as describing has.
            is_rush = False
        return is_rush or self._begun > begun

    def _wants_a_spare(self) -> bool:
        if self._closing.is_set() or self._segments.spares() >= self._spares:
            return False
        return self._has_room() and self._segments.has_room_for_spares()


def free_drained(db: Database, segments: Segments, *, most_spares: int = SPARES) -> int:
    """Free the segments of which every record is indexed and no instance lies in any more; return how many.

    Up to `most_spares` stay as spares; the others are given back to the file system.

    What says so is made durable first: `db` syncs its commits, and one commit makes all before it durable.

    Raises:
        Transient: the database is busy, or a disk is failing.
    """
    reached = checkpoint.read(db)
    if reached is None:
        return 0
    drained = [
        number for number in segments.sealed() if number <= reached.use.number and not checkpoint.is_needed(db, number)
    ]
    following = reached
    if reached.use.number in drained:
        # It may go with the others if it is read to its end: the checkpoint then stands in front of the next one.
        if segments.has_records(reached.use, reached.offset):
            drained.remove(reached.use.number)
        else:
            following = checkpoint.before(reached.use.number + 1)
    if not drained:
        return 0
    with db.transaction():
        if checkpoint.read(db) != reached:
            return 0
        checkpoint.write(db, following.use, following.offset)
    try:
        for number in drained:
            segments.free(number, most_spares=most_spares)
    except OSError as error:
        raise Transient(f"a segment cannot be freed: {error.strerror or error}") from error
    return len(drained)
