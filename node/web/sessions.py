"""Who is logged in, and who tried too often. In memory alone: when the room starts, everybody logs in anew."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

from node.config import WebSettings
from node.domain.account import Account, Role
from node.store import accounts
from node.store.database import Database

#: Tries of one login, and from one address elsewhere, before the next has to wait.
TRIES_OF_LOGIN, TRIES_OF_ADDRESS = 5, 20
#: First wait; doubles with each further failure.
WAIT_S, LONGEST_WAIT_S = 30.0, 900.0
#: A failure is forgotten after this.
_FORGOTTEN_S = 3600.0
#: Names that are remembered at once: whoever makes up more of them is stopped by their address.
_MOST_NAMES = 10_000
_MOST_SESSIONS = 1000


@dataclass(slots=True)
class Session:
    """One person at one browser."""

    login: str
    role: Role
    #: What every form of this session carries.
    form_token: str
    #: Of the account when the session began: with another password, or none, it ends.
    secret: str
    #: Seconds of CLOCK_BOOTTIME.
    begun_s: float
    used_s: float


class Sessions:
    """Sessions by what SHA-256 makes of their cookies."""

    def __init__(self, db: Database, settings: WebSettings) -> None:
        self._db = db
        self._settings = settings
        self._sessions: dict[str, Session] = {}

    def begin(self, account: Account, now_s: float) -> str:
        """Begin a session; return what its cookie says."""
        for key in [key for key, each in self._sessions.items() if self._is_over(each, now_s)]:
            self._sessions.pop(key, None)
        while len(self._sessions) >= _MOST_SESSIONS:
            self._sessions.pop(next(iter(self._sessions)), None)
        cookie = secrets.token_urlsafe(32)
        self._sessions[_digest(cookie)] = Session(
            login=account.login,
            role=account.role,
            form_token=secrets.token_urlsafe(32),
            secret=account.secret,
            begun_s=now_s,
            used_s=now_s,
        )
        return cookie

    def find(self, cookie: str, now_s: float, *, uses: bool = True) -> Session | None:
        """The session of a cookie, while it lasts and its account stands; `uses`: a person is there."""
        key = _digest(cookie)
        found = self._sessions.get(key)
        if found is None:
            return None
        account = accounts.account(self._db, found.login)
        is_changed = account is None or (account.secret, account.role) != (found.secret, found.role)
        if is_changed or self._is_over(found, now_s):
            self._sessions.pop(key, None)
            return None
        if uses:
            found.used_s = now_s
        return found

    def end(self, cookie: str) -> None:
        """Log out."""
        self._sessions.pop(_digest(cookie), None)

    def count(self, login: str) -> int:
        """How many sessions an account has."""
        return sum(each.login == login for each in list(self._sessions.values()))

    def _is_over(self, session: Session, now_s: float) -> bool:
        idle = now_s - session.used_s > self._settings.session_idle_s
        return idle or now_s - session.begun_s > self._settings.session_s


class Lockout:
    """Failures by login and by address: after some, everybody who comes under that name waits, longer each time."""

    def __init__(self) -> None:
        #: Name → (failures, when the last was, CLOCK_BOOTTIME).
        self._failures: dict[str, tuple[int, float]] = {}

    def wait_s(self, name: str, now_s: float, *, tries: int = TRIES_OF_LOGIN) -> float:
        """How long whoever comes under this name still has to wait, seconds; 0 if not at all."""
        count, last_s = self._failures.get(name, (0, 0.0))
        if count < tries or now_s - last_s > _FORGOTTEN_S:
            return 0.0
        wait_s = min(LONGEST_WAIT_S, WAIT_S * 2.0 ** min(count - tries, 10))
        return max(0.0, last_s + wait_s - now_s)

    def fail(self, name: str, now_s: float) -> None:
        """Count a failure."""
        count, last_s = self._failures.pop(name, (0, 0.0))
        while len(self._failures) >= _MOST_NAMES:
            self._failures.pop(next(iter(self._failures)))
        self._failures[name] = (1 if now_s - last_s > _FORGOTTEN_S else count + 1, now_s)

    def clear(self, name: str) -> None:
        """Whoever comes under this name has got in, or was let in by an administrator."""
        self._failures.pop(name, None)


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).hexdigest()
