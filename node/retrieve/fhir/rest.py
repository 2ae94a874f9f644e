"""HTTP to a FHIR server: what was asked, of that server alone, within limits (HL7 FHIR R4, RESTful API)."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx

from node import __version__
from node.errors import Failed, Transient
from node.retrieve.fhir.elements import code, records
from node.retrieve.fhir.exchange import FhirCall
from node.retrieve.found import MALFORMED

_JSON = "application/fhir+json"
_OK, _NOT_MODIFIED = 200, 304
_REDIRECTS = range(300, 400)
_LOGIN = frozenset({401, 403})
_BUSY = frozenset({429, 503})
#: The server does not know the resource, the interaction or a parameter.
_DECLINED = frozenset({400, 404, 405, 410, 422, 501})
_SERVER_ERRORS = 500
#: Whatever a server asks for, it is asked again after this, seconds.
_LONGEST_WAIT_S = 3600.0
_MOST_CODES = 5
#: What an OperationOutcome may say in a message of ours: issue-type (FHIR R4); anything else might name a patient.
_ISSUE_TYPES = frozenset(
    (
        *("invalid", "structure", "required", "value", "invariant", "security", "login", "unknown", "expired"),
        *("forbidden", "suppressed", "processing", "not-supported", "duplicate", "multiple-matches", "not-found"),
        *("deleted", "too-long", "code-invalid", "extension", "too-costly", "business-rule", "conflict", "transient"),
        *("lock-error", "no-store", "exception", "timeout", "incomplete", "throttled", "informational"),
    )
)

Json = dict[str, Any]
Keys = Sequence[tuple[str, str]]


class Declined(Failed):
    """The server does not offer what was asked."""


class Busy(Transient):
    """The server asks to be left alone for `wait_s` seconds."""

    def __init__(self, reason: str, wait_s: float) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class Answer:
    """One document; `None` where it has not changed since the ETag that was shown."""

    document: Json | None
    etag: str = ""


class Rest:
    """A server, and what is left of the time and of the bytes for it."""

    def __init__(self, client: httpx.Client, call: FhirCall) -> None:
        self._client = client
        self._call = call
        self._origin = _origin(httpx.URL(call.base))
        self._deadline_s = time.monotonic() + call.longest_s
        self._bytes_left = call.most_bytes

    def search(self, resource: str, keys: Keys, *, post: bool, etag: str = "") -> Answer:
        """Search a resource by keys, which go in the address or in the body.

        Raises:
            Declined, Failed: as `_document`.
            Transient: no answer now; `Busy` where it says until when.
        """
        address = f"{self._call.base}/{resource}"
        shown = {"If-None-Match": etag} if etag else {}
        if post:
            # A conditional request is one by GET (RFC 9110 §13.1.2).
            return self._document("POST", f"{address}/_search", data=dict(_joined(keys)))
        return self._document("GET", address, params=list(keys), headers=shown)

    def get(self, path: str) -> Answer:
        """Read a document below the base address. Raises as `search`."""
        return self._document("GET", f"{self._call.base}/{path}")

    def follow(self, address: str, seen: set[str]) -> Answer:
        """Read the page that a Bundle names as its next.

        Raises:
            Failed: it lies with somebody else, or was read before.
        """
        try:
            url = httpx.URL(self._call.base + "/").join(address)
        except (httpx.InvalidURL, *MALFORMED):
            raise Failed("names a next page that is no address") from None
        if _origin(url) != self._origin or url.userinfo:
            raise Failed("names a next page at another address than its own; that is not followed")
        if str(url) in seen:
            raise Failed("its pages lead in a circle")
        seen.add(str(url))
        return self._document("GET", str(url))

    def _document(self, method: str, address: str, **request: Any) -> Answer:
        """Ask, and read one JSON document.

        Raises:
            Declined: it does not offer that.
            Failed: asking again would not change it.
            Transient: nobody answers soundly, or not in time.
        """
        try:
            with self._client.stream(method, address, **request) as answer:
                content = self._content(answer)
                self._check(answer, content)
                etag = answer.headers.get("etag", "")
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL) as error:
            raise Transient(f"nobody answers soundly ({type(error).__name__})") from error
        if answer.status_code == _NOT_MODIFIED:
            return Answer(None, etag)
        document = _read(content)
        if document is None:
            raise Failed("sent an answer that is no JSON document")
        if document.get("resourceType") == "OperationOutcome":
            raise Failed(f"answers with an OperationOutcome{_issues(document)}")
        return Answer(document, etag if etag.isprintable() and len(etag) < 200 else "")

    def _content(self, answer: httpx.Response) -> bytes:
        if answer.headers.get("content-encoding", "identity").lower() not in ("identity", ""):
            raise Failed("packs its answer in a way that was not asked for")
        content = bytearray()
        for piece in answer.iter_raw():
            content += piece
            self._bytes_left -= len(piece)
            if self._bytes_left < 0:
                raise Failed(f"answers with more than {self._call.most_bytes} bytes (most_bytes)")
            self._check_time()
        self._check_time()
        return bytes(content)

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline_s:
            raise Transient(f"did not answer everything within {self._call.longest_s:g} s (limit_s)")

    def _check(self, answer: httpx.Response, content: bytes) -> None:
        status = answer.status_code
        if status in (_OK, _NOT_MODIFIED):
            return
        told = f"HTTP {status}{_issues(_read(content) or {})}"
        if status in _REDIRECTS:
            raise Failed(f"sends us elsewhere ({told}); that is not followed. Correct base")
        if status in _LOGIN:
            raise Failed(f"does not let us in ({told}). Give its token in token_file")
        if status in _BUSY:
            raise Busy(f"asks to be left alone for a while ({told})", _wait_s(answer.headers.get("retry-after", "")))
        if status in _DECLINED:
            raise Declined(f"does not offer it ({told})")
        if status >= _SERVER_ERRORS:
            raise Transient(f"has a fault ({told})")
        raise Failed(f"refuses the question ({told})")


@contextmanager
def reached(call: FhirCall) -> Iterator[Rest]:
    """Hold a client for one server.

    Raises:
        Failed: the token cannot be read.
    """
    headers = {"User-Agent": f"Matins/{__version__}", "Accept": _JSON, "Accept-Encoding": "identity"}
    if call.token_file:
        headers["Authorization"] = f"Bearer {_token(Path(call.token_file))}"
    timeout = httpx.Timeout(call.answer_s, connect=call.connect_s)
    # The operating system's certificates, so that a site can add its own; no proxy from the environment; and the token
    # goes to this server alone.
    is_secure = call.base.startswith("https:")
    verify = ssl.create_default_context() if is_secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    options: dict[str, Any] = {"verify": verify, "trust_env": False, "follow_redirects": False}
    with httpx.Client(timeout=timeout, headers=headers, **options) as client:
        yield Rest(client, call)


def _token(file: Path) -> str:
    try:
        token = file.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise Failed("its token_file cannot be read") from error
    if not token or not token.isprintable() or " " in token:
        raise Failed("its token_file holds no token")
    return token


def _joined(keys: Keys) -> dict[str, str | list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in keys:
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _read(content: bytes) -> Json | None:
    try:
        document = json.loads(content)
    except MALFORMED:
        return None
    return document if isinstance(document, dict) else None


def _issues(document: Json) -> str:
    """The codes of an OperationOutcome's issues; its texts may repeat the question, and so the patient."""
    codes = [told for issue in records(document.get("issue")) if (told := code(issue.get("code"))) in _ISSUE_TYPES]
    return f": {', '.join(dict.fromkeys(codes[:_MOST_CODES]))}" if codes else ""


def _wait_s(text: str) -> float:
    """Retry-After (RFC 9110 §10.2.3): seconds, or a date; 0 where it says neither."""
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_WAIT_S)
    try:
        until = parsedate_to_datetime(text)
    except MALFORMED:
        return 0.0
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max(0.0, (until - datetime.now(UTC)).total_seconds()), _LONGEST_WAIT_S)
