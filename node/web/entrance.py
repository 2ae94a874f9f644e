"""Who is calling: a person who has logged in, a program with the token, or somebody on this machine who only reads."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from node.config import WebSettings
from node.domain.time import Clock
from node.errors import Misconfigured
from node.web.guard import is_local
from node.web.sessions import Session, Sessions

#: With `Secure`, browsers hold the first to its prefix: this host alone, never over plain HTTP (RFC 6265bis §4.1.3.2).
SECURE_COOKIE, PLAIN_COOKIE = "__Host-matins", "matins"
#: Shown to everybody: no patient stands there.
_OPEN = ("/login", "/static/", "/healthz")
_OTHERS = 0o077
_SHORTEST_TOKEN, _LONGEST_TOKEN = 32, 4096


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever a request comes from."""

    session: Session | None = None
    #: What the session's cookie says; empty without.
    cookie: str = ""
    #: It is a program that showed the token.
    by_token: bool = False


class Entrance:
    """ASGI: finds out who calls, and turns away who may not see the pages."""

    def __init__(self, app: ASGIApp, settings: WebSettings, sessions: Sessions, clock: Clock) -> None:
        self._app = app
        self._sessions = sessions
        self._clock = clock
        self._asks = settings.login == "always" or not is_local(settings.address)
        self._token = token_digest(settings.token_file) if settings.token_file else b""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with its caller, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, path = Headers(scope=scope), scope["path"]
        bearer = headers.get("authorization")
        if bearer is not None:
            caller = Caller(by_token=self._is_token(bearer))
            refused = not caller.by_token
        else:
            caller = await run_in_threadpool(self._by_cookie, headers.get("cookie", ""), uses=path != "/api/events")
            refused = self._asks and caller.session is None and not path.startswith(_OPEN)
        if refused:
            await self._turned_away(path)(scope, receive, send)
            return
        scope.setdefault("state", {})["caller"] = caller
        await self._app(scope, receive, send)

    def still_lets_in(self, caller: Caller) -> bool:
        """Whether somebody who was let in still would be."""
        if caller.session is not None:
            return self._sessions.find(caller.cookie, self._clock.now().boottime_s, uses=False) is not None
        return caller.by_token or not self._asks

    def _by_cookie(self, header: str, *, uses: bool) -> Caller:
        cookies = cookie_parser(header)
        cookie = cookies.get(SECURE_COOKIE) or cookies.get(PLAIN_COOKIE) or ""
        session = self._sessions.find(cookie, self._clock.now().boottime_s, uses=uses) if cookie else None
        return Caller(session=session, cookie=cookie if session else "")

    def _is_token(self, header: str) -> bool:
        scheme, _, token = header.partition(" ")
        given = hashlib.sha256(token.strip().encode("utf-8", "surrogatepass")).digest()
        return bool(self._token) and scheme.lower() == "bearer" and hmac.compare_digest(given, self._token)

    def _turned_away(self, path: str) -> Response:
        if path.startswith("/api/"):
            words = {"error": "Log in first, or show the token of [web] token_file."}
            return JSONResponse(words, 401, {"WWW-Authenticate": "Bearer"})
        return RedirectResponse("/login", 303)


def token_digest(file: Path) -> bytes:
    """SHA-256 of the token in a file that others may not read.

    Raises:
        Misconfigured: it cannot be read, others may read it, or it is short.
    """
    remedy = "Write one with `openssl rand -hex 32` and chmod 600"
    try:
        if file.stat().st_mode & _OTHERS:
            raise Misconfigured(file, "web.token_file", "may be read by others", remedy)
        token = file.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(file, "web.token_file", "cannot be read", remedy) from error
    if not _SHORTEST_TOKEN <= len(token) <= _LONGEST_TOKEN:
        raise Misconfigured(file, "web.token_file", "holds no token that nobody guesses", remedy)
    return hashlib.sha256(token.encode()).digest()
