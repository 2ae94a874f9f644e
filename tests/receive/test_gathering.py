"""Where the threads run that serve associations."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from node.receive import gathering
from node.receive.gathering import Gathering, idle_s, used_s
from node.receive.indexer import Indexer
from node.store.database import Database
from node.store.direct import Blocks, DirectFile
from node.store.spool import Spool
from tests.site import wait_until

EVERYWHERE = frozenset((0, 1, 2))


class Machine:
    """Three processors, what is asked of them, and how busy they are."""

    def __init__(self, processors: frozenset[int] = EVERYWHERE) -> None:
        self.processors = processors
        self.where: dict[int, frozenset[int]] = {}
        self.puts = 0
        self.now_s = 0.0
        self.used: dict[int, float] = {}
        self.idle = dict.fromkeys(processors, 0.0)
        self.failing: Exception | None = None
        self.gathering = Gathering(
            put=self.put,
            allowed=lambda _: self.where.get(threading.get_native_id(), self.processors),
            idle=lambda: dict(self.idle),
            used=lambda threads: {each: self.used.get(each, 0.0) for each in threads},
            clock_s=lambda: self.now_s,
        )

    def put(self, thread: int, processors: Collection[int]) -> None:
        self.puts += 1
        if self.failing is not None and len(processors) == 1:
            raise self.failing
        self.where[thread] = frozenset(processors)

    def pass_by(self, busy: dict[int, float], *, used: dict[Thread, float] | None = None) -> None:
        """Let time pass in which each processor was busy for such a share of it, and threads used so much of it."""
        self.gathering.look()
        self.now_s += 0.25
        for thread, share in (used or {}).items():
            self.used[thread.id] = self.used.get(thread.id, 0.0) + share * 0.25
        for each in self.idle:
            self.idle[each] += (1.0 - busy.get(each, 0.0)) * 0.25
        self.gathering.look()


class Thread:
    """A thread that joins, and leaves when it is told."""

    def __init__(self, machine: Machine, *, association: bool = True) -> None:
        self._machine = machine
        self._leave, joined = threading.Event(), threading.Event()
        self.id = 0

        def run() -> None:
            self.id = threading.get_native_id()
            # The kernel may give a new thread the number of one that has ended.
            machine.where.pop(self.id, None)
            machine.gathering.join(association=association)
            joined.set()
            self._leave.wait(20)
            machine.gathering.leave()

        self._thread = threading.Thread(target=run)
        self._thread.start()
        assert joined.wait(20)

    @property
    def where(self) -> frozenset[int]:
        return self._machine.where.get(self.id, self._machine.processors)

    def end(self) -> None:
        self._leave.set()
        self._thread.join(20)


@pytest.fixture
def machine() -> Machine:
    return Machine()


@pytest.fixture
def threads() -> Iterator[list[Thread]]:
    made: list[Thread] = []
    yield made
    for each in made:
        each.end()


def test_one_association_runs_anywhere_and_two_share_the_quietest_processor(
    machine: Machine, threads: list[Thread]
) -> None:
    threads += [Thread(machine, association=False), Thread(machine)]
    machine.pass_by({0: 0.9, 1: 0.5, 2: 0.1})
    assert machine.gathering.processor is None
    assert machine.puts == 0, "nobody has to be put where he is"
    threads.append(Thread(machine))
    assert [each.where for each in threads] == [{2}] * 3
    threads.pop().end()
    assert machine.gathering.processor is None
    assert [each.where for each in threads] == [EVERYWHERE] * 2


def test_who_leaves_is_bound_no_more_and_is_never_touched_again(machine: Machine, threads: list[Thread]) -> None:
    threads += [Thread(machine) for _ in range(2)]
    gone = Thread(machine)
    gone.end()
    assert gone.where == EVERYWHERE
    del machine.where[gone.id]
    threads.pop().end()
    assert gone.id not in machine.where


def test_a_newcomer_goes_where_the_others_are(machine: Machine, threads: list[Thread]) -> None:
    threads += [Thread(machine), Thread(machine), Thread(machine), Thread(machine, association=False)]
    assert {each.where for each in threads} == {frozenset((1,))}


def test_a_thread_that_a_bound_one_has_started_is_set_free_with_the_others(
    machine: Machine, threads: list[Thread]
) -> None:
    machine.gathering.join()
    machine.where[threading.get_native_id()] = frozenset((1,))
    machine.gathering.join()
    assert machine.where[threading.get_native_id()] == EVERYWHERE
    machine.gathering.leave()


def test_they_move_where_others_keep_their_processor_busy_and_only_where_it_is_much_better(
    machine: Machine, threads: list[Thread]
) -> None:
    threads += [Thread(machine) for _ in range(2)]
    assert machine.gathering.processor == 1
    machine.pass_by({0: 0.9, 1: 1.0, 2: 0.8}, used={threads[0]: 0.1, threads[1]: 0.1})
    assert machine.gathering.processor == 1, "no better anywhere: others have 0.8 of ours, and 0.8 of another"
    machine.pass_by({0: 0.9, 1: 1.0, 2: 0.3}, used={threads[0]: 0.1, threads[1]: 0.1})
    assert machine.gathering.processor == 2
    assert [each.where for each in threads] == [{2}, {2}]


def test_they_stay_where_they_alone_keep_their_processor_busy(machine: Machine, threads: list[Thread]) -> None:
    threads += [Thread(machine) for _ in range(2)]
    for _ in range(5):
        machine.pass_by({1: 1.0}, used={threads[0]: 0.45, threads[1]: 0.5})
    assert machine.gathering.processor == 1


def test_a_processor_of_which_nothing_is_told_is_not_chosen(machine: Machine, threads: list[Thread]) -> None:
    threads += [Thread(machine) for _ in range(2)]
    del machine.idle[0]
    machine.pass_by({1: 1.0, 2: 0.1})
    assert machine.gathering.processor == 2


def test_processors_that_are_taken_away_or_given_count_from_then_on(machine: Machine, threads: list[Thread]) -> None:
    threads += [Thread(machine) for _ in range(2)]
    machine.processors = frozenset((0, 2))
    machine.pass_by({})
    assert [each.where for each in threads] == [{2}, {2}]
    threads.pop().end()
    machine.processors = frozenset((0, 1, 2, 3))
    machine.pass_by({})
    assert threads[0].where == {0, 1, 2, 3}


def test_where_processors_cannot_be_chosen_nobody_is_bound(machine: Machine, threads: list[Thread]) -> None:
    threads += [Thread(machine) for _ in range(2)]
    machine.failing = PermissionError(1, "Operation not permitted")
    threads.append(Thread(machine))
    assert machine.gathering.processor is None
    assert [each.where for each in threads] == [EVERYWHERE] * 3
    machine.failing = None
    threads.append(Thread(machine))
    machine.pass_by({})
    assert threads[3].where == EVERYWHERE


def test_a_thread_that_ended_without_a_word_is_forgotten(machine: Machine, threads: list[Thread]) -> None:
    threads += [Thread(machine), Thread(machine, association=False)]
    machine.failing = ProcessLookupError(3, "No such process")
    threads.append(Thread(machine))
    machine.failing = None
    threads += [Thread(machine) for _ in range(2)]
    assert [each.where for each in threads[3:]] == [{1}, {1}]


def test_a_machine_that_tells_no_times_gathers_all_the_same(machine: Machine, threads: list[Thread]) -> None:
    machine.idle.clear()
    threads += [Thread(machine) for _ in range(2)]
    machine.pass_by({})
    assert [each.where for each in threads] == [{1}, {1}]


def test_one_processor_needs_no_gathering(threads: list[Thread]) -> None:
    machine = Machine(frozenset((0,)))
    threads += [Thread(machine) for _ in range(2)]
    machine.pass_by({0: 1.0})
    assert machine.puts == 0


def test_idle_time_is_read_per_processor_and_is_nothing_where_it_is_not_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told = tmp_path / "stat"
    monkeypatch.setattr(gathering, "_STATISTICS", told)
    assert idle_s() == {}
    told.write_text("cpu 9 9 9 9 9 9 9 9 9 9\ncpu0 12 0 7\n")
    assert idle_s() == {}
    told.write_text("cpu 9 9 9 9 9\ncpu0 1 2 3 400 50 6 7 8 9 10\ncpu3 1 2 3 100 0 6 7 8 9 10\nintr 1 2 3\ncpu9 1\n")
    tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
    assert idle_s() == pytest.approx({0: 450 * tick_s, 3: 100 * tick_s})


def test_of_threads_those_are_told_that_there_are() -> None:
    began_s = time.thread_time()
    while time.thread_time() - began_s < 0.05:
        sum(range(1000))
    own = threading.get_native_id()
    found = used_s([own, 0])
    assert set(found) == {own}
    assert found[own] == pytest.approx(time.thread_time(), abs=0.05)


needs_two = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor: there is nothing to choose")


@needs_two
def test_the_kernel_does_what_is_asked_and_the_main_thread_stays_free() -> None:
    real = Gathering()
    everywhere = os.sched_getaffinity(0)
    told: dict[str, set[int]] = {}
    inside, go = threading.Barrier(3), threading.Event()

    def run(name: str) -> None:
        real.join(association=True)
        inside.wait(20)
        told[name] = os.sched_getaffinity(0)
        go.wait(20)
        real.leave()
        told[f"{name} after"] = os.sched_getaffinity(0)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    inside.wait(20)
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
    indexer = Indexer(lambda: db, spool, real.joined)
    wait_until("the threads", lambda: len(real._threads) >= 2)
    file.close()
    blocks.close()
    indexer.close(5.0)
    wait_until("their end", lambda: not real._threads)
