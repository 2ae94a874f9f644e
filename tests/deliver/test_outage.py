"""A destination that is away for a night, and a sender that is killed again and again: nothing is lost or altered."""

from __future__ import annotations

import hashlib
import os
import signal
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from pynetdicom import evt

from node.deliver import destination
from node.deliver.carriage import Unreachable
from node.deliver.children import Children, Patience
from node.deliver.statuses import Answer, answer_of
from node.deliver.stored import StoredHeader
from node.domain.time import SystemClock
from node.domain.work import ResultState
from node.store import outbox
from node.store.capabilities import Capability
from node.store.database import Database
from tests.deliver.conftest import Pacs, dataset_bytes, queue_results, serving, settings_for
from tests.deliver.test_worker import Room
from tests.fakes import FakeClock
from tests.site import wait_until

Start = Callable[..., Pacs]
NIGHT_S = 10 * 3600.0
STUDIES = 12
KILLS = 5


def study_of(number: int) -> str:
    return f"1.2.3.{number}"


def order_by_urgency(db: Database) -> list[str]:
    """Three lanes, the later studies of each the more urgent ones; returns the SOP Instance UIDs in that order."""
    for number in range(1, STUDIES + 1):
        with db.transaction():
            db.execute(
                "UPDATE study SET lane_order = ?, sort_key = ? WHERE study_instance_uid = ?",
                (number % 3, float(number), study_of(number)),
            )
    numbers = sorted(range(1, STUDIES + 1), key=lambda number: (number % 3, -number))
    return [f"2.25.77.{number}" for number in numbers]


class Full:
    """A session with a destination that has no space."""

    learnt: Sequence[Capability] = ()

    def refusal(self, stored: StoredHeader) -> str:
        return ""

    def send(self, stored: StoredHeader, content: bytes, *, plainly: bool, limit_s: float) -> Answer:
        return answer_of(0xA700)


@contextmanager
def away(*_: object) -> Iterator[Full]:
    raise Unreachable("nobody answers")
    yield


@contextmanager
def full(*_: object) -> Iterator[Full]:
    yield Full()


@pytest.mark.parametrize("by_night", [away, full])
def test_after_a_night_away_everything_arrives_the_most_urgent_first(
    db: Database, clock: FakeClock, pacs: Start, monkeypatch: pytest.MonkeyPatch, by_night: object
) -> None:
    archive = pacs()
    settings = settings_for(db, {"PACS": archive.port}, backoff_s=5.0, backoff_maximum_s=300.0)
    sender = serving(db, clock, settings)
    dusk_s, queued, waits = clock.boottime_s, 0, []
    with monkeypatch.context() as night:
        night.setattr(destination, "opened", by_night)
        while clock.boottime_s < dusk_s + NIGHT_S:
            if queued < STUDIES and clock.boottime_s >= dusk_s + queued * NIGHT_S / STUDIES:
                queued += 1
                queue_results(db, clock.now(), (queued,), study=study_of(queued))
            if sender.step():
                row = db.row("SELECT max(not_before_boot_s) FROM outbox WHERE state = 'queued'")
                assert row is not None
                waits.append(row[0] - clock.boottime_s)
            clock.forward(30)
    assert queued == STUDIES
    assert max(waits) <= 300
    # Not a storm of attempts either: one every two minutes or so.
    assert NIGHT_S / 300 <= len(waits) <= NIGHT_S / 60
    expected = order_by_urgency(db)
    for _ in range(20):
        while sender.step():
            pass
        clock.forward(30)
    arrived = [uid for uid, _ in archive.received]
    assert sorted(arrived) == sorted(expected), "each once, none lost"
    # Whichever was tried when it came back is the first; the others by urgency.
    assert arrived[1:] == [uid for uid in expected if uid != arrived[0]]
    assert by_night is full or arrived == expected
    states = {row.state for number in range(1, STUDIES + 1) for row in outbox.of_study(db, study_of(number))}
    assert states == {ResultState.SENT}


@pytest.fixture
def room(tmp_path: Path, db: Database) -> Iterator[Callable[..., Room]]:
    rooms: list[Room] = []

    def start(**ports: int) -> Room:
        rooms.append(Room(tmp_path, ports))
        return rooms[-1]

    yield start
    for each in rooms:
        each.end()
        print(each.log.read_text()[-4000:])


def has_each_once_or_again_identical(db: Database, archive: Pacs, numbers: Sequence[int], killed: list[str]) -> None:
    digests = defaultdict(set)
    for uid, content in archive.received:
        digests[uid].add(hashlib.sha256(content).hexdigest())
    stored = {
        f"2.25.77.{number}": {hashlib.sha256(dataset_bytes(db.folder / "results" / f"{number}.dcm")).hexdigest()}
        for number in numbers
    }
    assert digests == stored
    twice = {uid for uid, count in Counter(uid for uid, _ in archive.received).items() if count > 1}
    assert twice <= set(killed), "only what was on its way at a kill came again"


def test_a_sender_that_is_killed_five_times_delivers_every_object_and_never_alters_one(
    db: Database, clock: FakeClock, pacs: Start
) -> None:
    killed: list[str] = []

    def kill(event: evt.Event) -> int:
        """Kill the sender of every second object, before it has its answer."""
        if len(killed) < KILLS and len(archive.received) % 2:
            killed.append(str(event.request.AffectedSOPInstanceUID))
            os.kill(children.running()["PACS"], signal.SIGKILL)
        return 0x0000

    archive = pacs(kill)
    numbers = range(1, 2 * KILLS + 1)
    queue_results(db, clock.now(), numbers)
    settings = settings_for(db, {"PACS": archive.port}, backoff_s=0.05, backoff_maximum_s=0.1)
    children = Children(
        db, SystemClock(), settings, patience=Patience(backoff_s=0.01, backoff_maximum_s=0.02, idle_s=600.0)
    )

    def all_sent() -> bool:
        children.look_after(["PACS"])
        return {row.state for row in outbox.of_study(db, "1.2.3.1")} == {ResultState.SENT}

    try:
        wait_until("every object", all_sent, limit_s=90.0)
    finally:
        children.drain()
    assert len(killed) == KILLS
    has_each_once_or_again_identical(db, archive, numbers, killed)


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_a_room_and_a_sender_that_are_killed_fifty_times_deliver_every_object_and_never_alter_one(
    db: Database, clock: FakeClock, pacs: Start, room: Callable[..., Room]
) -> None:
    killed: list[str] = []
    running: list[Room] = []

    def kill(event: evt.Event) -> int:
        """Kill the sender of every second object before it has its answer, and at every third kill the room too."""
        if len(killed) < 10 * KILLS and len(archive.received) % 2:
            for pid in running[-1].children():
                os.kill(pid, signal.SIGKILL)
            killed.append(str(event.request.AffectedSOPInstanceUID))
            if len(killed) % 3 == 0:
                running[-1].process.kill()
        return 0x0000

    archive = pacs(kill)
    numbers = range(1, 20 * KILLS + 1)
    queue_results(db, clock.now(), numbers)
    running.append(room(PACS=archive.port))

    def all_sent() -> bool:
        if running[-1].process.poll() is not None:
            running.append(room(PACS=archive.port))
        return {row.state for row in outbox.of_study(db, "1.2.3.1")} == {ResultState.SENT}

    wait_until("every object", all_sent, limit_s=1000.0)
    assert len(killed) == 10 * KILLS
    has_each_once_or_again_identical(db, archive, numbers, killed)
