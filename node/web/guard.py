"""What every request passes first: the right `Host`, a method that fits, `Origin`, and headers against mischief."""

from __future__ import annotations

import re
from collections.abc import Collection
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Scripts, requests and forms of our own alone, no frame, nothing from elsewhere; a page shows patients, so no cache
#: keeps it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; base-uri 'none';"
        " form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_READING = ("GET", "HEAD")
#: Where a person says something.
_WRITING = re.compile(
    r"/login|/logout|/accounts/[^/]+/unlock|(/api)?/studies/[^/]+/(acknowledge|read|feedback)"
    r"|(/api)?/discrepancies/[0-9]+/close"
)
#: Of what a person says, bytes.
LONGEST_BODY = 8192
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """ASGI: refuses what no page of ours under a name of ours asks for, and adds `HEADERS` to every answer.

    A page in a browser may make a foreign name point to this machine (DNS rebinding); it cannot forge `Host`,
    nor, where it has a form sent here, `Origin`.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._answering(scope)(scope, receive, send_guarded)

    def _answering(self, scope: Scope) -> ASGIApp:
        is_writing = scope["method"] == "POST" and _WRITING.fullmatch(scope["path"]) is not None
        if scope["method"] not in _READING and not is_writing:
            return PlainTextResponse("This is only for reading.\n", 405, {"Allow": ", ".join(_READING)})
        headers = Headers(scope=scope)
        if host_name(headers.get("host", "")) not in self._hosts:
            return PlainTextResponse("This node does not go by that name.\n", 421)
        return self._refusal(headers) or self._app if is_writing else self._app

    def _refusal(self, headers: Headers) -> PlainTextResponse | None:
        """Why what a person is to have said is not listened to; `None` where it is."""
        if not is_own_origin(headers.get("origin", ""), headers.get("host", "")):
            return PlainTextResponse("This was not sent by a page of this node.\n", 403)
        length = headers.get("content-length", "")
        if not length.isascii() or not length.isdigit():
            return PlainTextResponse("How long it is was not said.\n", 411)
        return PlainTextResponse("This is too long.\n", 413) if int(length) > LONGEST_BODY else None


def host_name(header: str) -> str:
    """The name in a `Host` header (RFC 9110 §7.2), without port and brackets, in small letters."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def is_own_origin(origin: str, host: str) -> bool:
    """Whether `Origin` (RFC 6454 §7) is where the request goes; a proxy before us may speak HTTPS for us."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    is_bare = not (parts.path or parts.query or parts.fragment)
    return parts.scheme in ("http", "https") and is_bare and bool(host) and parts.netloc.lower() == host.strip().lower()


def is_local(address: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return address.lower() == "localhost"


def names_of(address: str) -> frozenset[str]:
    """Names under which pages at `address` are asked for: itself, and the machine's own where it is local."""
    return _LOCAL | {address.lower()} if is_local(address) else frozenset({address.lower()})
