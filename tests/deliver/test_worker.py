"""The room as it runs: a process with a child a destination."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pynetdicom import evt

from node.deliver.worker import foreseen, hold_for_unknown
from node.domain.work import ResultState, WorkKind
from node.store import outbox, work_items
from node.store.database import Database
from tests.deliver.conftest import HANG, SEG, Pacs, dataset_bytes, queue_results, settings_for
from tests.fakes import STUDY, FakeClock
from tests.site import ROOT, free_port, wait_until

Start = Callable[..., Pacs]


class Room:
    """`python -m node deliver` on the test's data folder."""

    def __init__(self, folder: Path, ports: dict[str, int]) -> None:
        self.folder = folder
        for name in ("models", "rules"):
            (folder / name).mkdir(exist_ok=True)
        peers = [
            f'[[peers]]\nname = "{name}"\nae_title = "{name}"\nhost = "127.0.0.1"\nport = {port}\n'
            'roles = ["destination"]\n'
            for name, port in ports.items()
        ]
        (folder / "config.toml").write_text(
            "[deliver]\nconnect_s = 2\ndimse_s = 30\nbackoff_s = 0.2\nbackoff_maximum_s = 0.4\n"
            '[models.brain]\nmode = "live"\n[[peers]]\nname = "SCANNER"\nae_title = "SCANNER"\n'
            'addresses = ["127.0.0.1/32"]\nroles = ["source"]\n'
            f"results_to = {list(ports)}\n" + "".join(peers)
        )
        self.log = folder / "room.log"
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "node", "deliver", "--config", str(folder / "config.toml")]
            self.process = subprocess.Popen(command, stderr=log, stdout=log, cwd=ROOT, start_new_session=True)

    def children(self) -> list[int]:
        """Process ids of the children; the destination does not stand in their command line."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()]

    def end(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@pytest.fixture
def room(tmp_path: Path, db: Database) -> Iterator[Callable[..., Room]]:
    rooms: list[Room] = []

    def start(**ports: int) -> Room:
        rooms.append(Room(tmp_path, ports))
        return rooms[-1]

    yield start
    for each in rooms:
        each.end()
        print(each.log.read_text())


def states(db: Database, study: str = STUDY) -> list[ResultState]:
    return [row.state for row in outbox.of_study(db, study)]


def sent(db: Database, study: str = STUDY) -> Callable[[], bool]:
    return lambda: set(states(db, study)) == {ResultState.SENT}


def test_results_arrive_and_the_room_ends_in_good_order(
    db: Database, clock: FakeClock, pacs: Start, room: Callable[..., Room]
) -> None:
    archive = pacs()
    running = room(PACS=archive.port)
    queue_results(db, clock.now(), (1, 2))
    wait_until("the results", sent(db))
    assert [content for _, content in archive.received] == [
        dataset_bytes(db.folder / "results" / f"{number}.dcm") for number in (1, 2)
    ]
    children = running.children()
    assert len(children) == 1
    assert running.end() == 0
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)


def test_the_room_itself_loads_no_network_library(
    db: Database, clock: FakeClock, pacs: Start, room: Callable[..., Room]
) -> None:
    running = room(PACS=pacs().port)
    queue_results(db, clock.now())
    wait_until("the result", sent(db))
    program = "import sys, node.deliver.worker; sys.exit('pynetdicom' in sys.modules or 'pydicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0
    assert running.process.poll() is None


def test_a_destination_that_hangs_does_not_delay_another(
    db: Database, clock: FakeClock, pacs: Start, room: Callable[..., Room]
) -> None:
    hanging, healthy = pacs(HANG), pacs(title="PACS2")
    room(PACS=hanging.port, PACS2=healthy.port)
    queue_results(db, clock.now(), to=("PACS",))
    wait_until("the hanging destination to have it", lambda: hanging.received)
    queue_results(db, clock.now(), (2, 3), to=("PACS2",), study="1.2.3.2")
    wait_until("the results at the other", sent(db, "1.2.3.2"))
    assert states(db) == [ResultState.QUEUED]
    hanging.over.set()


def test_results_wait_for_a_destination_that_is_away_and_arrive_when_it_is_back(
    db: Database, clock: FakeClock, pacs: Start, room: Callable[..., Room]
) -> None:
    port = free_port()
    room(PACS=port)
    queue_results(db, clock.now(), (1, 2))
    wait_until("two tries", lambda: max(row.attempts for row in outbox.of_study(db, STUDY)) >= 2)
    assert "nobody answers" in " ".join(row.reason for row in outbox.of_study(db, STUDY))
    archive = pacs(port=port)
    wait_until("the results", sent(db))
    assert len(archive.received) == 2


def test_a_kill_between_answer_and_record_sends_the_same_bytes_again(
    db: Database, clock: FakeClock, pacs: Start, room: Callable[..., Room]
) -> None:
    def kill_the_sender(_event: evt.Event) -> int:
        (child,) = running.children()
        os.kill(child, signal.SIGKILL)
        return 0x0000

    archive = pacs(kill_the_sender, 0x0000)
    running = room(PACS=archive.port)
    queue_results(db, clock.now())
    wait_until("the result", sent(db))
    assert len(archive.received) == 2
    assert set(archive.received) == {(archive.received[0][0], dataset_bytes(db.folder / "results" / "1.dcm"))}
    (row,) = outbox.of_study(db, STUDY)
    assert row.attempts == 2


def test_the_children_end_with_a_killed_room_and_the_next_room_goes_on(
    db: Database, clock: FakeClock, pacs: Start, room: Callable[..., Room]
) -> None:
    archive = pacs(HANG, 0x0000)
    first = room(PACS=archive.port)
    queue_results(db, clock.now())
    wait_until("the object to be on its way", lambda: archive.received)
    (orphan,) = first.children()
    first.process.kill()
    first.process.wait(60)
    wait_until("the orphan's end", lambda: not Path(f"/proc/{orphan}").exists())
    assert states(db) == [ResultState.QUEUED]
    room(PACS=archive.port)
    wait_until("the result", sent(db))
    assert len(set(archive.received)) == 1


def test_rows_of_a_destination_that_is_no_longer_configured_are_held_with_the_remedy(
    db: Database, clock: FakeClock
) -> None:
    queue_results(db, clock.now(), to=("PACS", "GONE"))
    hold_for_unknown(db, clock, ["GONE"])
    rows = {row.destination: row for row in outbox.of_study(db, STUDY)}
    assert (rows["PACS"].state, rows["GONE"].state) == (ResultState.QUEUED, ResultState.HELD)
    assert "config.toml" in rows["GONE"].reason


def test_a_report_in_the_making_foretells_its_destinations(db: Database, clock: FakeClock) -> None:
    settings = settings_for(db, {"PACS": 4242})
    rows = queue_results(db, clock.now())
    assert foreseen(db, settings) == set()
    with db.transaction():
        work_items.add(db, clock.now(), WorkKind.REPORT, rows[0].outcome_id, STUDY)
    assert foreseen(db, settings) == {"PACS"}


@pytest.mark.interop
def test_dcmtk_receives_what_is_stored(
    db: Database, clock: FakeClock, room: Callable[..., Room], tmp_path: Path
) -> None:
    if shutil.which("storescp") is None:
        pytest.skip("no storescp: install Debian's dcmtk")
    port, folder = free_port(), tmp_path / "received"
    folder.mkdir()
    archive = subprocess.Popen(["storescp", "+B", "-od", str(folder), "-aet", "PACS", str(port)])
    try:
        room(PACS=port)
        queue_results(db, clock.now(), (1,))
        queue_results(db, clock.now(), (2,), sop_class=SEG, study="1.2.3.2", size=300_000)
        wait_until("the results", lambda: sent(db)() and sent(db, "1.2.3.2")())
    finally:
        archive.terminate()
        archive.wait(20)
    expected = {dataset_bytes(db.folder / "results" / f"{number}.dcm") for number in (1, 2)}
    assert {dataset_bytes(path) for path in folder.iterdir()} == expected
