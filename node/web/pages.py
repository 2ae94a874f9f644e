"""The pages and their JSON twins. They read; all that is written is that somebody looked at a study."""

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
from node.domain.time import Clock
from node.errors import Transient
from node.store.database import Database
from node.web import wording
from node.web.guard import Guard, names_of
from node.workflow import retention
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

    def worklist(self, _request: Request) -> Response:
        """The worklist, the study to read first on top."""
        told = worklist_story(self._db, limit=_LONGEST_PAGE)
        return self._page("worklist.html", studies=told["studies"], total=told["total"])

    def study(self, request: Request) -> Response:
        """One study's story."""
        story = self._story(request)
        # What somebody looks at stays: it is the one thing that a page writes.
        retention.look(self._db, self._clock.now(), story["study_instance_uid"])
        return self._page("study.html", study=story)

    def worklist_json(self, _request: Request) -> Response:
        """As `matins worklist --json`."""
        return JSONResponse(worklist_story(self._db))

    def study_json(self, request: Request) -> Response:
        """As `matins show STUDY --json`."""
        return JSONResponse(self._story(request))

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
        if request.url.path.startswith("/api/"):
            return JSONResponse({"error": words}, status_code=code)
        return self._page("problem.html", status_code=code, words=words)

    def _story(self, request: Request) -> Story:
        told = study_story(self._db, request.path_params["study_instance_uid"])
        if told is None:
            raise HTTPException(404, "No such study is held here.")
        return told

    def _page(self, template: str, *, status_code: int = 200, **values: Any) -> Response:
        now: datetime = self._clock.now().wall
        node = self._settings.node.ae_title
        text = self._templates.get_template(template).render(now=now, node=node, **values)
        return HTMLResponse(text, status_code=status_code)


def application(db: Database, settings: Settings, clock: Clock) -> Starlette:
    """The whole site as one ASGI application."""
    pages = Pages(db, settings, clock)
    return Starlette(
        routes=[
            Route("/", pages.worklist),
            Route("/studies/{study_instance_uid}", pages.study),
            Route("/api/worklist", pages.worklist_json),
            Route("/api/studies/{study_instance_uid}", pages.study_json),
            Route("/healthz", pages.health),
            Mount("/static", StaticFiles(directory=_HERE / "static")),
        ],
        middleware=[Middleware(Guard, hosts=names_of(settings.web.address) | set(settings.web.names))],
        exception_handlers={HTTPException: pages.failed, Transient: pages.failed},
    )
