"""Who is inside: connections that have not said who they are, and associations by peer."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Protocol

from node.config import ReceiveSettings


class Connection(Protocol):
    """A transport connection; told apart by identity."""

    def shutdown(self, how: int, /) -> None:
        """End it, from any thread."""
        ...


class Lobby:
    """Counts connections. A newcomer is never shut out by silent ones: the longest silent one goes."""

    def __init__(self, limits: ReceiveSettings) -> None:
        self._maximum = limits.maximum_associations
        self._maximum_per_peer = limits.maximum_associations_per_peer
        self._lock = threading.Lock()
        #: In the order in which they came.
        self._waiting: dict[Connection, None] = {}
        self._inside: dict[Connection, str] = {}

    def enter(self, connection: Connection) -> None:
        """A connection has come that has not yet said who it is."""
        with self._lock:
            oldest = self._make_room()
            self._waiting[connection] = None
        _end(oldest)

    def admit(self, connection: Connection, peer: str) -> str:
        """Count it as the peer's association; return the limit that this would break, or ""."""
        with self._lock:
            if len(self._inside) >= self._maximum:
                return f"{self._maximum} associations at once"
            if sum(name == peer for name in self._inside.values()) >= self._maximum_per_peer:
                return f"{self._maximum_per_peer} associations of {peer} at once"
            self._waiting.pop(connection, None)
            self._inside[connection] = peer
            return ""

    def dismiss(self, connection: Connection) -> None:
        """Its association is over, and it has yet to close: it holds no place any more, and is the next to go."""
        with self._lock:
            if self._inside.pop(connection, None) is None:
                return
            oldest = self._make_room()
            self._waiting = {connection: None, **self._waiting}
        _end(oldest)

    def leave(self, connection: Connection) -> None:
        """The connection is gone."""
        with self._lock:
            self._waiting.pop(connection, None)
            self._inside.pop(connection, None)

    def is_empty(self) -> bool:
        """Whether no association is left."""
        with self._lock:
            return not self._inside

    def _make_room(self) -> Connection | None:
        if len(self._waiting) < self._maximum:
            return None
        oldest = next(iter(self._waiting))
        del self._waiting[oldest]
        return oldest


def _end(connection: Connection | None) -> None:
    if connection is not None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
