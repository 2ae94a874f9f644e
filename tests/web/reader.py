"""A browser with a person before it, who logs in and fills in forms."""

from __future__ import annotations

import asyncio
import re

import httpx
from starlette.types import ASGIApp

from node.domain.account import Account, Role
from node.store import accounts
from node.store.database import Database
from node.workflow.accounts import derived

PASSWORD = "correct horse battery"
#: As accounts keep it, but made in no time.
CHEAP = derived(PASSWORD, cost=2)
ORIGIN = "http://localhost:8042"


def account(db: Database, login: str, role: Role = Role.READER) -> None:
    """Make an account with that password."""
    with db.transaction():
        accounts.add(db, Account(login=login, role=role, secret=CHEAP, created_at="2026-01-01T00:00:00+00:00"))


class Browser:
    """Keeps cookies, and sends `Origin` with what it sends, as browsers do."""

    def __init__(self, app: ASGIApp, *, origin: str = ORIGIN, address: str = "127.0.0.1") -> None:
        self._app = app
        self._address = address
        self.origin = origin
        self.cookies = httpx.Cookies()
        #: What the last answer said of cookies.
        self.set_cookies: list[str] = []

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.send("GET", path, headers=headers)

    def post(self, path: str, headers: dict[str, str] | None = None, **form: str) -> httpx.Response:
        return self.send("POST", path, headers={"Origin": self.origin} if headers is None else headers, data=form)

    def send(self, method: str, path: str, **more: object) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app, client=(self._address, 50000))
            async with httpx.AsyncClient(transport=transport, base_url=self.origin, cookies=self.cookies) as client:
                answer = await client.request(method, path, **more)  # type: ignore[arg-type]
                self.cookies = client.cookies
                return answer

        answer = asyncio.run(ask())
        self.set_cookies = answer.headers.get_list("set-cookie")
        return answer

    def log_in(self, login: str = "maria", password: str = PASSWORD) -> httpx.Response:
        page = self.get("/login")
        return self.post("/login", login=login, password=password, token=token_of(page.text))

    @property
    def token(self) -> str:
        """What the forms of the session carry."""
        return str(self.get("/api/session").json()["token"])


def token_of(page: str) -> str:
    """The token of the first form of a page."""
    found = re.search(r'name="token" value="([^"]+)"', page)
    return found[1] if found else ""
