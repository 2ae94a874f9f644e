"""Between the room and the child of a destination: what the child is told, and how it shows that it is alive.

The room writes one line, the errand, and keeps the pipe open as long as it lives. The child writes one number
a line, the seconds until its next sign of life at the latest. What may take long (a peer that does not answer)
is announced before it starts, so that silence always means that it hangs.
"""

from __future__ import annotations

import os
import time

from pydantic import BaseModel

from node.config import Settings
from node.loop import Herald

#: While it waits for rows. Longer than a busy database and the loop's own back-off together.
IDLE_S = 60.0
#: Added to what an announced wait may take.
MARGIN_S = 15.0
_BEAT_S = 1.0


class Errand(BaseModel):
    """What a child is told when it starts."""

    #: Name of the peer.
    destination: str
    settings: Settings


def owner_of(pid: int) -> str:
    """The lease owner of a child; the last colon keeps 12 from being a prefix of 123."""
    return f"deliver:{pid}:"


def receive_errand() -> Errand:
    """Read the first line of standard input."""
    # Not sys.stdin: its lock, held by a daemon thread, would break the interpreter's own end.
    line = bytearray()
    while not line.endswith(b"\n") and (chunk := os.read(0, 65536)):
        line += chunk
    return Errand.model_validate_json(bytes(line))


def end_with_the_room() -> None:
    """Wait for the end of standard input and end at once: the room is gone, nobody would end us when we hang.

    What is on its way at that moment is sent again later, byte for byte.
    """
    while os.read(0, 1):
        pass
    os._exit(1)


class Pulse(Herald):
    """The child's end; takes the place of the room's herald in its loop."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._next_s = 0.0

    def ready(self, status: str) -> None:  # noqa: ARG002 - the child speaks to the room alone
        """The child works from now on."""
        self.quiet_for(IDLE_S)

    def alive(self) -> None:
        """Another beat of the idle loop, at most once a second."""
        if time.monotonic() >= self._next_s:
            self.quiet_for(IDLE_S)

    def stopping(self) -> None:
        """The child ends."""

    def quiet_for(self, seconds: float) -> None:
        """Announce that the next sign of life may take this long."""
        self._next_s = time.monotonic() + _BEAT_S
        try:
            os.write(self._descriptor, b"%.0f\n" % seconds)
        except BrokenPipeError:
            os._exit(1)


class Listener:
    """The room's end of one child's pulse."""

    def __init__(self, descriptor: int, start_s: float) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._rest = b""
        self._deadline_s = time.monotonic() + start_s

    def is_silent(self) -> bool:
        """Whether the child should have been heard by now and was not; takes in what it said meanwhile."""
        self._hear()
        return time.monotonic() > self._deadline_s

    def _hear(self) -> None:
        try:
            heard = os.read(self._descriptor, 65536)
        except BlockingIOError:
            return
        lines = (self._rest + heard).split(b"\n")
        self._rest = lines.pop()
        if lines and lines[-1].isdigit():
            self._deadline_s = time.monotonic() + int(lines[-1])
