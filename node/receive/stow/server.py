"""The HTTP port: accepts connections, and answers each in a thread of its own, apart from the DICOM port's.

Who is on no address list is closed unread. A newcomer is never shut out by silent ones: the longest silent one goes.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress

import structlog

from node.errors import Refused
from node.loop import describe_error
from node.receive import status
from node.receive.acceptor import Listener
from node.receive.association import Door, outlived
from node.receive.certificate import Certificate
from node.receive.stow.caller import Callers, Denial
from node.receive.stow.exchange import Answer, Asked, Broken, Exchange, Patience
from node.receive.stow.service import store, understood
from node.receive.tls import HandshakeFailed, secure, shake_hands

_TURN_S = 0.5
#: An accepting loop that has not gone round for so long hangs.
_HUNG_S = 10.0
_POLL_S = 0.02
#: A request that is broken off may still be making an object durable.
_END_S = 10.0

log = structlog.get_logger()


class HttpPort:
    """The Store Transaction's origin server at work: one thread that accepts, and one a connection."""

    def __init__(self, listener: Listener, door: Door, callers: Callers) -> None:
        self._listener = listener
        self._door = door
        self._callers = callers
        limits = door.settings.receive
        self._patience = Patience(
            head_s=limits.artim_s, idle_s=limits.idle_s, minimum_bytes_per_s=limits.stow.minimum_bytes_per_s
        )
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._open: dict[Visit, threading.Thread] = {}
        self._last_turn_s = time.monotonic()
        self.port = listener.port
        host = door.settings.node.address
        scheme = "https" if listener.credentials else "http"
        self.where = f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}/studies"
        listener.socket.settimeout(_TURN_S)
        self._thread = threading.Thread(target=self._accept, name="accept-http", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it still accepts: its loop goes round."""
        return self._thread.is_alive() and time.monotonic() - self._last_turn_s < _HUNG_S

    def stop(self, drain_s: float) -> None:
        """Accept nobody new, let requests finish for `drain_s` seconds, then close all connections."""
        self._stopping.set()
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
        while not self._stopping.is_set():
            self._last_turn_s = time.monotonic()
            try:
                connection, (address, *_) = self._listener.socket.accept()
            except TimeoutError:
                continue
            except OSError as error:
                if not self._stopping.wait(_POLL_S):
                    log.error("connection_failed", reason=describe_error(error))
                continue
            if self._callers.is_listed(address):
                self._let_in(connection, address)
            else:
                connection.close()
                reason = "no source that stores over HTTP has this address; the connection was closed unread"
                self._door.closed(address, reason)

    def _let_in(self, connection: socket.socket, address: str) -> None:
        visit = Visit(connection, address, self._door, self._callers, self._patience, self._listener, self._stopping)
        thread = threading.Thread(target=self._serve, args=(visit,), name=f"http {address}", daemon=True)
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


class Visit:
    """One connection, from its first byte to its end."""

    def __init__(
        self,
        connection: socket.socket,
        address: str,
        door: Door,
        callers: Callers,
        patience: Patience,
        listener: Listener,
        stopping: threading.Event,
    ) -> None:
        self.address = address
        self._socket = connection
        self._door = door
        self._callers = callers
        self._patience = patience
        self._credentials = listener.credentials
        self._stopping = stopping

    def run(self) -> None:
        """Answer its requests, one after the other."""
        try:
            certificate = self._secured()
            exchange = Exchange(self._socket, self._patience)
            while self._serve(exchange, certificate) and not self._stopping.is_set():
                # Between two requests it is one of those that wait.
                self._door.lobby.leave(self)
                self._door.lobby.enter(self)
        except HandshakeFailed as error:
            self._door.closed(self.address, f"TLS: {error.reason}", alert=error.alert)
        except Broken as error:
            log.info("http_broken", address=self.address, reason=error.reason)

    def shutdown(self, how: int, /) -> None:
        """End the connection; for other threads."""
        with suppress(OSError, ValueError):
            self._socket.shutdown(how)

    def close(self) -> None:
        """Let go of the connection."""
        with suppress(OSError):
            self._socket.close()

    def _secured(self) -> Certificate | None:
        """Shake hands where the port is a secure one; what the peer has proved to hold."""
        with suppress(OSError):
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._credentials is None:
            return None
        tls_socket: ssl.SSLSocket = secure(self._credentials.context(), self._socket)
        self._socket = tls_socket
        return shake_hands(tls_socket, self._patience.head_s)

    def _serve(self, exchange: Exchange, certificate: Certificate | None) -> bool:
        """Answer one request; say whether another may follow."""
        try:
            asked = exchange.request()
            return asked is not None and self._answer(exchange, asked, certificate)
        except Broken as error:
            if error.status:
                exchange.tell(_plain(error.status, error.reason), close=True)
            raise

    def _answer(self, exchange: Exchange, asked: Asked, certificate: Certificate | None) -> bool:
        peer = self._callers.identify(self.address, asked.headers, certificate)
        if isinstance(peer, Denial):
            self._door.closed(self.address, f"HTTP {peer.status}: {peer.reason}", alert=peer.alert)
            challenge = {"www-authenticate": 'Bearer realm="matins"'} if peer.status == 401 else {}
            return exchange.tell(_plain(peer.status, peer.reason, **challenge))
        request = understood(asked)
        if isinstance(request, Answer):
            told = Refused(status.CANNOT_UNDERSTAND, f"HTTP {request.status}: {request.content.decode().strip()}")
            self._door.refused_request(peer, "STOW-RS", told)
            return exchange.tell(request)
        if self._door.lobby.admit(self, peer.name):
            return exchange.tell(_plain(503, "as many requests at once as are taken", **{"retry-after": "5"}))
        return store(self._door, peer, request, exchange)


def _plain(code: int, reason: str, **headers: str) -> Answer:
    return Answer(status=code, content=f"Refused: {reason}.\n".encode(), headers=headers)
