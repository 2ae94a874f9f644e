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

from node.config import Settings
from node.errors import Transient
from node.loop import describe_error
from node.receive.certificate import Certificate
from node.receive.keeper import Keeper
from node.receive.lobby import Lobby
from node.receive.stow.caller import Callers, Denial
from node.receive.stow.exchange import Answer, Asked, Broken, Exchange, Patience
from node.receive.stow.service import store, understood
from node.receive.tls import HandshakeFailed, secure, shake_hands
from node.store import events

_TURN_S = 0.5
#: An accepting loop that has not gone round for so long hangs.
_HUNG_S = 10.0
_POLL_S = 0.05
#: The same refusal of the same address is written down once in so many seconds.
_AGAIN_S = 10.0
_MOST_REFUSALS = 1000

log = structlog.get_logger()


class HttpPort:
    """The Store Transaction's origin server at work."""

    def __init__(
        self,
        settings: Settings,
        keeper: Keeper,
        callers: Callers,
        listening: socket.socket,
        context: ssl.SSLContext | None,
    ) -> None:
        """Serve on a listening socket, over TLS where there is a context."""
        self._settings = settings
        self._keeper = keeper
        self._callers = callers
        self._listening = listening
        self._context = context
        stow, limits = settings.receive.stow, settings.receive
        self._patience = Patience(
            head_s=limits.artim_s, idle_s=limits.idle_s, minimum_bytes_per_s=stow.minimum_bytes_per_s
        )
        most = {
            "maximum_associations": stow.maximum_requests,
            "maximum_associations_per_peer": stow.maximum_requests,
        }
        self._lobby = Lobby(limits.model_copy(update=most))
        self._stopping = threading.Event()
        self._visits: dict[socket.socket, threading.Thread] = {}
        self._refusals: dict[tuple[str, str], float] = {}
        self._last_turn_s = time.monotonic()
        host, port = listening.getsockname()[:2]
        self.port = int(port)
        scheme = "http" if context is None else "https"
        self.where = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/studies"
        listening.settimeout(_TURN_S)
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
            self._listening.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listening.close()
        deadline_s = time.monotonic() + drain_s
        while not self._lobby.is_empty() and time.monotonic() < deadline_s:
            time.sleep(_POLL_S)
        for connection, visit in list(self._visits.items()):
            with suppress(OSError, ValueError):
                connection.shutdown(socket.SHUT_RDWR)
            visit.join(_TURN_S)

    def _accept(self) -> None:
        while not self._stopping.is_set():
            self._last_turn_s = time.monotonic()
            try:
                connection, (address, *_) = self._listening.accept()
            except TimeoutError:
                continue
            except OSError as error:
                if not self._stopping.wait(_POLL_S):
                    log.error("connection_failed", reason=describe_error(error))
                continue
            self._let_in(connection, address)

    def _let_in(self, connection: socket.socket, address: str) -> None:
        if not self._callers.is_listed(address):
            connection.close()
            self._note(address, "closed", "no source that stores over HTTP has this address; it was closed unread")
            return
        try:
            connection.settimeout(self._patience.head_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._context is not None:
                connection = secure(self._context, connection)
            visit = threading.Thread(target=self._visit, args=(connection, address), name="http", daemon=True)
            self._lobby.enter(connection)
            self._visits[connection] = visit
            visit.start()
        except (HandshakeFailed, OSError, RuntimeError) as error:
            self._leave(connection)
            log.error("connection_failed", reason=describe_error(error))

    def _visit(self, connection: socket.socket, address: str) -> None:
        """One connection, from its first byte to its end."""
        try:
            certificate = None
            if isinstance(connection, ssl.SSLSocket):
                certificate = shake_hands(connection, self._patience.head_s)
            exchange = Exchange(connection, self._patience)
            while self._serve(exchange, connection, address, certificate) and not self._stopping.is_set():
                self._lobby.leave(connection)
                self._lobby.enter(connection)
        except HandshakeFailed as error:
            self._note(address, "alert" if error.alert else "closed", error.reason)
        except Broken as error:
            log.info("http_broken", address=address, reason=error.reason)
        except Exception as error:
            log.exception("http_failed", reason=describe_error(error))
        finally:
            self._leave(connection)

    def _serve(
        self, exchange: Exchange, connection: socket.socket, address: str, certificate: Certificate | None
    ) -> bool:
        """One request; say whether another may follow."""
        try:
            asked = exchange.request()
            if asked is None:
                return False
            return self._answer(exchange, asked, connection, address, certificate)
        except Broken as error:
            if error.status:
                exchange.tell(_plain(error.status, error.reason), close=True)
            raise

    def _answer(
        self,
        exchange: Exchange,
        asked: Asked,
        connection: socket.socket,
        address: str,
        certificate: Certificate | None,
    ) -> bool:
        peer = self._callers.identify(address, asked.headers, certificate)
        if isinstance(peer, Denial):
            self._note(address, "rejected", f"{peer.status}: {peer.reason}")
            challenge = {"www-authenticate": 'Bearer realm="matins"'} if peer.status == 401 else {}
            return exchange.tell(_plain(peer.status, peer.reason, **challenge))
        request = understood(asked)
        if isinstance(request, Answer):
            self._note(f"{peer.name} at {address}", "rejected", f"{request.status}: {request.content.decode().strip()}")
            return exchange.tell(request)
        limit = self._lobby.admit(connection, peer.name)
        if limit:
            return exchange.tell(_plain(503, "as many requests at once as are taken", **{"retry-after": "5"}))
        return store(self._settings, self._keeper, peer, request, exchange)

    def _leave(self, connection: socket.socket) -> None:
        self._lobby.leave(connection)
        self._visits.pop(connection, None)
        with suppress(OSError):
            connection.close()

    def _note(self, who: str, after: str, reason: str) -> None:
        """Write a refusal down, once in a while where somebody insists; it stands whether or not that succeeds."""
        now_s = time.monotonic()
        if now_s - self._refusals.get((who, reason), -_AGAIN_S) < _AGAIN_S:
            return
        if len(self._refusals) >= _MOST_REFUSALS:
            self._refusals.clear()
        self._refusals[who, reason] = now_s
        log.warning("request_refused", who=who, reason=reason)
        db, subject = self._keeper.db, f"{who} over HTTP"
        try:
            with db.transaction():
                events.record(db, self._keeper.clock.now(), "association", subject, after=after, reason=reason)
        except Transient as error:
            log.warning("refusal_not_recorded", reason=str(error))


def _plain(status: int, reason: str, **headers: str) -> Answer:
    return Answer(status=status, content=f"Refused: {reason}.\n".encode(), headers=headers)
