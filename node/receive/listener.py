"""The listen room: opens every intake, keeps a describing process at work below it, and drains when asked to stop."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress

import structlog

from node.config import Settings
from node.domain.time import SystemClock
from node.loop import Herald, guarded, stop_on_signals
from node.receive.arrival import has_room
from node.receive.gathering import Gathering
from node.receive.intakes import Running, intakes
from node.receive.keeper import Keeper
from node.receive.recover import reconcile
from node.receive.recycler import Recycler
from node.receive.rush import MARK, Meter
from node.store.database import open_database
from node.store.occupancy import LISTEN_LOCK, occupied
from node.store.segments import SEGMENT_BYTES
from node.store.spool import Spool

_POLL_S = 0.25
_DRAIN_S = 20.0
#: The describing process is started again after so long; doubles with each death in a row.
_BACKOFF_S = 0.5
_BACKOFF_MAXIMUM_S = 30.0
#: A process that lived so long has recovered.
_RECOVERED_S = 30.0

log = structlog.get_logger()


class Describing:
    """The describing process, started again whenever it dies."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = 0.0
        self._due_s = 0.0
        self._deaths = 0

    def look_after(self) -> None:
        """Start it if it does not run and its time has come; note its death."""
        now_s = time.monotonic()
        if self._process is None:
            if now_s >= self._due_s:
                self._start(now_s)
        elif self._process.poll() is not None:
            if now_s - self._started_s > _RECOVERED_S:
                self._deaths = 0
            wait_s = min(_BACKOFF_MAXIMUM_S, _BACKOFF_S * 2.0 ** min(self._deaths, 10))
            log.error("describing_died", exit_code=self._process.returncode, again_in_s=wait_s)
            self._close()
            self._deaths += 1
            self._due_s = now_s + wait_s

    def stand_back(self) -> None:
        """There is a rush at the door: let describing wait for a moment."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                os.write(self._process.stdin.fileno(), MARK)

    def stop(self, patience_s: float) -> None:
        """End it, if need be by force."""
        process = self._process
        if process is None:
            return
        self._close()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self, now_s: float) -> None:
        # It speaks to the listener alone: whoever started the room hears from the room.
        command = ("env", "-u", "NOTIFY_SOCKET", sys.executable, "-m", "node.receive.describe")
        self._started_s = now_s
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):
            self._process.stdin.write(self._settings.model_dump_json().encode() + b"\n")
            self._process.stdin.flush()

    def _close(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process = None


def main(settings: Settings, *, sync: bool = True) -> int:
    """Receive until SIGTERM. `sync=False` leaves out every sync: a benchmark's, never a site's.

    Raises:
        Misconfigured: the data folder cannot be written, another process has its journal, or the port is taken.
        Transient: the database stayed busy while the index was compared with the spool.
    """
    with occupied(settings.data.folder, LISTEN_LOCK):
        return _receive(settings, sync=sync)


def _receive(settings: Settings, *, sync: bool) -> int:
    herald, stop, clock = Herald(), stop_on_signals(), SystemClock()
    # Rows need no sync: what a power cut takes is indexed again below, before anybody is let in.
    db = open_database(settings.data.folder, "listen", sync_commits=False)
    spool = Spool(settings.data.folder)
    spool.sweep()
    counts = reconcile(db, spool, settings, lambda _done, _all: herald.alive(), clock=clock)
    log.info("spool_compared", objects=counts.objects, indexed=counts.indexed, unreadable=len(counts.unreadable))
    for lost in counts.unreadable:
        log.error("object_unreadable", path=lost.path, reason=lost.reason)
    gathering = Gathering(on=settings.receive.one_processor)
    keeper = Keeper(
        db,
        spool,
        clock,
        inflated_maximum_bytes=settings.receive.deflated_maximum_bytes,
        sync=sync,
        gathering=gathering,
    )
    ready = settings.receive.journal_ready_bytes // SEGMENT_BYTES

    def taken() -> tuple[int, int]:
        return keeper.objects, keeper.octets

    recycler = Recycler(
        keeper.open(),
        lambda: open_database(settings.data.folder, "listen"),
        spares=ready,
        has_room=lambda: has_room(settings.data.folder, settings.data.minimum_free_percent),
        is_rush=Meter(taken).is_rush,
    )
    started = (intake.start(settings, keeper) for intake in intakes())
    open_intakes: list[Running] = [running for running in started if running is not None]
    herald.ready(f"receives as {', '.join(each.where for each in open_intakes)}")
    describing = Describing(settings)
    describing.look_after()
    meter = Meter(taken)
    # What only makes the room faster never ends it.
    look_after_threads = guarded(gathering.look)
    while not stop.wait(_POLL_S):
        describing.look_after()
        look_after_threads()
        if meter.is_rush():
            describing.stand_back()
        if all(each.is_alive() for each in open_intakes):
            herald.alive()
    herald.stopping()
    for each in open_intakes:
        each.stop(_DRAIN_S)
    keeper.close()
    recycler.close()
    describing.stop(_BACKOFF_S * 10)
    db.close()
    return 0
