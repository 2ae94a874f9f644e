"""What every request passes first: the right name in `Host`, a reading method, and headers against mischief."""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: No script, no frame, no form, nothing from elsewhere; a page shows patients, so no cache keeps it.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_READING = ("GET", "HEAD")
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


class Guard:
    """ASGI: refuses what is no reading request under a name of ours, and adds `HEADERS` to every answer.

    A page in a browser may make a foreign name point to this machine (DNS rebinding); it cannot forge `Host`.
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
        if scope["method"] not in _READING:
            return PlainTextResponse("These pages are only for reading.\n", 405, {"Allow": ", ".join(_READING)})
        if host_name(Headers(scope=scope).get("host", "")) not in self._hosts:
            return PlainTextResponse("This node does not go by that name.\n", 421)
        return self._app


def host_name(header: str) -> str:
    """The name in a `Host` header (RFC 9110 §7.2), without port and brackets, in small letters."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def names_of(address: str) -> frozenset[str]:
    """Names under which pages at `address` are asked for: itself, and the machine's own where it is local."""
    try:
        local = ip_address(address).is_loopback
    except ValueError:
        local = address.lower() == "localhost"
    return _LOCAL | {address.lower()} if local else frozenset({address.lower()})
