"""STOW-RS as user agent (PS3.18 §10.5): one object a request, and what the answer says of it."""

from __future__ import annotations

import hashlib
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from node import __version__
from node.config import DeliverSettings, Peer, Settings
from node.deliver.carriage import Lost, Unreachable
from node.deliver.statuses import Answer, Verdict
from node.deliver.stored import StoredHeader
from node.deliver.stow_response import ABOUT_OBJECTS, SEE_LOG, about_object
from node.store.capabilities import Capability

_JSON = "application/dicom+json"
#: Of an answer about one object, bytes.
_LONGEST_ANSWER = 1 << 20
_PIECE = 1 << 20
#: A reverse proxy's, and ours: nobody gets in before a person has mended something.
_LOCKED = {
    401: "asks for a login. Give its token in dicomweb_token_file",
    403: "does not let us in. Allow this machine, or its token, to store there",
    404: "knows no such address. Correct dicomweb",
    405: "takes no objects at this address. Correct dicomweb, or turn STOW-RS on there",
    406: "does not answer in application/dicom+json",
    410: "knows no such address any more. Correct dicomweb",
    501: "takes no objects. Turn STOW-RS on there",
}
#: The object is too large, or of a kind that the service does not take.
_UNWANTED = {
    413: "it is too large. Raise the limit for uploads there, then `matins retry`",
    415: "it is of a media type that is not taken. Enable its SOP Class and transfer syntax there, then `matins retry`",
}
_NO_SUCH_METHOD = frozenset({405, 406, 501})
_TOO_EARLY = frozenset({408, 425, 429})
_SERVER_ERRORS, _REDIRECTS = 500, range(300, 400)


@contextmanager
def opened(peer: Peer, settings: Settings, stored: Sequence[StoredHeader]) -> Iterator[Stow]:  # noqa: ARG001
    """Hold a client for one destination; it connects with the first object.

    Raises:
        Unreachable: its token cannot be read.
    """
    patience = settings.deliver
    headers = {"User-Agent": f"Matins/{__version__}", "Accept-Encoding": "identity", "Accept": _JSON}
    if peer.dicomweb_token_file is not None:
        headers["Authorization"] = f"Bearer {_token(peer.dicomweb_token_file, peer.name)}"
    # The operating system's certificates, so that a site can add its own; no proxy from the environment; and never on
    # to where a redirect leads: the object, and the token, are for this service alone.
    with httpx.Client(
        timeout=httpx.Timeout(patience.dimse_s, connect=patience.connect_s),
        # Each object over a connection of its own: one that has been idle may be gone without a word.
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=0),
        headers=headers,
        verify=ssl.create_default_context(),
        trust_env=False,
        follow_redirects=False,
    ) as client:
        yield Stow(client, peer, patience)


class Stow:
    """A client of one service."""

    def __init__(self, client: httpx.Client, peer: Peer, patience: DeliverSettings) -> None:
        self._client = client
        self._peer = peer
        self._patience = patience

    @property
    def learnt(self) -> list[Capability]:
        """Nothing: a service says what it takes only of objects."""
        return []

    def refusal(self, stored: StoredHeader) -> str:  # noqa: ARG002
        """Nothing is refused before it is sent."""
        return ""

    def send(self, stored: StoredHeader, content: bytes, *, plainly: bool, limit_s: float) -> Answer:  # noqa: ARG002
        """Send one object and read what became of it, all in all within `limit_s`.

        Raises:
            Lost: no answer came, or one that is not about this object.
            Unreachable: nobody answers, or nobody is let in.
        """
        boundary = hashlib.sha256(content).hexdigest()
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        headers = {
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(len(head) + len(content) + len(tail)),
        }
        request = self._client.build_request(
            "POST", f"{self._peer.dicomweb}/studies", headers=headers, content=_pieces(head, content, tail)
        )
        status, body = self._exchange(request, limit_s)
        return self._answer(status, body, stored)

    def look(self) -> None:
        """See that the service is there and lets us in, without giving it anything.

        Raises:
            Unreachable, Lost: as `send`.
        """
        request = self._client.build_request("OPTIONS", f"{self._peer.dicomweb}/studies")
        status, _ = self._exchange(request, self._patience.dimse_s)
        # A service need not know OPTIONS (RFC 9110 §9.3.7).
        if status in _LOCKED and status not in _NO_SUCH_METHOD:
            raise Unreachable(f"{self._peer.name}'s dicomweb {_LOCKED[status]} (HTTP {status})")

    def _exchange(self, request: httpx.Request, limit_s: float) -> tuple[int, bytes | None]:
        name = self._peer.name
        try:
            with _no_longer_than(limit_s, request):
                response = self._client.send(request, stream=True)
                try:
                    return response.status_code, _body(response)
                finally:
                    response.close()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            reason = f"nobody answers soundly at {self._peer.dicomweb} ({str(error) or type(error).__name__})"
            raise Unreachable(reason, by_configuration=_is_about_trust(error)) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise Lost(f"{name} broke off, or gave no answer in time ({type(error).__name__})") from error

    def _answer(self, status: int, body: bytes | None, stored: StoredHeader) -> Answer:
        name, http = self._peer.name, f"HTTP {status}"
        if status in ABOUT_OBJECTS:
            return about_object(status, body, stored, name)
        if status in _LOCKED:
            raise Unreachable(f"{name}'s dicomweb {_LOCKED[status]} ({http})", by_configuration=True)
        if status in _REDIRECTS:
            problem = f"{name}'s dicomweb sends us elsewhere ({http}). Give the address that it means as dicomweb"
            raise Unreachable(problem, by_configuration=True)
        if status in _UNWANTED:
            return Answer(verdict=Verdict.UNWANTED, reason=f"{http}: {_UNWANTED[status]}", logged=http)
        if status >= _SERVER_ERRORS or status in _TOO_EARLY:
            return Answer(verdict=Verdict.AGAIN, reason=f"{http}: {name}'s dicomweb has a fault for now", logged=http)
        return Answer(verdict=Verdict.SLOWLY, reason=f"{http}: {name} refuses the request. {SEE_LOG}", logged=http)


def problem_of(peer: Peer, settings: Settings) -> str:
    """What keeps the service from being sent anything, as far as can be seen without sending; empty if nothing does."""
    try:
        with opened(peer, settings, ()) as stow:
            stow.look()
    except (Unreachable, Lost) as error:
        return str(error)
    return ""


def _pieces(head: bytes, content: bytes, tail: bytes) -> Iterator[bytes]:
    yield head
    for start in range(0, len(content), _PIECE):
        yield content[start : start + _PIECE]
    yield tail


def _body(response: httpx.Response) -> bytes | None:
    """The answer, if it is as short as an answer about one object is."""
    content = bytearray()
    for piece in response.iter_raw():
        content += piece
        if len(content) > _LONGEST_ANSWER:
            return None
    return bytes(content)


@contextmanager
def _no_longer_than(limit_s: float, request: httpx.Request) -> Iterator[None]:
    """Break the connection off in the end: a peer that sends a byte now and then is never too late for httpx."""
    connected: list[socket.socket] = []

    def trace(event: str, told: dict[str, Any]) -> None:
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            connected.append(told["return_value"].get_extra_info("socket"))

    def break_off() -> None:
        for each in connected:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    request.extensions["trace"] = trace
    timer = threading.Timer(limit_s, break_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _is_about_trust(error: BaseException) -> bool:
    """Whether the certificate was not believed: that passes only when somebody mends it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _token(file: Path, name: str) -> str:
    try:
        token = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Unreachable(f"{name}'s dicomweb_token_file cannot be read", by_configuration=True) from error
    if not token or not token.isprintable() or " " in token:
        raise Unreachable(f"{name}'s dicomweb_token_file holds no token", by_configuration=True)
    return token
