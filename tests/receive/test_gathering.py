"""Where the threads run that serve associations."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from pathlib import Path

import pytest

from node.receive import gathering
from node.receive.gathering import Gathering, idle_s
from node.receive.indexer import Indexer
from node.store.database import Database
from node.store.direct import Blocks, DirectFile
from node.store.spool import Spool
from tests.site import wait_until

EVERYWHERE = frozenset((0, 1, 2))


class Machine:
    """Three processors, what is asked of them, and how busy they are."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, processors: frozenset[int] = EVERYWHERE) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(processors))
        self.where: dict[int, frozenset[int]] = {}
        self.now_s = 0.0
        self.own_s = 0.0
        self.idle = dict.fromkeys(processors, 0.0)
        self.failing = False
        self.gathering = Gathering(put=self.put, idle=lambda: dict(self.idle), clock_s=self.clock, own_s=self.own)

    def put(self, thread: int, processors: Collection[int]) -> None:
        if self.failing:
            raise OSError(22, "Invalid argument")
        self.where[thread] = frozenset(processors)

    def clock(self) -> float:
        return self.now_s

    def own(self) -> float:
        return self.own_s

    def pass_by(self, busy: dict[int, float], own: float = 0.0, seconds: float = 0.25) -> None:
        """Let time pass in which each processor was busy for such a share of it, and this process used so much."""
        self.now_s += seconds
        self.own_s += own * seconds
        for each in self.idle:
            self.idle[each] += (1.0 - busy.get(each, 0.0)) * seconds
        self.gathering.look()


class Thread:
    """A thread that joins, and leaves when it is told."""

    def __init__(self, machine: Machine, *, association: bool = True) -> None:
        self._machine = machine
        self._leave, joined = threading.Event(), threading.Event()
        self.id = 0

        def run() -> None:
            self.id = threading.get_native_id()
            machine.gathering.join(association=association)
            joined.set()
            self._leave.wait(20)
            machine.gathering.leave()

        self._thread = threading.Thread(target=run)
        self._thread.start()
        joined.wait(20)

    @property
    def where(self) -> frozenset[int]:
        return self._machine.where[self.id]

    def end(self) -> None:
        self._leave.set()
        self._thread.join(20)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def test_one_association_runs_anywhere_and_two_share_the_quietest_processor(machine: Machine) -> None:
    machine.pass_by({0: 0.9, 1: 0.1, 2: 0.5})
    companion, first = Thread(machine, association=False), Thread(machine)
    assert machine.gathering.processor is None
    assert (companion.where, first.where) == (EVERYWHERE, EVERYWHERE)
    second = Thread(machine)
    assert [each.where for each in (companion, first, second)] == [{1}] * 3
    first.end()
    assert machine.gathering.processor is None
    assert [each.where for each in (companion, second)] == [EVERYWHERE] * 2
    for each in (companion, second):
        each.end()


def test_who_leaves_is_bound_no_more_and_is_never_touched_again(machine: Machine) -> None:
    threads = [Thread(machine) for _ in range(3)]
    gone = threads.pop()
    gone.end()
    assert gone.where == EVERYWHERE
    del machine.where[gone.id]
    for each in threads:
        each.end()
    assert gone.id not in machine.where


def test_a_newcomer_goes_where_the_others_are(machine: Machine) -> None:
    threads = [Thread(machine) for _ in range(2)]
    threads += [Thread(machine), Thread(machine, association=False)]
    assert {each.where for each in threads} == {frozenset((machine.gathering.processor,))}
    for each in threads:
        each.end()


def test_they_move_where_others_keep_their_processor_busy_and_only_where_it_is_much_better(machine: Machine) -> None:
    threads = [Thread(machine) for _ in range(2)]
    assert machine.gathering.processor == 2
    machine.pass_by({0: 0.9, 1: 0.8, 2: 1.0}, own=0.2)
    assert machine.gathering.processor == 2, "no better anywhere: 0.8 of our own is another's, and 0.8 of processor 1"
    machine.pass_by({0: 0.9, 1: 0.3, 2: 1.0}, own=0.2)
    assert machine.gathering.processor == 1
    assert {each.where for each in threads} == {frozenset((1,))}
    for each in threads:
        each.end()


def test_they_stay_where_they_alone_keep_their_processor_busy(machine: Machine) -> None:
    threads = [Thread(machine) for _ in range(2)]
    before = machine.gathering.processor
    for _ in range(5):
        machine.pass_by({2: 1.0}, own=0.95)
    assert machine.gathering.processor == before
    for each in threads:
        each.end()


def test_where_processors_cannot_be_chosen_nobody_is_bound(machine: Machine) -> None:
    threads = [Thread(machine)]
    machine.failing = True
    threads.append(Thread(machine))
    machine.failing = False
    machine.where.clear()
    machine.pass_by({})
    for each in threads:
        each.end()
    assert machine.where == {}


def test_a_machine_that_tells_no_times_gathers_all_the_same(machine: Machine) -> None:
    machine.idle.clear()
    threads = [Thread(machine) for _ in range(2)]
    machine.pass_by({})
    assert [each.where for each in threads] == [{2}, {2}]
    for each in threads:
        each.end()


def test_one_processor_needs_no_gathering(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, frozenset((0,)))
    threads = [Thread(machine) for _ in range(2)]
    machine.pass_by({0: 1.0})
    for each in threads:
        each.end()
    assert machine.where == {}


def test_idle_time_rises_on_every_processor_and_is_nothing_where_it_is_not_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert set(idle_s()) >= os.sched_getaffinity(0)
    assert all(seconds > 0 for seconds in idle_s().values())
    (tmp_path / "stat").write_text("cpu0 12 0 7\n")
    for statistics in (tmp_path / "stat", tmp_path / "none"):
        monkeypatch.setattr(gathering, "_STATISTICS", statistics)
        assert idle_s() == {}


needs_two = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor: there is nothing to choose")


@needs_two
def test_the_kernel_does_what_is_asked_and_the_main_thread_stays_free() -> None:
    real = Gathering()
    everywhere = os.sched_getaffinity(0)
    told: dict[str, set[int]] = {}
    inside, go, met = threading.Barrier(3), threading.Event(), threading.Barrier(3)

    def run(name: str) -> None:
        real.join(association=True)
        inside.wait(20)
        met.wait(20)
        told[name] = os.sched_getaffinity(0)
        go.wait(20)
        real.leave()
        told[f"{name} after"] = os.sched_getaffinity(0)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    inside.wait(20)
    met.wait(20)
    assert os.sched_getaffinity(0) == everywhere
    wait_until("both", lambda: len(told) >= 2)
    go.set()
    for thread in threads:
        thread.join()
    assert told["a"] == told["b"]
    assert len(told["a"]) == 1
    assert told["a after"] == told["b after"] == everywhere


@needs_two
def test_what_works_for_associations_is_gathered_with_them(tmp_path: Path, db: Database, spool: Spool) -> None:
    real = Gathering()
    blocks = Blocks(real.joined)
    file = DirectFile(tmp_path / "file", blocks)
    file.append(memoryview(bytes(3 << 20)))
    file.settle()
    indexer = Indexer(lambda: db, spool, real)
    wait_until("the threads", lambda: len(real._threads) >= 2)
    file.close()
    blocks.close()
    indexer.close(5.0)
    wait_until("their end", lambda: not real._threads)
