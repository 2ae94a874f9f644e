"""What a person says on the pages: who they are, what they have seen, what they have read, what they have settled.

The room itself writes acknowledgements, and what another room is asked to do; it ranks nothing and tells nobody.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from threading import Lock
from urllib.parse import parse_qsl, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from node.config import Settings
from node.domain.account import Role
from node.domain.feedback import Verdict
from node.domain.report_state import ReportState
from node.domain.time import Clock
from node.errors import Failed
from node.store import accounts as store
from node.store import requests, studies
from node.store.database import Database
from node.web.entrance import PLAIN_COOKIE, SECURE_COOKIE, Caller
from node.web.guard import LONGEST_BODY, host_name, is_local
from node.web.sessions import TRIES_OF_ADDRESS, TRIES_OF_LOGIN, Lockout, Session, Sessions
from node.workflow import accounts, acknowledging, discrepancies, feedback
from node.workflow.policy import load_policy

#: Given out with the page to log in, and compared with what its form carries.
_LOGIN_COOKIE = "matins-login"
_FORM, _JSON = "application/x-www-form-urlencoded", "application/json"
_TOKEN_HEADER = "x-matins-token"  # noqa: S105

Said = Mapping[str, str]
Page = Callable[..., Response]


class Deeds:
    """The endpoints that take what a person says."""

    def __init__(
        self, db: Database, settings: Settings, clock: Clock, sessions: Sessions, lockout: Lockout, page: Page
    ) -> None:
        self._db = db
        self._settings = settings
        self._clock = clock
        self._sessions = sessions
        self._lockout = lockout
        self._page = page
        # One password at a time: each takes 32 MiB, and guessing is not to take the machine.
        self._deriving = Lock()

    def login_page(self, request: Request) -> Response:
        """The form to log in."""
        return self._login_page(request)

    async def login(self, request: Request) -> Response:
        """Begin a session, or say that this was not it; 429 after too many tries."""
        return await run_in_threadpool(self._login, request, await _said(request))

    async def logout(self, request: Request) -> Response:
        """End the session."""
        _session(request, await _said(request))
        self._sessions.end(request.state.caller.cookie)
        answer = RedirectResponse("/login", 303)
        for name in (PLAIN_COOKIE, SECURE_COOKIE):
            answer.delete_cookie(name, path="/", secure=name == SECURE_COOKIE, httponly=True, samesite="strict")
        return answer

    async def acknowledge(self, request: Request) -> Response:
        """Keep that the person has seen the findings of a study, or those of `code`."""

        def deed(session: Session, said: Said) -> None:
            uid = request.path_params["study_instance_uid"]
            acknowledging.acknowledge(self._db, self._clock.now(), uid, by=session.login, code=said.get("code", ""))

        return await self._done(request, deed)

    async def read(self, request: Request) -> Response:
        """Have it kept that the study is read; the clock room does it, at once."""

        def deed(session: Session, said: Said) -> None:
            uid = request.path_params["study_instance_uid"]
            if said.get("report_state", "final") not in (ReportState.FINAL, ReportState.PRELIMINARY):
                raise HTTPException(400, "report_state is final or preliminary.")
            study = studies.study(self._db, uid)
            if study is None:
                raise HTTPException(404, "No such study is held here.")
            if study.report_state is ReportState.FINAL:
                raise Failed(f"the study is reported already, told by {study.report_told_by}")
            state = ReportState(said.get("report_state", "final"))
            requests.add(self._db, self._clock.now(), uid, state, session.login)

        return await self._done(request, deed, status_code=202)

    async def close_discrepancy(self, request: Request) -> Response:
        """Keep how a discrepancy was settled."""

        def deed(session: Session, said: Said) -> None:
            number = int(request.path_params["number"])
            because = said.get("because", "")
            discrepancies.close(self._db, self._clock.now(), number, by=session.login, because=because)

        return await self._done(request, deed)

    async def feedback(self, request: Request) -> Response:
        """Keep what the person makes of the result of `model`: `verdict`, and perhaps `label` and `because`."""

        def deed(session: Session, said: Said) -> None:
            if said.get("verdict") not in (Verdict.ACCEPT, Verdict.REJECT):
                raise HTTPException(400, "verdict is accept or reject.")
            feedback.give(
                self._db,
                self._clock.now(),
                lambda: load_policy(self._settings),
                request.path_params["study_instance_uid"],
                model=said.get("model", ""),
                verdict=Verdict(said["verdict"]),
                by=session.login,
                label=said.get("label", ""),
                because=said.get("because", ""),
            )

        return await self._done(request, deed)

    async def unlock(self, request: Request) -> Response:
        """Let somebody try to log in again at once."""

        def deed(_session: Session, _said: Said) -> None:
            self._lockout.clear(_by_login(request.path_params["login"]))

        return await self._done(request, deed, role=Role.ADMINISTRATOR)

    def accounts_page(self, request: Request) -> Response:
        """Who has an account, who is logged in, and who is locked out; for administrators."""
        session = request.state.caller.session
        if session is None or session.role is not Role.ADMINISTRATOR:
            raise HTTPException(403, "This is for administrators.")
        now_s = self._clock.now().boottime_s
        told = [
            {
                "login": each.login,
                "role": each.role.value,
                "created_at": each.created_at,
                "sessions": self._sessions.count(each.login),
                "wait_s": round(self._lockout.wait_s(_by_login(each.login), now_s)),
            }
            for each in store.accounts(self._db)
        ]
        return self._page("accounts.html", request, accounts=told)

    def session_json(self, request: Request) -> Response:
        """Who is logged in, and what their requests have to carry."""
        session = request.state.caller.session
        if session is None:
            return JSONResponse({"login": None, "role": None, "token": None})
        return JSONResponse({"login": session.login, "role": session.role.value, "token": session.form_token})

    async def _done(
        self,
        request: Request,
        deed: Callable[[Session, Said], None],
        *,
        role: Role = Role.READER,
        status_code: int = 200,
    ) -> Response:
        said = await _said(request)
        session = _session(request, said)
        if session.role is not role:
            raise HTTPException(403, f"This is for a {role}.")
        try:
            await run_in_threadpool(deed, session, said)
        except Failed as failed:
            known = await run_in_threadpool(_is_known, self._db, request)
            raise HTTPException(409 if known else 404, f"{failed}.") from None
        if request.url.path.startswith("/api/"):
            return JSONResponse({"ok": True, "by": session.login}, status_code)
        return RedirectResponse(_back(request, said), 303)

    def _login(self, request: Request, said: Said) -> Response:
        if not hmac.compare_digest(request.cookies.get(_LOGIN_COOKIE, "\0").encode(), said.get("token", "").encode()):
            raise HTTPException(403, "This form has aged; load the page again.")
        origin = urlsplit(request.headers["origin"])
        is_secure = origin.scheme == "https"
        if not is_secure and not is_local(host_name(origin.netloc)):
            raise HTTPException(403, "A password is not sent in the clear: use https.")
        login = said.get("login", "").strip().lower()[:64]
        names = {_by_login(login): TRIES_OF_LOGIN}
        address = request.client.host if request.client is not None else ""
        if address and not is_local(address):
            # Behind a proxy on this machine everybody has one address.
            names[f"address {address}"] = TRIES_OF_ADDRESS
        with self._deriving:
            now_s = self._clock.now().boottime_s
            wait_s = max(self._lockout.wait_s(name, now_s, tries=tries) for name, tries in names.items())
            if wait_s > 0:
                raise HTTPException(429, f"Too many tries; wait {wait_s:.0f} s.", {"Retry-After": f"{wait_s:.0f}"})
            account = accounts.known(self._db, login, said.get("password", ""))
            for name in names:
                self._lockout.fail(name, now_s) if account is None else self._lockout.clear(name)
        if account is None:
            return self._login_page(request, problem="This login and password do not go together.", status_code=401)
        answer = RedirectResponse("/", 303)
        cookie = self._sessions.begin(account, now_s)
        name = SECURE_COOKIE if is_secure else PLAIN_COOKIE
        answer.set_cookie(name, cookie, path="/", secure=is_secure, httponly=True, samesite="strict")
        answer.delete_cookie(_LOGIN_COOKIE, path="/login", secure=is_secure, httponly=True, samesite="strict")
        return answer

    def _login_page(self, request: Request, *, problem: str = "", status_code: int = 200) -> Response:
        token = secrets.token_urlsafe(32)
        any_account = store.any_account(self._db)
        answer = self._page(
            "login.html", request, status_code=status_code, problem=problem, token=token, any_account=any_account
        )
        answer.set_cookie(_LOGIN_COOKIE, token, path="/login", httponly=True, samesite="strict", max_age=3600)
        return answer


async def _said(request: Request) -> Said:
    """What a form or a JSON object says, as text; of each key the last."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            raise HTTPException(413, "This is too long.")
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == _FORM:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=20))
        if kind == _JSON:
            told = json.loads(body or b"{}")
            if isinstance(told, dict) and all(isinstance(value, str) for value in told.values()):
                return told
    except (ValueError, RecursionError):
        pass
    raise HTTPException(400, "This is neither a form nor a JSON object of texts.")


def _session(request: Request, said: Said) -> Session:
    """The session of whoever says it, if a page of that session had it sent."""
    caller: Caller = request.state.caller
    if caller.session is None:
        raise HTTPException(403 if caller.by_token else 401, "Log in first: what is said here has a name.")
    token = said.get("token", "") or request.headers.get(_TOKEN_HEADER, "")
    if not hmac.compare_digest(token.encode("utf-8", "replace"), caller.session.form_token.encode()):
        raise HTTPException(403, "This form is not of this session; load the page again.")
    return caller.session


def _is_known(db: Database, request: Request) -> bool:
    uid = request.path_params.get("study_instance_uid")
    return uid is None or studies.study(db, uid) is not None


def _back(request: Request, said: Said) -> str:
    """Where the person came from: the study, or the list."""
    uid = request.path_params.get("study_instance_uid", "")
    if request.url.path.startswith("/accounts/"):
        return "/accounts"
    return f"/studies/{uid}" if said.get("back") == "study" and set(uid) <= set("0123456789.") else "/"


def _by_login(login: str) -> str:
    return f"login {login}"
