"""A port that answers each connection in a thread of its own, apart from the DICOM port's.

Who is on no address list is closed unread. A newcomer is never shut out by silent ones: the longest silent one goes.
"""

from __future__ import annotations

import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress

import structlog

from node.loop import describe_error
from node.receive.acceptor import Listener
from node.receive.association import Door, outlived
from node.receive.certificate import Certificate
from node.receive.tls import Credentials, secure, shake_hands

_TURN_S = 0.5
#: An accepting loop that has not gone round for so long hangs.
_HUNG_S = 10.0
_POLL_S = 0.02
#: A request that is broken off may still be making something durable.
_END_S = 10.0

log = structlog.get_logger()


class Visit(ABC):
    """One connection, from its first byte to its end."""

    def __init__(self, connection: socket.socket, address: str, door: Door, credentials: Credentials | None) -> None:
        #: Where it comes from.
        self.address = address
        self._socket = connection
        self._door = door
        self._credentials = credentials

    @abstractmethod
    def run(self) -> None:
        """Serve it."""

    def shutdown(self, how: int, /) -> None:
        """End it, from any thread."""
        with suppress(OSError, ValueError):
            self._socket.shutdown(how)

    def close(self) -> None:
        """Let go of it."""
        with suppress(OSError):
            self._socket.close()

    def _secure(self, patience_s: float) -> Certificate | None:
        """Shake hands where the port is a secure one; what the peer has proved to hold.

        Raises:
            HandshakeFailed: it has not, or not within `patience_s` seconds.
        """
        with suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._credentials is None:
            return None
        tls_socket = secure(self._credentials.context(), self._socket)
        self._socket = tls_socket
        return shake_hands(tls_socket, patience_s)


class Port:
    """One thread that accepts, and one a connection.

    `stranger`: what is noted of whoever `is_listed` does not know.
    """

    def __init__(
        self,
        listener: Listener,
        door: Door,
        *,
        protocol: str,
        where: str,
        is_listed: Callable[[str], bool],
        stranger: str,
        visit: Callable[[socket.socket, str], Visit],
    ) -> None:
        self._listener = listener
        self._door = door
        self._protocol = protocol
        self._is_listed = is_listed
        self._stranger = stranger
        self._visit = visit
        #: Set once nobody new is accepted.
        self.stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[Visit, threading.Thread] = {}
        self._last_turn_s = time.monotonic()
        self.port = listener.port
        self.where = where
        listener.socket.settimeout(_TURN_S)
        self._thread = threading.Thread(target=self._accept, name=f"accept-{protocol}", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it still accepts: its loop goes round."""
        return self._thread.is_alive() and time.monotonic() - self._last_turn_s < _HUNG_S

    def stop(self, drain_s: float) -> None:
        """Accept nobody new, let those inside finish for `drain_s` seconds, then close all connections."""
        self.stopping.set()
        with suppress(OSError):
            # Wakes the accepting loop.
            self._listener.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.socket.close()
        deadline_s = time.monotonic() + drain_s
        while not self._door.lobby.is_empty() and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        with self._lock:
            left = dict(self._open)
        for visit in left:
            visit.shutdown(socket.SHUT_RDWR)
        deadline_s = time.monotonic() + _END_S
        for thread in left.values():
            thread.join(max(0.0, deadline_s - time.monotonic()))
        self._door.close()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            self._last_turn_s = time.monotonic()
            try:
                connection, (address, *_) = self._listener.socket.accept()
            except TimeoutError:
                continue
            except OSError as error:
                if not self.stopping.wait(_POLL_S):
                    log.error("connection_failed", reason=describe_error(error))
                continue
            if self._is_listed(address):
                self._let_in(connection, address)
            else:
                connection.close()
                self._door.closed(address, self._stranger)

    def _let_in(self, connection: socket.socket, address: str) -> None:
        visit = self._visit(connection, address)
        thread = threading.Thread(target=self._serve, args=(visit,), name=f"{self._protocol} {address}", daemon=True)
        self._door.lobby.enter(visit)
        with self._lock:
            self._open[visit] = thread
        try:
            thread.start()
        except RuntimeError as error:
            log.error("connection_failed", address=address, reason=describe_error(error))
            self._end(visit)

    def _serve(self, visit: Visit) -> None:
        outlived(visit.run, visit.address)
        self._end(visit)

    def _end(self, visit: Visit) -> None:
        self._door.lobby.leave(visit)
        with self._lock:
            self._open.pop(visit, None)
        visit.close()
