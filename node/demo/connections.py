"""TCP connections of a pynetdicom application entity, closed in any case."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from pynetdicom import evt
from pynetdicom.association import Association


class Connections:
    """The connections that are open: pynetdicom forgets to close one that its peer has broken off."""

    def __init__(self) -> None:
        self._open: dict[Association, socket.socket] = {}
        self._lock = threading.Lock()

    def handlers(self) -> list[evt.EventHandlerType]:
        """Bindings for pynetdicom."""
        return [(evt.EVT_CONN_OPEN, self._opened), (evt.EVT_CONN_CLOSE, self._closed)]

    def close(self) -> None:
        """Close what is still open."""
        with self._lock:
            left = list(self._open.values())
            self._open.clear()
        for connection in left:
            # Whoever reads from it in another thread wakes.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _opened(self, event: evt.Event) -> None:
        transport = event.assoc.dul.socket
        if transport is not None and transport.socket is not None:
            with self._lock:
                self._open[event.assoc] = transport.socket

    def _closed(self, event: evt.Event) -> None:
        with self._lock:
            connection = self._open.pop(event.assoc, None)
        if connection is not None:
            connection.close()
