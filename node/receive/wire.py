"""PDUs in and out of a socket, plain or TLS: bounded in length before memory is taken, and in time both ways.

What is handed out is a view of the one buffer that an association has: it holds until the next PDU is read. A long
value may be put where it will lie instead (`fill`), which spares a copy.
"""

from __future__ import annotations

import socket
import ssl
import struct
import time
from contextlib import suppress

from node.config import ReceiveSettings
from node.errors import MatinsError
from node.receive.upper_layer import AbortReason, InvalidPdu, PduType

_HEADER = struct.Struct(">BxI")
_TIMEVAL = struct.Struct("ll")
#: 128 presentation contexts with every transfer syntax there is need about 200 KB.
LONGEST_REQUEST = 512 << 10
#: A-RELEASE and A-ABORT have four bytes.
LONGEST_OTHER = 1 << 10
#: Read at once: more was slower, since it left the cache.
_MOST_AT_ONCE = 128 << 10
#: The buffer starts with this, and grows with what has come.
_FIRST_BUFFER = 8 << 10
#: Read behind a value that does not go through the buffer: the header of the next PDU, and that of its first item.
_AHEAD = 12
#: Room behind the longest PDU, for the command before it.
_SLACK = 4 << 10
_SEND_BUFFER = 64 << 10
#: How often a read or write that waits looks at its deadline, seconds.
_SHORTEST_TICK_S, _LONGEST_TICK_S = 0.02, 1.0


class Ended(MatinsError):
    """The transport connection is at its end."""


class Expired(MatinsError):
    """A deadline has passed: ARTIM, idle time, or that of one PDU or one write."""


class Interrupted(MatinsError):
    """We are asked to end the association."""


class Wire:
    """One transport connection. One thread reads and writes; others may `interrupt` or `shutdown`."""

    def __init__(self, connection: socket.socket, limits: ReceiveSettings) -> None:
        self._socket = connection
        self._scatters = True
        self._artim_s = limits.artim_s
        self._idle_s = limits.idle_s
        self._maximum = limits.maximum_pdu_bytes
        self._tick_s = min(_LONGEST_TICK_S, max(_SHORTEST_TICK_S, min(limits.artim_s, limits.idle_s) / 8))
        self._buffer = bytearray(_FIRST_BUFFER)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._interrupted = False
        #: A PDU was sent in part: nothing after it would be understood.
        self._is_torn = False
        #: When the PDU that is being read must be whole; 0 where nobody has waited for it.
        self._pdu_deadline_s = 0.0
        #: When `fill` returned last: what is done with its bytes is no slowness of the peer's.
        self._filled_s = 0.0
        #: While ARTIM runs (PS3.8 §9.1.5), everything must be over then.
        self._artim_deadline_s: float | None = None
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Answers are short; the kernel would keep megabytes of them for who does not read.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._set_tick()

    def start_artim(self) -> None:
        """Start the timer, or start it again (PS3.8 §9.1.5)."""
        self._artim_deadline_s = time.monotonic() + self._artim_s

    def stop_artim(self) -> None:
        """Stop the timer."""
        self._artim_deadline_s = None

    def artim_left_s(self) -> float:
        """Seconds until ARTIM expires; 0 where it has, or does not run."""
        return max(0.0, (self._artim_deadline_s or 0.0) - time.monotonic())

    def secured(self, connection: ssl.SSLSocket) -> None:
        """Speak through `connection`, the TLS socket that takes the place of the plain one."""
        self._socket = connection
        self._scatters = False

    def shaken(self) -> None:
        """The TLS handshake is over: from now on PDUs are read."""
        self._set_tick()

    def header(self) -> tuple[int, int]:
        """Wait for the next PDU; return its type and length. Its value is the next thing to be read.

        Raises:
            InvalidPdu: no such type (2/1), or longer than agreed (2/6).
            Ended: the peer has closed.
            Expired: nothing came in time, or too little.
            Interrupted: we are to end the association.
        """
        self._pdu_deadline_s = self._filled_s = 0.0
        if self._start == self._end:
            self._start = self._end = 0
            self._await(1, self._artim_deadline_s or time.monotonic() + self._idle_s)
        if self._end - self._start < _HEADER.size:
            self._await(_HEADER.size, self._whole_until_s())
        kind, length = _HEADER.unpack_from(self._buffer, self._start)
        if not PduType.ASSOCIATE_RQ <= kind <= PduType.ABORT:
            raise InvalidPdu(AbortReason.UNRECOGNIZED_PDU, f"PDU type 0x{kind:02X}")
        longest = self._longest(kind)
        if length > longest:
            what = f"a PDU of type {kind} announces {length} bytes; {longest} are taken"
            raise InvalidPdu(AbortReason.INVALID_PARAMETER_VALUE, what)
        return kind, length

    def value(self, length: int) -> memoryview:
        """Return the value of the PDU whose header was read, within its deadline; it holds until the next `header`.

        Raises:
            Ended: the peer has closed.
            Expired: it took longer than `artim_s`.
            Interrupted: we are to end the association.
        """
        whole = _HEADER.size + length
        if self._end - self._start < whole:
            self._await(whole, self._whole_until_s())
        start = self._start + _HEADER.size
        self._start += whole
        return self._view[start : self._start]

    def peek(self, count: int) -> memoryview:
        """Return the first `count` bytes of the value of the PDU whose header was read, and leave them there.

        Raises:
            Ended, Expired, Interrupted: as `value`.
        """
        whole = _HEADER.size + count
        if self._end - self._start < whole:
            self._await(whole, self._whole_until_s())
        start = self._start + _HEADER.size
        return self._view[start : start + count]

    def skip(self, count: int) -> None:
        """Take what was peeked at, so that `fill` goes on behind it."""
        self._start += _HEADER.size + count

    def fill(self, window: memoryview) -> None:
        """Put the next bytes of the value there, all that there is room for; no more than the value has left.

        Raises:
            Ended, Expired, Interrupted: as `value`.
        """
        if self._pdu_deadline_s and self._filled_s:
            self._pdu_deadline_s += time.monotonic() - self._filled_s
        held = min(self._end - self._start, len(window))
        window[:held] = self._view[self._start : self._start + held]
        self._start += held
        while held < len(window):
            self._start = self._end = 0
            count = self._received(window[held:], _AHEAD)
            self._end = max(0, held + count - len(window))
            held += count
            if held < len(window) and time.monotonic() >= self._whole_until_s():
                raise Expired(f"{held} of {len(window)} bytes came in time")
        self._filled_s = time.monotonic()

    def send(self, encoded: bytes) -> None:
        """Send a PDU whole.

        Raises:
            Ended: the peer is gone.
            Expired: the peer does not read: after `artim_s`, or when ARTIM expires.
        """
        if self._is_torn:
            raise Ended("the peer does not read")
        deadline_s = 0.0
        left = memoryview(encoded)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except (BlockingIOError, TimeoutError):
                pass
            except OSError as error:
                raise Ended(_said(error)) from error
            if left:
                deadline_s = deadline_s or self._artim_deadline_s or time.monotonic() + self._artim_s
                if time.monotonic() >= deadline_s:
                    self._is_torn = True
                    raise Expired("the peer does not read")

    def drain(self) -> None:
        """Say that nothing more will be sent, then throw away what comes until the peer closes or ARTIM expires.

        To close with something unread would reset the connection, and the peer might lose our last PDU.
        """
        self.shutdown(socket.SHUT_WR)
        self._start = self._end = 0
        with suppress(OSError):
            while self.artim_left_s() and not self._interrupted:
                with suppress(BlockingIOError, TimeoutError):
                    # Below TLS too: what still comes is of no interest.
                    if not socket.socket.recv_into(self._socket, self._view):
                        return

    def interrupt(self) -> None:
        """Make whatever waits in `header` or `value` raise Interrupted; for other threads."""
        self._interrupted = True
        self.shutdown(socket.SHUT_RD)

    def shutdown(self, how: int) -> None:
        """End the transport connection in one or both directions; for any thread."""
        with suppress(OSError):
            # Not SSLSocket's own, which takes the TLS layer away from who reads just now.
            socket.socket.shutdown(self._socket, how)

    def close(self) -> None:
        """Let go of the transport connection."""
        with suppress(OSError):
            self._socket.close()

    def _longest(self, kind: int) -> int:
        if kind == PduType.P_DATA_TF:
            return self._maximum
        return LONGEST_REQUEST if kind == PduType.ASSOCIATE_RQ else LONGEST_OTHER

    def _whole_until_s(self) -> float:
        self._pdu_deadline_s = self._artim_deadline_s or self._pdu_deadline_s or time.monotonic() + self._artim_s
        return self._pdu_deadline_s

    def _await(self, wanted: int, deadline_s: float) -> None:
        """Read until `wanted` bytes are there from `_start` on."""
        while True:
            self._make_room(wanted)
            self._end += self._received(self._view[self._end : self._end + _MOST_AT_ONCE])
            if self._end - self._start >= wanted:
                return
            if time.monotonic() >= deadline_s:
                raise Expired(f"{self._end - self._start} of {wanted} bytes came in time")

    def _received(self, room: memoryview, ahead: int = 0) -> int:
        """Read once, and as much as `ahead` bytes more into the buffer, which is empty; 0 where nothing came."""
        # Who sends without a pause would never let us see the end of what the kernel holds.
        self._look_for_interruption()
        ahead = ahead if self._scatters else 0
        try:
            count = self._socket.recvmsg_into((room, self._view[:ahead]))[0] if ahead else self._socket.recv_into(room)
        except (BlockingIOError, TimeoutError):
            return 0
        except OSError as error:
            self._look_for_interruption()
            raise Ended(_said(error)) from error
        if not count:
            self._look_for_interruption()
            raise Ended("the peer has closed")
        if count < len(room) + ahead:
            # Nothing is left to read. Senders that leave Nagle on now wait 40 ms for a delayed acknowledgement;
            # the option lasts for one.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return count

    def _look_for_interruption(self) -> None:
        if self._interrupted:
            raise Interrupted

    def _make_room(self, wanted: int) -> None:
        """Move what is there to the front, or grow, where the buffer's end is near."""
        held = self._end - self._start
        if self._start and (self._start + wanted > len(self._buffer) or self._end == len(self._buffer)):
            self._view[:held] = self._view[self._start : self._end]
            self._start, self._end = 0, held
        if self._end == len(self._buffer):
            # Only as fast as it fills: what a header promises takes no memory.
            buffer = bytearray(min(2 * len(self._buffer), max(wanted, self._maximum + _HEADER.size) + _SLACK))
            buffer[:held] = self._view[:held]
            self._buffer, self._view = buffer, memoryview(buffer)

    def _set_tick(self) -> None:
        """Let reads and writes come back often enough to look at a deadline."""
        with suppress(OSError):
            if isinstance(self._socket, ssl.SSLSocket):
                self._socket.settimeout(self._tick_s)
                return
            # Cheaper than a timeout of Python's, which polls before each read.
            seconds = int(self._tick_s)
            interval = _TIMEVAL.pack(seconds, int((self._tick_s - seconds) * 1e6))
            self._socket.setblocking(True)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, interval)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, interval)


def _said(error: OSError) -> str:
    return error.strerror or type(error).__name__
