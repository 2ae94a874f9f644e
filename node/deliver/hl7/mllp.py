"""MLLP, release 1, as the one who sends: one message in a block, and its acknowledgement, in bounded time and space."""

from __future__ import annotations

import socket
import time
from contextlib import suppress

from node.deliver.carriage import Lost
from node.deliver.hl7 import acknowledgement
from node.deliver.hl7.acknowledgement import Acknowledgement

_START, _END = b"\x0b", b"\x1c\r"
#: Bytes that are read for one acknowledgement; one is some hundred long.
_MOST_BYTES = 1 << 20
_PIECE = 65536


class Line:
    """A connection to a receiver."""

    def __init__(self, connection: socket.socket, name: str) -> None:
        self._connection = connection
        self._name = name
        self._rest = b""

    def exchange(self, message: bytes, control_id: str, limit_s: float) -> Acknowledgement:
        """Send a message and wait for the acknowledgement that names it; what else comes is passed over.

        Raises:
            Lost: the receiver broke off, was too slow, or answered nothing of use; it may have the message or not.
        """
        deadline_s = time.monotonic() + limit_s
        try:
            self._connection.settimeout(limit_s)
            self._connection.sendall(_START + message + _END)
            return self._await(control_id, deadline_s)
        except TimeoutError as error:
            raise Lost(f"{self._name} did not acknowledge the message within {limit_s:g} s") from error
        except OSError as error:
            raise Lost(f"{self._name} broke off before it acknowledged the message ({type(error).__name__})") from error

    def _await(self, control_id: str, deadline_s: float) -> Acknowledgement:
        read = len(self._rest)
        while read < _MOST_BYTES:
            while (block := self._block()) is not None:
                found = acknowledgement.read(block)
                if found is not None and found.control_id == control_id:
                    return found
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError
            self._connection.settimeout(left_s)
            piece = self._connection.recv(_PIECE)
            if not piece:
                raise Lost(f"{self._name} closed the connection before it acknowledged the message")
            read += len(piece)
            self._rest += piece
        raise Lost(f"{self._name} answered with more than {_MOST_BYTES} bytes and no acknowledgement of the message")

    def _block(self) -> bytes | None:
        """The next whole block of what has come, without its marks; what stands before it is no part of any."""
        start = self._rest.find(_START)
        if start < 0:
            self._rest = b""
            return None
        end = self._rest.find(_END[:1], start)
        if end < 0:
            self._rest = self._rest[start:]
            return None
        block, self._rest = self._rest[start + 1 : end], self._rest[end + 1 :]
        return block

    def close(self) -> None:
        """End the connection."""
        with suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        self._connection.close()
