"""The stream of changes (server-sent events, WHATWG HTML §9.2): one event a change, numbered, resumed without loss."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import StreamingResponse

from node.store import events
from node.store.database import Database
from node.store.events import NumberedEvent
from node.web.entrance import Caller

#: What moves → what a listener hears it called.
KINDS = {
    "rank": "place",
    "pin": "place",
    "wait": "place",
    "report_state": "report_state",
    "acknowledgement": "acknowledgement",
    "discrepancy": "discrepancy",
    "study": "state",
}
_LOOK_S = 0.5
#: Something is said at least so often, so that proxies and listeners know that the line stands.
HEARTBEAT_S = 15.0
#: Events that are read at once.
_BATCH = 500


class Feed:
    """Listeners, each at its own place among the events of the store: none holds up another."""

    def __init__(self, db: Database, most: int, lets_in: Callable[[Caller], bool]) -> None:
        self._db = db
        self._most = most
        self._lets_in = lets_in
        self._listeners = 0
        self._is_closed = False

    def close(self) -> None:
        """End every stream: the room ends."""
        self._is_closed = True

    async def answer(self, request: Request) -> StreamingResponse:
        """Stream what changes after `Last-Event-ID` (or `?after=`); else from now on.

        Raises:
            HTTPException: too many listen, or the number is none.
        """
        text = request.headers.get("last-event-id") or request.query_params.get("after", "")
        if text and not (text.isascii() and text.isdigit() and len(text) < 19):
            raise HTTPException(400, "Last-Event-ID is the number of an event.")
        if self._listeners >= self._most:
            raise HTTPException(503, "Too many listen already.", {"Retry-After": "30"})
        caller: Caller = request.state.caller
        return StreamingResponse(
            self.stream(int(text) if text else None, caller),
            media_type="text/event-stream",
            headers={"X-Accel-Buffering": "no"},
        )

    async def stream(self, after: int | None, caller: Caller) -> AsyncIterator[str]:
        """Hello, then one event a change, and a comment where nothing changes for long.

        A number that lies ahead is of a database that is no more: the listener hears `reset`, and reads the list anew.
        """
        self._listeners += 1
        try:
            newest = await run_in_threadpool(events.newest_number, self._db)
            is_known = after is None or after <= newest
            last = newest if after is None or not is_known else after
            yield f"retry: 3000\nid: {last}\nevent: {'hello' if is_known else 'reset'}\ndata: {{}}\n\n"
            async for text in self._changes(last, caller):
                yield text
        finally:
            self._listeners -= 1

    async def _changes(self, last: int, caller: Caller) -> AsyncIterator[str]:
        quiet_s = 0.0
        while not self._is_closed:
            newest = await run_in_threadpool(events.newest_number, self._db)
            if newest > last:
                found = await run_in_threadpool(events.after_number, self._db, last, tuple(KINDS), limit=_BATCH)
                for each in found:
                    yield _told(each)
                last = found[-1].number if len(found) == _BATCH else max(newest, found[-1].number if found else 0)
                quiet_s = 0.0 if found else quiet_s
                if len(found) == _BATCH:
                    continue
            await asyncio.sleep(_LOOK_S)
            quiet_s += _LOOK_S
            if quiet_s >= HEARTBEAT_S:
                quiet_s = 0.0
                if not await run_in_threadpool(self._lets_in, caller):
                    return
                yield f": still here\nid: {last}\n\n"


def _told(event: NumberedEvent) -> str:
    """One event; of the patient it says nothing, and why something moved stands in the list."""
    kind = KINDS[event.about]
    told = {
        "kind": kind,
        "study_instance_uid": event.study_instance_uid,
        "at": event.at,
        "before": event.before,
        "after": event.after,
    }
    return f"id: {event.number}\nevent: {kind}\ndata: {json.dumps(told, separators=(',', ':'))}\n\n"
