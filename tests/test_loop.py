from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.domain.work import WorkKind, WorkState
from node.errors import Failed, MatinsError, Transient
from node.loop import Handling, Herald, Stop, guarded, run, work_step
from node.store import work_items
from node.store.database import Database, open_database
from node.store.work_items import WorkItem
from tests.fakes import STUDY, FakeClock, arrive, slice_of


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "var", "test")
    arrive(database, FakeClock().now(), slice_of(1))
    with database.transaction():
        work_items.add(database, FakeClock().now(), WorkKind.INFER, 7, STUDY)
    yield database
    database.close()


def test_a_commit_elsewhere_wakes_an_idle_loop(db: Database) -> None:
    stop, asleep, steps = Stop(), threading.Event(), []

    def step() -> bool:
        steps.append(1)
        if len(steps) == 2:
            stop.set()
        asleep.set()
        return False

    thread = threading.Thread(target=run, args=(db, step, stop, Herald()), kwargs={"fallback_s": 3600.0})
    thread.start()
    assert asleep.wait(20)
    other = open_database(db.folder, "other")
    with other.transaction():
        work_items.add(other, FakeClock().now(), WorkKind.INFER, 8, STUDY)
    thread.join(20)
    assert not thread.is_alive()
    other.close()


@pytest.mark.parametrize("fault", [Transient("busy"), ZeroDivisionError("oops")])
def test_no_fault_ends_a_room(db: Database, fault: Exception) -> None:
    stop, steps = Stop(), []

    def step() -> bool:
        steps.append(1)
        if len(steps) == 3:
            stop.set()
            return False
        raise fault

    run(db, step, stop, Herald())
    assert len(steps) == 3


def handling(db: Database, error: Exception | None, seen: list[str]) -> Handling:
    clock = FakeClock()

    def handle(item: WorkItem) -> None:
        if error:
            raise error
        with db.transaction():
            work_items.finish(db, clock.now(), item)

    def reject(item: WorkItem, error: MatinsError) -> None:
        seen.append(f"rejected {error}")
        work_items.park(db, clock.now(), item, str(error))

    def died(item: WorkItem, reason: str) -> None:
        seen.append(f"died {reason}")
        work_items.give_up_or_retry(db, clock.now(), item, reason)

    return Handling(kind=WorkKind.INFER, owner="infer:1", lease_s=30, handle=handle, reject=reject, died=died)


@pytest.mark.parametrize(
    ("error", "seen", "state"),
    [
        (None, [], WorkState.FINISHED),
        (Failed("NaN"), ["rejected NaN"], WorkState.PARKED),
        (Transient("disk full"), [], WorkState.READY),
        (KeyError("x"), ["died KeyError: 'x'"], WorkState.READY),
    ],
)
def test_each_kind_of_error_has_its_end(
    db: Database, error: Exception | None, seen: list[str], state: WorkState
) -> None:
    noted: list[str] = []
    step = work_step(db, FakeClock(), handling(db, error, noted))
    assert step()
    assert noted == seen
    assert work_items.state(db, WorkKind.INFER, 7) is state
    assert not step()


def test_a_faulty_beat_does_not_end_the_scheduler() -> None:
    def beat() -> None:
        raise ZeroDivisionError

    guarded(beat)()


def test_a_status_in_any_script_reaches_the_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        herald = Herald()
        herald.ready("sends → PACS")
        assert supervisor.recv(4096) == b"READY=1\nSTATUS=sends ? PACS"
        herald.stopping()
        assert supervisor.recv(4096) == b"STOPPING=1"
