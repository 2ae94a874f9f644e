"""A process of ours that lives behind limits: it is asked through a pipe, and it is found out how it died."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from node.errors import Transient

#: Threads of a library that multiplies matrices would take memory and do nothing here; and what one object needed goes
#: back to the system, instead of counting against the next one.
_SPARING = ("env", "OPENBLAS_NUM_THREADS=1", "MALLOC_ARENA_MAX=1", "MALLOC_MMAP_THRESHOLD_=1048576")
#: The process ends itself after its limit; if it cannot, it is killed so much later.
_GRACE_S = 5.0
_START_S = 60.0
_PIPE_BYTES = 1 << 16


class LimitedProcess:
    """One process at a time, which answers lines with lines: started when it is first needed, anew after each death.

    command: what runs, which says the line `ready` first.
    limit_s: after how many seconds with one question it ends itself.
    what: its name in words.
    longest_bytes: what it may say without ending the line; `None` where it is believed.
    """

    def __init__(
        self, command: Sequence[str], ready: bytes, limit_s: float, what: str, longest_bytes: int | None = None
    ) -> None:
        self._command = (*_SPARING, *command)
        self._ready = ready
        self._limit_s = limit_s
        self._what = what
        self._longest_bytes = longest_bytes
        self._child: subprocess.Popen[bytes] | None = None
        self._unread = b""

    @property
    def pid(self) -> int:
        """The process id; 0 where none runs."""
        return self._child.pid if self._child is not None else 0

    def start(self) -> None:
        """Start it, unless it runs.

        Raises:
            Transient: it does not start.
        """
        if self._child is not None:
            return
        self._unread = b""
        self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        line = self._line(_START_S)
        if line != self._ready.rstrip():
            raise Transient(f"{self._what} does not start: {self.end(too_late=line is None)}")

    def tell(self, lines: bytes) -> None:
        """Start it, unless it runs, and ask it. A dead one is found out when its answer is missing.

        Raises:
            Transient: it does not start.
        """
        self.start()
        assert self._child is not None
        assert self._child.stdin is not None
        with suppress(BrokenPipeError):
            self._child.stdin.write(lines)
            self._child.stdin.flush()

    def answer(self) -> bytes | str:
        """Return its next line; as text how it ended, where there is none: then it has ended."""
        line = self._line(self._limit_s + _GRACE_S)
        return line or self.end(too_late=line is None)

    def end(self, *, too_late: bool = False) -> str:
        """End it, if it has not ended, and say how it went. `too_late`: it is killed, not waited for."""
        child, self._child = self._child, None
        if child is None:
            return ""
        assert child.stdin is not None
        assert child.stdout is not None
        with suppress(BrokenPipeError):
            child.stdin.close()
        child.stdout.close()
        if too_late:
            child.kill()
        try:
            code = child.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            code = child.wait()
        if too_late or code == -signal.SIGALRM:
            return f"took longer than {self._limit_s:g} s"
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def _line(self, patience_s: float) -> bytes | None:
        """One line; empty if it died, `None` if it said nothing for too long, or far too much."""
        assert self._child is not None
        assert self._child.stdout is not None
        descriptor = self._child.stdout.fileno()
        deadline_s = time.monotonic() + patience_s
        while b"\n" not in self._unread:
            ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline_s - time.monotonic()))
            if not ready or (self._longest_bytes is not None and len(self._unread) > self._longest_bytes):
                return None
            got = os.read(descriptor, _PIPE_BYTES)
            if not got:
                return b""
            self._unread += got
        line, _, self._unread = self._unread.partition(b"\n")
        return line
