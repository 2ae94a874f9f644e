"""HTTP/1.1 (RFC 9112) on one connection: a request's head, its body piece by piece, and the answer, each with a limit.

h11 knows the protocol; here stand the socket and the patience with whoever is at its other end.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import h11

from node.errors import MatinsError

_PIECE_BYTES = 1 << 17
_LONGEST_HEAD = 1 << 14
#: Who is refused while still sending gets so long to read why.
_LINGER_S = 2.0
_LINGER_BYTES = 64 << 20


class Broken(MatinsError):
    """The peer is gone, too slow, or does not speak HTTP; `status` is what it can still be told, 0 for nothing."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The head of a request."""

    method: str
    #: Path without query, and what follows its question mark.
    path: str
    query: str = ""
    #: Names in small letters; of a field that comes twice, the values joined by commas (RFC 9110 §5.3).
    headers: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is told."""

    status: int
    content: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long is waited for the peer."""

    #: For the whole head of a request.
    head_s: float
    #: Between two pieces of a body, and for the answer to be taken.
    idle_s: float
    #: A body that comes more slowly is broken off, once `idle_s` was waited for it in all.
    minimum_bytes_per_s: int


class Exchange:
    """The server's side of one connection, request after request."""

    def __init__(self, connection: socket.socket, patience: Patience) -> None:
        self._socket = connection
        self._patience = patience
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)
        self._method = ""

    def request(self) -> Asked | None:
        """Wait for the next request; `None` when the peer wants nothing more.

        Raises:
            Broken: it does not speak HTTP, or not in time.
        """
        if self._http.our_state is h11.DONE:
            if self._http.their_state is not h11.DONE:
                return None
            self._http.start_next_cycle()
        deadline_s = time.monotonic() + self._patience.head_s
        begun = bool(self._http.trailing_data[0])
        while True:
            event = self._next()
            if isinstance(event, h11.Request):
                asked = _asked(event)
                self._method = asked.method
                return asked
            if event is not h11.NEED_DATA:
                return None
            left_s = deadline_s - time.monotonic()
            piece = self._read(left_s) if left_s > 0 else None
            if piece is None:
                # Between two requests, silence is no fault.
                raise Broken(408 if begun else 0, f"no request within {self._patience.head_s:g} s")
            begun = True
            self._http.receive_data(piece)

    def body(self) -> Iterator[bytes]:
        """The body, piece by piece; time that the caller takes between them does not count.

        Raises:
            Broken: it ends too early, comes too slowly, or is no HTTP.
        """
        waited_s, received = 0.0, 0
        while True:
            event = self._next()
            if isinstance(event, h11.Data):
                received += len(event.data)
                yield bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                return
            elif event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    self._send(h11.InformationalResponse(status_code=100, headers=[]))
                allowed_s = self._patience.idle_s + received / self._patience.minimum_bytes_per_s
                began_s = time.monotonic()
                piece = self._read(min(self._patience.idle_s, allowed_s - waited_s))
                waited_s += time.monotonic() - began_s
                if piece is None or waited_s > allowed_s:
                    raise Broken(408, "the body came too slowly")
                self._http.receive_data(piece)
            else:
                raise Broken(0, "the connection ended inside a request")

    def tell(self, answer: Answer, *, close: bool = False) -> bool:
        """Answer the request, and say whether another may follow on this connection.

        Raises:
            Broken: nobody takes the answer.
        """
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return False
        unread = self._http.their_state not in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED)
        headers = {
            "content-type": answer.content_type,
            "content-length": str(len(answer.content)),
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
            **answer.headers,
        }
        if unread or close:
            headers["connection"] = "close"
        self._send(h11.Response(status_code=answer.status, headers=list(headers.items())))
        if answer.content and self._method != "HEAD":
            self._send(h11.Data(data=answer.content))
        self._send(h11.EndOfMessage())
        if unread or close:
            self._linger()
        return not (unread or close) and self._http.states[h11.SERVER] is h11.DONE

    def _next(self) -> h11.Event | type[h11.NEED_DATA | h11.PAUSED]:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            # In h11's words it would quote the peer.
            raise Broken(error.error_status_hint, "no sound HTTP/1.1") from error

    def _read(self, patience_s: float) -> bytes | None:
        """What comes next, empty at the end; `None` if nothing comes in time."""
        if patience_s <= 0:
            return None
        self._socket.settimeout(patience_s)
        try:
            return self._socket.recv(_PIECE_BYTES)
        except TimeoutError:
            return None
        except OSError as error:
            raise Broken(0, "the connection broke") from error

    def _send(self, event: h11.Event) -> None:
        self._socket.settimeout(self._patience.idle_s)
        try:
            self._socket.sendall(self._http.send(event) or b"")
        except OSError as error:
            raise Broken(0, "nobody took the answer") from error

    def _linger(self) -> None:
        """Let a peer that still sends read its answer: closing at once would take it back (RFC 9112 §9.6)."""
        deadline_s, received = time.monotonic() + _LINGER_S, 0
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            raise Broken(0, "the connection broke") from error
        while received < _LINGER_BYTES and (piece := self._read(deadline_s - time.monotonic())):
            received += len(piece)


def _asked(event: h11.Request) -> Asked:
    headers: dict[str, str] = {}
    for name, value in event.headers:
        key, text = name.decode("ascii"), value.decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    path, _, query = event.target.decode("ascii", "replace").partition("?")
    return Asked(method=event.method.decode("ascii"), path=path, query=query, headers=headers)
