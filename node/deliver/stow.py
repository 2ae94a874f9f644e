"""STOW-RS as user agent (PS3.18 §10.5): one object a request, and what the answer says of it."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import httpx
from pydicom import Dataset

from node import __version__
from node.config import Peer, Settings
from node.deliver.carriage import Lost, Unreachable
from node.deliver.statuses import Answer, Verdict, answer_of
from node.deliver.stored import StoredHeader
from node.store.capabilities import Capability

_JSON = "application/dicom+json"
#: Of an answer about one object, bytes.
_LONGEST_ANSWER = 1 << 20
_PIECE = 1 << 20
#: What reading JSON that means nothing can raise.
_MALFORMED = (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError, NotImplementedError)
_ALL_STORED, _ACCEPTED, _CONFLICT = 200, 202, 409
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
_TOO_EARLY = frozenset({408, 425, 429})
_SERVER_ERRORS, _REDIRECTS = 500, range(300, 400)
_SEE_LOG = "See the destination's log, mend it there, then `matins retry`"


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
        yield Stow(client, peer)


class Stow:
    """A client of one service."""

    def __init__(self, client: httpx.Client, peer: Peer) -> None:
        self._client = client
        self._peer = peer

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
        name = self._peer.name
        try:
            with _no_longer_than(limit_s, request):
                response = self._client.send(request, stream=True)
                try:
                    status, body = response.status_code, _body(response)
                finally:
                    response.close()
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            reason = f"nobody answers soundly at {self._peer.dicomweb} ({str(error) or type(error).__name__})"
            raise Unreachable(reason, by_configuration=_is_about_trust(error)) from error
        except (httpx.HTTPError, httpx.StreamError) as error:
            raise Lost(f"{name} broke off, or gave no answer in time ({type(error).__name__})") from error
        return self._answer(status, body, stored)

    def _answer(self, status: int, body: bytes | None, stored: StoredHeader) -> Answer:
        name, http = self._peer.name, f"HTTP {status}"
        if status in (_ALL_STORED, _ACCEPTED, _CONFLICT):
            return _about_objects(status, body, stored, name)
        if status in _LOCKED:
            raise Unreachable(f"{name}'s dicomweb {_LOCKED[status]} ({http})", by_configuration=True)
        if status in _REDIRECTS:
            problem = f"{name}'s dicomweb sends us elsewhere ({http}). Give the address that it means as dicomweb"
            raise Unreachable(problem, by_configuration=True)
        if status in _UNWANTED:
            return Answer(verdict=Verdict.UNWANTED, reason=f"{http}: {_UNWANTED[status]}", logged=http)
        if status >= _SERVER_ERRORS or status in _TOO_EARLY:
            return Answer(verdict=Verdict.AGAIN, reason=f"{http}: {name}'s dicomweb has a fault for now", logged=http)
        return Answer(verdict=Verdict.SLOWLY, reason=f"{http}: {name} refuses the request. {_SEE_LOG}", logged=http)


def _about_objects(status: int, body: bytes | None, stored: StoredHeader, name: str) -> Answer:
    """Find our object in the answer (PS3.18 §10.5.3.2): stored, stored with a warning, or failed with a reason.

    Raises:
        Lost: the answer is about other objects.
    """
    http = f"HTTP {status}"
    told = _told(body)
    if told is None:
        if status == _ALL_STORED:
            return Answer(verdict=Verdict.SENT, reason=f"{http} without a list of what is stored", logged=http)
        reason = f"{http} without a list of what failed. {_SEE_LOG}"
        return Answer(verdict=Verdict.SLOWLY, reason=reason, logged=http)
    failed = _item(told, "FailedSOPSequence", stored)
    if failed is not None:
        return answer_of(_code(failed, "FailureReason") or 0x0110)
    listed = _item(told, "ReferencedSOPSequence", stored)
    if listed is None or status == _CONFLICT:
        raise Lost(f"{name} answered of other objects than it was sent ({http}); nothing of it is believed")
    warning = _code(listed, "WarningReason")
    if not warning:
        return Answer(verdict=Verdict.SENT, logged=http)
    told_of_it = answer_of(warning)
    # It is in the list of what is stored, whatever number the warning has.
    return Answer(verdict=Verdict.SENT, reason=told_of_it.reason, logged=told_of_it.logged)


def _told(body: bytes | None) -> Dataset | None:
    """The data set of an answer; `None` where there is none that can be read."""
    try:
        said = json.loads(body or b"")
        first = said[0] if isinstance(said, list) else said
        return Dataset.from_json(cast("dict[str, Any]", first)) if isinstance(first, dict) else None
    except _MALFORMED:
        return None


def _item(told: Dataset, sequence: str, stored: StoredHeader) -> Dataset | None:
    try:
        items = list(told.get(sequence) or ())
        return next(
            (
                item
                for item in items
                if str(item.get("ReferencedSOPInstanceUID", "")) == stored.sop_instance_uid
                and str(item.get("ReferencedSOPClassUID", stored.sop_class_uid)) == stored.sop_class_uid
            ),
            None,
        )
    except _MALFORMED:
        return None


def _code(item: Dataset, keyword: str) -> int:
    try:
        return int(item.get(keyword) or 0) & 0xFFFF
    except _MALFORMED:
        return 0


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
