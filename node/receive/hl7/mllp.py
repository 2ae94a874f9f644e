"""MLLP, the minimal lower layer protocol (HL7 v2 chapter "Transport", release 1): a message between 0x0B and 0x1C 0x0D.

Bounded in memory and in time: a frame has a deadline as a whole, so that neither half of one nor a byte a minute holds
its place for ever.
"""

from __future__ import annotations

import socket
import time

from node.errors import MatinsError

START, END = b"\x0b", b"\x1c\x0d"
_PIECE_BYTES = 1 << 16
#: What may stand between two frames: line ends that some senders write.
_BETWEEN = b"\r\n"


class Broken(MatinsError):
    """The peer is gone, too slow, or does not speak MLLP; nothing more can be understood on this connection."""


class Overlong(MatinsError):
    """A message longer than is taken; `beginning` is what came of it, for an answer."""

    def __init__(self, beginning: bytes, most: int) -> None:
        self.beginning = beginning
        super().__init__(f"a message of more than {most} bytes")


class Frames:
    """The messages of one connection, one after the other."""

    def __init__(self, connection: socket.socket, *, most_bytes: int, idle_s: float, message_s: float) -> None:
        self._socket = connection
        self._most = most_bytes
        self._idle_s = idle_s
        self._message_s = message_s
        self._held = bytearray()

    def next(self) -> bytes | None:
        """Wait for the next message; `None` when the peer has closed between two, or has been silent for too long.

        Raises:
            Broken: what comes is no frame, or it is not whole in time.
            Overlong: it is longer than is taken.
        """
        if not self._begun(time.monotonic() + self._idle_s):
            return None
        deadline_s = time.monotonic() + self._message_s
        looked = 1
        while (end := self._held.find(END, looked)) < 0:
            # The two bytes of the end may come apart.
            looked = max(1, len(self._held) - 1)
            if len(self._held) > self._most + len(END):
                raise Overlong(bytes(self._held[1 : self._most]), self._most)
            if not self._read(deadline_s):
                raise Broken("a message that was not whole in time, or was broken off")
        if end - 1 > self._most:
            raise Overlong(bytes(self._held[1 : self._most]), self._most)
        content = bytes(self._held[1:end])
        del self._held[: end + len(END)]
        if START in content:
            raise Broken("a message begins within another")
        return content

    def send(self, content: bytes) -> None:
        """Send one message.

        Raises:
            Broken: nobody takes it.
        """
        self._socket.settimeout(self._message_s)
        try:
            self._socket.sendall(START + content + END)
        except OSError as error:
            raise Broken("nobody took the acknowledgement") from error

    def _begun(self, deadline_s: float) -> bool:
        """Wait for the first byte of a message; what comes before it is thrown away if it may stand there."""
        while True:
            stripped = self._held.lstrip(_BETWEEN)
            del self._held[: len(self._held) - len(stripped)]
            if self._held:
                break
            if not self._read(deadline_s):
                return False
        if not self._held.startswith(START):
            raise Broken("it does not speak MLLP: a message begins with 0x0B")
        return True

    def _read(self, deadline_s: float) -> bool:
        """Take what comes next; `False` at the end, or when nothing comes in time."""
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            return False
        self._socket.settimeout(left_s)
        try:
            piece = self._socket.recv(_PIECE_BYTES)
        except TimeoutError:
            return False
        except (OSError, ValueError) as error:
            raise Broken("the connection broke") from error
        self._held += piece
        return bool(piece)
