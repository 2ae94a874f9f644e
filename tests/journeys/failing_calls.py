"""Calls on the disk of a listen room fail, one here, one there, while it is sent to: is every answer true?"""

from __future__ import annotations

import hashlib
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.journeys.door_storm import Losses, losses_of
from tests.receive.objects import encoded, mr_slice
from tests.receive.peer import bare
from tests.receive.test_listener import Room

ERRORS = ("EIO", "ENOSPC")
CALLS = "pwritev,pwritev2,pwrite64,fdatasync,fsync,link,linkat,unlink,unlinkat,rename"
#: After the first that fails, each so-many-th fails too.
STEP = 5
#: Out of resources, cannot be processed (PS3.4 Table B.2-1, PS3.7 Annex C).
REFUSALS = frozenset({0xA700, 0x0110})
#: Written through the page cache, past it, and in a file of its own.
_SMALL, _MIDDLE, _LARGE = (64, 64), (400, 400), (1000, 800)
_JOURNAL = "[receive]\njournal_ready_bytes = 67108864\n"
_UID = "1.2.826.9.100000000"
_FAILED = re.compile(r"^\d+ +(?:<\.\.\. )?(\w+).*\(INJECTED\)$", re.MULTILINE)


@dataclass
class Turn:
    """What came of the failing of every `number`-th call and each fifth after it."""

    error: str
    number: int
    #: UID → status of the answer.
    statuses: dict[str, int] = field(default_factory=dict)
    #: How often an association ended instead of an answer.
    unanswered: int = 0
    #: Call → how often it was made to fail.
    failed: Counter[str] = field(default_factory=Counter)
    #: Seconds of a good peer's association and C-ECHO while calls fail.
    echo_s: float = 0.0

    @property
    def refused(self) -> int:
        """Objects that were answered with a refusal."""
        return sum(1 for status in self.statuses.values() if status)

    @property
    def others(self) -> set[int]:
        """Statuses that tell neither of success nor of a disk that fails."""
        return set(self.statuses.values()) - {0x0000} - REFUSALS


class FailingCalls:
    """A listen room of which calls are made to fail by strace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.room = Room(folder)
        with (folder / "config.toml").open("a", encoding="ascii") as config:
            config.write(_JOURNAL)
        self._contents = {shape: _content(*shape) for shape in (_SMALL, _MIDDLE, _LARGE)}
        #: UID → SHA-256 of the data set that was acknowledged.
        self._acknowledged: dict[str, str] = {}
        self._sent = 0

    def turn(self, error: str, number: int, count: int) -> Turn:
        """Send `count` objects while calls fail.

        Raises:
            AssertionError: the room died.
        """
        turn = Turn(error, number)
        with self._failing(turn):
            self._send(turn, count)
            began_s = time.monotonic()
            peer = bare(self.room.port)
            assert peer.echo() == 0x0000
            turn.echo_s = time.monotonic() - began_s
            peer.close()
        assert self.room.process is not None
        assert self.room.process.poll() is None, "the room died"
        return turn

    def untouched(self, count: int) -> Turn:
        """Send `count` objects with no call failing."""
        turn = Turn("", 0)
        self._send(turn, count)
        return turn

    def losses(self) -> Losses:
        """kill -9, start again, and look for everything that was acknowledged."""
        self.room.end(signal.SIGKILL)
        self.room.start()
        self.room.end()
        return losses_of(self._folder, self._acknowledged)

    def close(self) -> None:
        """End the room, whatever it does."""
        if self.room.process is not None and self.room.process.poll() is None:
            self.room.end(signal.SIGKILL)
        self.room.notices.close()

    @contextmanager
    def _failing(self, turn: Turn) -> Iterator[None]:
        """In each thread, the `number`-th call of each kind and each fifth after it fails."""
        inject = f"inject={CALLS}:error={turn.error}:when={turn.number}+{STEP}"
        told = self._folder / "strace"
        command = ["strace", "-f", "-e", f"trace={CALLS}", "-e", inject, "-o", str(told), "-p", str(self.room.pid)]
        tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
        assert tracer.stderr is not None
        try:
            tracer.stderr.readline()  # "Process … attached"
            yield
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(20)
            tracer.stderr.close()
        turn.failed.update(_FAILED.findall(told.read_text()))

    def _send(self, turn: Turn, count: int) -> None:
        """Objects of both sizes, over one association as long as it lasts."""
        peer = bare(self.room.port)
        for at in range(count):
            self._sent += 1
            uid = f"1.2.826.9.{100_000_000 + self._sent}"
            content = self._contents[_shape(at)].replace(_UID.encode(), uid.encode())
            try:
                status, _ = peer.store(content, sop_instance=uid)
            except (AssertionError, OSError):
                turn.unanswered += 1
                peer.close()
                peer = bare(self.room.port)
                continue
            turn.statuses[uid] = status
            if status == 0x0000:
                self._acknowledged[uid] = hashlib.sha256(content).hexdigest()
        peer.release()
        peer.close()


def _shape(at: int) -> tuple[int, int]:
    """One in four is too large for the journal, fewer once there were some; one in four is written as it lies."""
    if at % 4 == 1:
        return _MIDDLE
    return _LARGE if at % (4 if at < 12 else 24) == 3 else _SMALL


def _content(rows: int, columns: int) -> bytes:
    pixels = np.random.default_rng(rows).integers(0, 4096, (rows, columns), dtype=np.int16).tobytes()
    return encoded(mr_slice(SOPInstanceUID=_UID, Rows=rows, Columns=columns, PixelData=pixels))
