"""The HTTP port: answers each connection's requests, apart from the DICOM port's."""

from __future__ import annotations

import socket
import threading

import structlog

from node.config import Peer
from node.errors import Refused
from node.receive import status
from node.receive.acceptor import Listener
from node.receive.association import Door
from node.receive.certificate import Certificate
from node.receive.port import Port, Visit
from node.receive.stow.caller import Callers, Denial
from node.receive.stow.exchange import Answer, Asked, Broken, Exchange, Patience
from node.receive.stow.service import store, understood
from node.receive.tls import HandshakeFailed

WORKITEMS = "/workitems"

log = structlog.get_logger()


class HttpPort(Port):
    """The Store Transaction's origin server at work."""

    def __init__(self, listener: Listener, door: Door, callers: Callers) -> None:
        limits = door.settings.receive
        patience = Patience(
            head_s=limits.artim_s, idle_s=limits.idle_s, minimum_bytes_per_s=limits.stow.minimum_bytes_per_s
        )
        host = door.settings.node.address
        scheme = "https" if listener.credentials else "http"
        super().__init__(
            listener,
            door,
            protocol="http",
            where=f"{scheme}://{f'[{host}]' if ':' in host else host}:{listener.port}/studies",
            is_listed=callers.is_listed,
            stranger="no source that stores over HTTP has this address; the connection was closed unread",
            visit=lambda connection, address: HttpVisit(
                connection, address, door, callers, patience, listener, self.stopping
            ),
        )


class HttpVisit(Visit):
    """A connection on which requests come."""

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
        super().__init__(connection, address, door, listener.credentials)
        self._callers = callers
        self._patience = patience
        self._stopping = stopping

    def run(self) -> None:
        """Answer its requests, one after the other."""
        try:
            certificate = self._secure(self._patience.head_s)
            exchange = Exchange(self._socket, self._patience)
            while self._serve(exchange, certificate) and not self._stopping.is_set():
                # Between two requests it is one of those that wait.
                self._door.lobby.leave(self)
                self._door.lobby.enter(self)
        except HandshakeFailed as error:
            self._door.closed(self.address, f"TLS: {error.reason}", alert=error.alert)
        except Broken as error:
            log.info("http_broken", address=self.address, reason=error.reason)

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
        if asked.path == WORKITEMS or asked.path.startswith(f"{WORKITEMS}/"):
            return self._workitems(exchange, asked, peer)
        if "source" not in peer.roles:
            return exchange.tell(_plain(403, f"{peer.name} is no source: nothing of it is stored"))
        request = understood(asked)
        if isinstance(request, Answer):
            told = Refused(status.CANNOT_UNDERSTAND, f"HTTP {request.status}: {request.content.decode().strip()}")
            self._door.refused_request(peer, "STOW-RS", told)
            return exchange.tell(request)
        if self._door.lobby.admit(self, peer.name):
            return exchange.tell(_plain(503, "as many requests at once as are taken", **{"retry-after": "5"}))
        return store(self._door, peer, request, exchange)

    def _workitems(self, exchange: Exchange, asked: Asked, peer: Peer) -> bool:
        """Answer a request of the Worklist Service (PS3.18 §11)."""
        from node.receive.stow import workitems

        if self._door.lobby.admit(self, peer.name):
            return exchange.tell(_plain(503, "as many requests at once as are taken", **{"retry-after": "5"}))
        body = bytearray()
        for piece in exchange.body():
            body += piece
            if len(body) > workitems.LONGEST_BYTES:
                return exchange.tell(_plain(413, f"a body of more than {workitems.LONGEST_BYTES} bytes"), close=True)
        return exchange.tell(workitems.answer(self._door, peer, asked, bytes(body)))


def _plain(code: int, reason: str, **headers: str) -> Answer:
    return Answer(status=code, content=f"Refused: {reason}.\n".encode(), headers=headers)
