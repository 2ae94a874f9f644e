"""The pages and their JSON twins. They read; what people say there stands in `deeds`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from node.config import Settings
from node.domain.account import Role
from node.domain.time import Clock
from node.errors import Transient
from node.store import digests
from node.store.database import Database
from node.web import wording
from node.web.deeds import Deeds
from node.web.entrance import Caller, Entrance
from node.web.feed import Feed
from node.web.guard import Guard, names_of
from node.web.sessions import Lockout, Sessions
from node.web.shown import shown
from node.workflow import digest_told, retention
from node.workflow.discrepancies import discrepancies_told
from node.workflow.standing import health
from node.workflow.story import Story, study_story, worklist_story

_HERE = Path(__file__).parent
#: Studies on one page; the JSON has them all.
_LONGEST_PAGE = 300


class Pages:
    """The endpoints over one database."""

    def __init__(self, db: Database, settings: Settings, clock: Clock) -> None:
        self._db = db
        self._settings = settings
        self._clock = clock
        self._templates = Environment(
            loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._templates.filters.update(wording.FILTERS)

    def worklist(self, request: Request) -> Response:
        """The worklist, the study to read first on top, and what came after the report."""
        told = worklist_story(self._db, limit=_LONGEST_PAGE)
        return self.page(
            "worklist.html",
            request,
            studies=[self._shown(each) for each in told["studies"]],
            total=told["total"],
            discrepancies=[self._shown(each) for each in discrepancies_told(self._db)],
        )

    def study(self, request: Request) -> Response:
        """One study's story."""
        story = self._story(request)
        # What somebody looks at stays.
        retention.look(self._db, self._clock.now(), story["study_instance_uid"])
        return self.page("study.html", request, study=story)

    def digest(self, request: Request) -> Response:
        """What the last night brought."""
        found = digests.newest(self._db)
        if found is None:
            raise HTTPException(404, "No night has been written down yet.")
        lines = list(digest_told.lines(self._db, digest_told.told(self._db, found)))
        return self.page("digest.html", request, day=found.day.isoformat(), lines=lines)

    def digest_json(self, _request: Request) -> Response:
        """As `matins digest --json`."""
        found = digests.newest(self._db)
        return JSONResponse(digest_told.told(self._db, found) if found is not None else {})

    def worklist_json(self, _request: Request) -> Response:
        """As `matins worklist --json`."""
        told = worklist_story(self._db, now=self._clock.now())
        return JSONResponse({**told, "studies": [self._shown(each) for each in told["studies"]]})

    def study_json(self, request: Request) -> Response:
        """As `matins show STUDY --json`."""
        return JSONResponse(self._story(request))

    def discrepancies_json(self, _request: Request) -> Response:
        """As `matins discrepancies --json`."""
        return JSONResponse({"discrepancies": [self._shown(each) for each in discrepancies_told(self._db)]})

    def health(self, _request: Request) -> Response:
        """200 while the node is fit for work, else 503; names no patient."""
        try:
            found = health(self._db, self._settings)
        except (Transient, OSError) as error:
            found = {"ok": False, "checks": {"database": str(error)}}
        return JSONResponse(found, status_code=200 if found["ok"] else 503)

    def failed(self, request: Request, error: Exception) -> Response:
        """A page, or JSON, for what cannot be shown."""
        code = error.status_code if isinstance(error, HTTPException) else 503
        words = error.detail if isinstance(error, HTTPException) else "The database is busy. Try again in a moment."
        headers = error.headers if isinstance(error, HTTPException) else None
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": words}, status_code=code, headers=headers)
        answer = self.page("problem.html", request, status_code=code, words=words)
        answer.headers.update(headers or {})
        return answer

    def page(self, template: str, request: Request, *, status_code: int = 200, **values: Any) -> Response:
        """A page, as whoever asks for it sees it."""
        now: datetime = self._clock.now().wall
        caller: Caller = getattr(request.state, "caller", Caller())
        session = caller.session
        text = self._templates.get_template(template).render(
            now=now,
            node=self._settings.node.ae_title,
            session=session,
            is_reader=session is not None and session.role is Role.READER,
            **values,
        )
        return HTMLResponse(text, status_code=status_code)

    def _story(self, request: Request) -> Story:
        told = study_story(self._db, request.path_params["study_instance_uid"])
        if told is None:
            raise HTTPException(404, "No such study is held here.")
        return self._shown(told)

    def _shown(self, told: Story) -> Story:
        return shown(told, self._settings.web.shows)


def application(db: Database, settings: Settings, clock: Clock) -> Starlette:
    """The whole site as one ASGI application; `state.feed` is its stream of changes, to be closed before it ends.

    Raises:
        Misconfigured: the token of [web] token_file cannot be read, or is none.
    """
    pages, sessions, lockout = Pages(db, settings, clock), Sessions(db, settings.web), Lockout()
    deeds = Deeds(db, settings, clock, sessions, lockout, pages.page)
    # Known before the first request: a token that is none stops the start.
    entrance = Entrance(_nothing, settings.web, sessions, clock)
    feed = Feed(db, settings.web.listeners, entrance.still_lets_in)
    site = Starlette(
        routes=[*_reading(pages, deeds, feed), *_writing(deeds)],
        middleware=[
            Middleware(Guard, hosts=names_of(settings.web.address) | set(settings.web.names)),
            Middleware(Entrance, settings=settings.web, sessions=sessions, clock=clock),
        ],
        exception_handlers={HTTPException: pages.failed, Transient: pages.failed},
    )
    site.state.feed = feed
    return site


def _reading(pages: Pages, deeds: Deeds, feed: Feed) -> list[Route | Mount]:
    return [
        Route("/", pages.worklist),
        Route("/studies/{study_instance_uid}", pages.study),
        Route("/login", deeds.login_page),
        Route("/accounts", deeds.accounts_page),
        Route("/digest", pages.digest),
        Route("/api/digest", pages.digest_json),
        Route("/api/worklist", pages.worklist_json),
        Route("/api/studies/{study_instance_uid}", pages.study_json),
        Route("/api/discrepancies", pages.discrepancies_json),
        Route("/api/events", feed.answer),
        Route("/api/session", deeds.session_json),
        Route("/healthz", pages.health),
        Mount("/static", StaticFiles(directory=_HERE / "static")),
    ]


def _writing(deeds: Deeds) -> list[Route]:
    both = {
        "/studies/{study_instance_uid}/acknowledge": deeds.acknowledge,
        "/studies/{study_instance_uid}/read": deeds.read,
        "/studies/{study_instance_uid}/feedback": deeds.feedback,
        "/discrepancies/{number:int}/close": deeds.close_discrepancy,
    }
    routes = [Route(f"{under}{path}", deed, methods=["POST"]) for path, deed in both.items() for under in ("", "/api")]
    return [
        *routes,
        Route("/login", deeds.login, methods=["POST"]),
        Route("/logout", deeds.logout, methods=["POST"]),
        Route("/accounts/{login}/unlock", deeds.unlock, methods=["POST"]),
    ]


async def _nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    """What stands behind an entrance that is only asked."""
