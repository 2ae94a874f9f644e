from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.config import Settings
from node.domain.retrieval import Purpose, RetrievalState
from node.receive.intakes import retrieved
from node.receive.intakes.retrieved import Taking
from node.receive.keeper import Keeper
from node.store import events, instances, retrievals
from node.store.database import Database
from node.store.inbox import Inbox, hand_over, new_part
from tests.receive.objects import STUDY, mr_slice, part10, settings_for
from tests.site import wait_until

ARCHIVE = {
    "name": "PACS", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": 4242, "roles": ["archive"],
}  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path / "var", ARCHIVE)


@pytest.fixture
def inbox(settings: Settings) -> Inbox:
    return Inbox(settings.data.folder)


@pytest.fixture
def taking(settings: Settings, keeper: Keeper) -> Iterator[Taking]:
    running = retrieved.start(settings, keeper)
    assert running is not None
    yield running
    running.stop(10)


@pytest.fixture
def retrieval(db: Database, keeper: Keeper) -> int:
    with db.transaction():
        made = retrievals.record(db, keeper.clock.now(), STUDY, "PACS", Purpose.ASKED)
        retrievals.move(db, keeper.clock.now(), made.id, RetrievalState.RETRIEVING)
    return made.id


def leave(inbox: Inbox, retrieval_id: int, content: bytes) -> None:
    part = new_part(inbox.folder_of(retrieval_id))
    part.write_bytes(content)
    hand_over(part)


def taken(inbox: Inbox, keeper: Keeper) -> None:
    wait_until("the inbox to be empty", lambda: not list(inbox.waiting()), limit_s=30)
    assert keeper.settle()


def test_what_was_fetched_is_kept_as_the_archives_and_as_retrieved(
    taking: Taking, inbox: Inbox, retrieval: int, db: Database, keeper: Keeper
) -> None:
    for number in range(1, 4):
        leave(inbox, retrieval, part10(mr_slice(number)))
    taken(inbox, keeper)
    held = instances.of_study(db, STUDY)
    assert [each.source for each in held] == ["PACS"] * 3
    assert all(each.retrieved for each in held)


def test_an_object_that_is_refused_is_removed_and_told_of(
    taking: Taking, inbox: Inbox, retrieval: int, db: Database, keeper: Keeper
) -> None:
    leave(inbox, retrieval, part10(mr_slice(1))[:-700])
    leave(inbox, retrieval, b"rubbish")
    leave(inbox, retrieval, b"")
    leave(inbox, retrieval, part10(mr_slice(2)))
    taken(inbox, keeper)
    assert len(instances.of_study(db, STUDY)) == 1
    told = [event for event in events.of_study(db, STUDY) if event.after == "refused"]
    assert len(told) == 3
    assert all("an object of PACS: 0xC" in event.reason for event in told)


def test_what_nobody_asked_for_any_more_is_removed(
    taking: Taking, inbox: Inbox, retrieval: int, db: Database, keeper: Keeper
) -> None:
    with db.transaction():
        retrievals.move(db, keeper.clock.now(), retrieval, RetrievalState.FAILED, "over")
    leave(inbox, retrieval, part10(mr_slice(1)))
    leave(inbox, 99, part10(mr_slice(2)))
    taken(inbox, keeper)
    assert instances.of_study(db) == []


def test_what_is_still_being_written_is_not_looked_at(
    taking: Taking, inbox: Inbox, retrieval: int, db: Database, keeper: Keeper
) -> None:
    leave(inbox, retrieval, part10(mr_slice(2)))
    half = new_part(inbox.folder_of(retrieval))
    half.write_bytes(part10(mr_slice(1))[:500])
    taken(inbox, keeper)
    assert half.exists()
    assert len(instances.of_study(db, STUDY)) == 1


def test_a_disk_that_fails_makes_it_wait_and_loses_nothing(
    settings: Settings, keeper: Keeper, inbox: Inbox, retrieval: int, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = threading.Event()
    failing.set()
    receive = keeper.receive

    def fails(*arguments: object, **named: object) -> object:
        if failing.is_set():
            raise OSError(28, os.strerror(28))
        return receive(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(keeper, "receive", fails)
    monkeypatch.setattr(retrieved, "_WAIT_S", 0.05)
    running = retrieved.start(settings, keeper)
    assert running is not None
    leave(inbox, retrieval, part10(mr_slice(1)))
    with pytest.raises(OSError, match="space"):
        running.take_all()
    assert len(list(inbox.waiting())) == 1
    failing.clear()
    taken(inbox, keeper)
    running.stop(10)
    assert len(instances.of_study(db, STUDY)) == 1


def test_a_site_without_archives_has_no_inbox(tmp_path: Path, keeper: Keeper) -> None:
    assert retrieved.start(settings_for(tmp_path / "other"), keeper) is None
