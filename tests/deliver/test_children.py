from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from node.config import Settings
from node.deliver.children import Children, Patience
from node.deliver.lifeline import owner_of
from node.domain.work import ResultState
from node.store import outbox
from node.store.database import Database
from tests.deliver.conftest import queue_results, settings_for
from tests.fakes import STUDY, FakeClock
from tests.site import wait_until

PATIENCE = Patience(start_s=60, idle_s=3600, drain_s=60, backoff_s=0.01, backoff_maximum_s=0.02)
#: Stand-ins for the child: one that lives on, one that ends by itself, one that does not.
ALIVE = "import os, sys; os.write(1, b'3600\\n'); sys.stdin.buffer.read()"
DYING = "raise SystemExit(3)"
DEAF = "import pathlib, signal, time; signal.signal(15, signal.SIG_IGN); pathlib.Path({!r}).touch(); time.sleep(60)"

SILENT_FOR_PACS = """
import json, os, sys
name = json.loads(sys.stdin.readline())["destination"]
os.write(1, b"0\\n" if name == "PACS" else b"3600\\n")
sys.stdin.read()
"""

Make = Callable[..., Children]


@pytest.fixture
def settings(db: Database) -> Settings:
    return settings_for(db, {"PACS": 4242, "PACS2": 4243})


@pytest.fixture
def make(db: Database, clock: FakeClock, settings: Settings) -> Iterator[Make]:
    made: list[Children] = []

    def children(program: str | Sequence[str], patience: Patience = PATIENCE) -> Children:
        command = (sys.executable, "-c", program) if isinstance(program, str) else program
        made.append(Children(db, clock, settings, patience=patience, command=command))
        return made[-1]

    yield children
    for each in made:
        for pid in each.running().values():
            os.kill(pid, signal.SIGKILL)
        each.drain()


def test_one_child_a_destination_is_started_when_it_is_needed(make: Make) -> None:
    children = make(ALIVE)
    children.look_after([])
    assert children.running() == {}
    children.look_after(["PACS"])
    children.look_after(["PACS", "PACS2"])
    first = children.running()
    assert set(first) == {"PACS", "PACS2"}
    children.look_after(["PACS"])
    assert children.running() == first


def test_a_silent_child_is_killed_and_replaced_and_the_other_goes_on(make: Make, tmp_path: Path) -> None:
    program = tmp_path / "child.py"
    program.write_text(SILENT_FOR_PACS)
    children = make((sys.executable, str(program)))
    children.look_after(["PACS", "PACS2"])
    before = children.running()

    def replaced() -> bool:
        children.look_after(["PACS", "PACS2"])
        return children.running().get("PACS") not in (None, before["PACS"])

    wait_until("another child", replaced)
    assert children.running()["PACS2"] == before["PACS2"]


def test_what_a_dead_child_held_waits_with_the_reason_and_is_counted(
    make: Make, db: Database, clock: FakeClock
) -> None:
    children = make(ALIVE)
    children.look_after(["PACS"])
    pid = children.running()["PACS"]
    queue_results(db, clock.now(), (1, 2))
    assert len(outbox.claim(db, clock.now(), "PACS", owner_of(pid), 900, limit=1)) == 1
    os.kill(pid, signal.SIGKILL)

    def buried() -> bool:
        children.look_after([])
        return not children.running()

    wait_until("the burial", buried)
    held, other = outbox.of_study(db, STUDY)
    assert (held.state, held.owner, held.attempts) == (ResultState.QUEUED, "", 1)
    assert "killed by SIGKILL" in held.reason
    assert (other.reason, other.attempts) == ("", 0)
    assert [row.id for row in outbox.claim(db, clock.now(), "PACS", "x", 900, limit=9)] == [other.id]
    clock.forward(4)
    assert [row.id for row in outbox.claim(db, clock.now(), "PACS", "x", 900, limit=9)] == [held.id]


def test_a_child_that_cannot_live_is_started_again_later_each_time(make: Make) -> None:
    children = make(DYING, Patience(backoff_s=3600, backoff_maximum_s=7200))
    children.look_after(["PACS"])

    def dead() -> bool:
        children.look_after(["PACS"])
        return not children.running()

    wait_until("the death", dead)
    for _ in range(3):
        children.look_after(["PACS"])
        assert children.running() == {}


def test_a_child_without_rows_is_ended_in_good_order(make: Make) -> None:
    children = make(ALIVE, Patience(idle_s=0.0, backoff_s=3600, backoff_maximum_s=3600))
    children.look_after(["PACS"])

    def ended() -> bool:
        children.look_after([])
        return not children.running()

    wait_until("the end", ended)
    children.look_after(["PACS"])
    assert set(children.running()) == {"PACS"}, "an orderly end is no death: it starts again at once"


def test_a_drain_kills_what_does_not_end_in_time(make: Make, tmp_path: Path) -> None:
    deaf = tmp_path / "deaf"
    children = make(DEAF.format(str(deaf)), Patience(drain_s=0.3))
    children.look_after(["PACS"])
    wait_until("a child that hears no SIGTERM", deaf.exists)
    children.drain()
    assert children.running() == {}


def test_a_command_that_is_not_there_ends_nothing(make: Make) -> None:
    children = make(("/nonexistent/python",))
    children.look_after(["PACS"])
    assert children.running() == {}
