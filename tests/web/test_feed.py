"""The stream of changes: each once, in order, resumed without loss, ended with the room and with the session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from node.domain.report_state import ReportState
from node.store import events
from node.store.database import Database
from node.web import feed as module
from node.web.entrance import Caller
from node.web.feed import Feed
from node.workflow import acknowledging, reported
from node.workflow.story import worklist_story
from tests import told
from tests.commands.test_attending import asked
from tests.fakes import FakeClock
from tests.web.reader import Browser
from tests.web.test_login import Site

Night = tuple[Database, FakeClock, Feed]


@pytest.fixture
def night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Night]:
    monkeypatch.setattr(module, "_LOOK_S", 0.001)
    db, clock, _ = told.night(told.settings(tmp_path).data.folder)
    yield db, clock, Feed(db, 2, lambda _: True)
    db.close()


def parsed(text: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in text.strip().split("\n") if ": " in line)


async def some(stream: AsyncIterator[str], count: int) -> list[dict[str, str]]:
    """The next events of a stream, without what only says that it stands."""
    found: list[dict[str, str]] = []
    async for text in stream:
        each = parsed(text)
        if "event" in each:
            found.append(each)
        if len(found) == count:
            break
    return found


def test_a_listener_hears_each_change_once_with_its_number(night: Night) -> None:
    db, clock, feed = night

    async def listen() -> list[dict[str, str]]:
        stream = feed.stream(None, Caller())
        hello = await some(stream, 1)
        asked(db, clock)
        with db.transaction():
            events.record(db, clock.now(), "rank", "a rule", before="ROUTINE 0", after="STAT 9", study=told.READ)
            events.record(db, clock.now(), "work_item", "infer:1", after="ready", study=told.READ)
        acknowledging.acknowledge(db, clock.now(), told.READ, by="maria")
        heard = await some(stream, 2)
        await stream.aclose()  # type: ignore[attr-defined]
        return hello + heard

    hello, place, seen = asyncio.run(listen())
    assert hello["event"] == "hello"
    assert [place["event"], seen["event"]] == ["place", "acknowledgement"]
    assert int(hello["id"]) < int(place["id"]) < int(seen["id"])
    assert json.loads(seen["data"])["after"] == "acknowledged"
    assert json.loads(place["data"])["study_instance_uid"] == told.READ


def test_whoever_comes_back_hears_all_that_was_missed_and_nothing_twice(night: Night) -> None:
    db, clock, feed = night
    start = worklist_story(db)["event_number"]
    with db.transaction():
        for number in range(1100):
            events.record(db, clock.now(), "rank", "a rule", after=f"STAT {number}", study=told.READ)

    async def listen(after: int, count: int) -> list[dict[str, str]]:
        stream = feed.stream(after, Caller())
        heard = (await some(stream, count + 1))[1:]
        await stream.aclose()  # type: ignore[attr-defined]
        return heard

    first = asyncio.run(listen(start, 700))
    second = asyncio.run(listen(int(first[-1]["id"]), 400))
    assert [json.loads(each["data"])["after"] for each in (*first, *second)] == [f"STAT {n}" for n in range(1100)]


def test_a_number_of_a_database_that_is_no_more_is_told_to_begin_anew(night: Night) -> None:
    db, _, feed = night

    async def listen() -> dict[str, str]:
        stream = feed.stream(10**9, Caller())
        (first,) = await some(stream, 1)
        await stream.aclose()  # type: ignore[attr-defined]
        return first

    first = asyncio.run(listen())
    assert (first["event"], int(first["id"])) == ("reset", events.newest_number(db))


def test_nothing_of_the_patient_is_said(night: Night) -> None:
    db, clock, feed = night

    async def listen() -> str:
        stream = feed.stream(0, Caller())
        texts = [await anext(stream) for _ in range(5)]
        await stream.aclose()  # type: ignore[attr-defined]
        return "".join(texts)

    with db.transaction():
        events.record(db, clock.now(), "rank", "x", after="STAT 9", reason="CANARY takes warfarin", study=told.READ)
    text = asyncio.run(listen())
    for secret in ("Doe", "CANARY", "A-1", "P1", "alert("):
        assert secret not in text


def test_a_quiet_line_says_that_it_stands_and_ends_with_the_session(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_S", 0.002)
    db, _, _ = night
    answers = iter([True, True, False])
    feed = Feed(db, 2, lambda _: next(answers))

    async def listen() -> list[str]:
        return [text async for text in feed.stream(None, Caller())]

    _, *beats = asyncio.run(listen())
    assert [beat.split("\n")[0] for beat in beats] == [": still here", ": still here"]


def test_streams_end_with_the_room_and_no_more_listen_than_may(night: Night) -> None:
    _, _, feed = night

    async def listen() -> int:
        streams = [feed.stream(None, Caller()) for _ in range(2)]
        for stream in streams:
            await anext(stream)
        request = Request({"type": "http", "headers": [], "query_string": b"", "state": {"caller": Caller()}})
        with pytest.raises(HTTPException) as caught:
            await feed.answer(request)
        feed.close()
        assert [[text async for text in stream] for stream in streams] == [[], []]
        await feed.answer(request)
        return caught.value.status_code

    assert asyncio.run(listen()) == 503


def test_a_number_that_is_none_is_refused_and_the_stream_is_one(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.app.state.feed.close()
    browser = Browser(site.app)
    for wrong in ("-1", "x", "1" * 30, "²"):
        assert browser.get(f"/api/events?after={wrong}").status_code == 400
    answer = browser.get("/api/events", **{"Last-Event-ID": "1"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert parsed(answer.text)["event"] == "hello"
    site.db.close()


def test_a_report_is_told(night: Night) -> None:
    db, clock, feed = night
    rules = told.policy(told.model())

    async def listen() -> dict[str, str]:
        stream = feed.stream(None, Caller())
        await some(stream, 1)
        with db.transaction():
            reported.record(db, clock.now(), rules, told.READ, ReportState.FINAL, told_by="maria")
        (heard,) = await some(stream, 1)
        await stream.aclose()  # type: ignore[attr-defined]
        return heard

    heard = asyncio.run(listen())
    assert (heard["event"], json.loads(heard["data"])["after"]) == ("report_state", "final")
