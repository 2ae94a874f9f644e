"""Who is inside: connections that have not said who they are, and associations by peer."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from node.config import ReceiveSettings


class Lobby:
    """Counts connections. A newcomer is never shut out by silent ones: the longest silent one goes."""

    def __init__(self, limits: ReceiveSettings) -> None:
        self._maximum = limits.maximum_associations
        self._maximum_per_peer = limits.maximum_associations_per_peer
        self._lock = threading.Lock()
        #: In the order in which they came.
        self._waiting: dict[socket.socket, None] = {}
        self._inside: dict[socket.socket, str] = {}

    def enter(self, connection: socket.socket) -> None:
        """A connection has come that has not yet said who it is."""
        oldest = None
        with self._lock:
            if len(self._waiting) >= self._maximum:
                oldest = next(iter(self._waiting))
                del self._waiting[oldest]
            self._waiting[connection] = None
        if oldest is not None:
            with suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)

    def admit(self, connection: socket.socket, peer: str) -> str:
        """Count it as the peer's association; return the limit that this would break, or ""."""
        with self._lock:
            self._waiting.pop(connection, None)
            if len(self._inside) >= self._maximum:
                return f"{self._maximum} associations at once"
            if sum(name == peer for name in self._inside.values()) >= self._maximum_per_peer:
                return f"{self._maximum_per_peer} associations of {peer} at once"
            self._inside[connection] = peer
            return ""

    def leave(self, connection: socket.socket) -> None:
        """The connection is gone."""
        with self._lock:
            self._waiting.pop(connection, None)
            self._inside.pop(connection, None)

    def is_empty(self) -> bool:
        """Whether no association is left."""
        with self._lock:
            return not self._inside
