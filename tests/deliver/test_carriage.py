"""What every kind of destination promises: there when it is sent, dead when refused, else the same bytes again."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pynetdicom import evt

from node.config import Settings
from node.deliver.destination import Destination
from node.domain.work import ResultState
from node.store import files, outbox
from node.store.database import Database
from tests.deliver.conftest import UID_ROOT, Pacs, dataset_bytes, queue_results, serving, settings_for
from tests.deliver.stow_service import StowService, about
from tests.fakes import SR, STUDY, FakeClock

Received = Callable[[], list[tuple[str, bytes]]]
#: What the destination does with the first object; later ones are taken.
Fault = str


def reached_by(settings: Settings, **changes: object) -> Settings:
    """The same settings, with the peer PACS reached otherwise."""
    peers = [peer.model_copy(update=changes) if peer.name == "PACS" else peer for peer in settings.peers]
    return settings.model_copy(update={"peers": tuple(peers)})


def hang_up(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)


class Destinations:
    """One destination of each kind that meets its first object with a fault."""

    def __init__(self, db: Database, clock: FakeClock, pacs: Callable[..., Pacs], patch: pytest.MonkeyPatch) -> None:
        self._db, self._clock, self._pacs, self._patch = db, clock, pacs, patch
        self.closing = ExitStack()

    def dicom(self, fault: Fault) -> tuple[Settings, Received]:
        def abort(event: evt.Event) -> int:
            event.assoc.abort()
            return 0x0000

        replies = {"": [0x0000], "refuses": [0xA900, 0x0000], "is busy": [0xA700, 0x0000], "is gone": [abort, 0x0000]}
        archive = self._pacs(*replies[fault])
        return settings_for(self._db, {"PACS": archive.port}), lambda: archive.received

    def stow(self, fault: Fault) -> tuple[Settings, Received]:
        good = (200, b"")
        answers = {
            "": [],
            "refuses": [(409, about(f"{UID_ROOT}.1", SR, failure=0xA900)), good],
            "is busy": [(503, b""), good],
            "is gone": [hang_up, good],
        }
        service = self.closing.enter_context(StowService(answers[fault]))  # type: ignore[arg-type]
        settings = settings_for(self._db, {"PACS": 1})
        return reached_by(settings, send_by="stow", dicomweb=service.address), lambda: service.received

    def folder(self, fault: Fault) -> tuple[Settings, Received]:
        folder = self._db.folder.parent / "outgoing"
        folder.mkdir()
        if fault == "refuses":
            (folder / f"{UID_ROOT}.1.dcm").write_bytes(b"of somebody else")
        faults = [fault]

        def write(path: Path, *content: bytes) -> None:
            met = faults.pop() if faults else ""
            if met == "is busy":
                raise OSError(errno.ENOSPC, "No space left on device")
            really(path, *content)
            if met == "is gone":
                raise OSError(errno.EIO, "Input/output error")

        really = files.write_durably
        self._patch.setattr(files, "write_durably", write)

        def received() -> list[tuple[str, bytes]]:
            found = [path for path in sorted(folder.iterdir()) if path.read_bytes()[128:132] == b"DICM"]
            return [(path.stem, dataset_bytes(path)) for path in found]

        settings = settings_for(self._db, {"PACS": 1})
        return reached_by(settings, send_by="folder", folder=folder), received


@pytest.fixture(params=["dicom", "stow", "folder"])
def destination(
    request: pytest.FixtureRequest,
    db: Database,
    clock: FakeClock,
    pacs: Callable[..., Pacs],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[Fault], tuple[Destination, Received]]]:
    """Queue two results and serve a destination of the kind."""
    made = Destinations(db, clock, pacs, monkeypatch)
    with made.closing:

        def start(fault: Fault) -> tuple[Destination, Received]:
            settings, received = getattr(made, request.param)(fault)
            queue_results(db, clock.now(), (1, 2))
            return serving(db, clock, settings), received

        yield start


Start = Callable[[Fault], tuple[Destination, Received]]


def states(db: Database) -> list[ResultState]:
    return [row.state for row in outbox.of_study(db, STUDY)]


def content(db: Database, number: int) -> tuple[str, bytes]:
    return f"{UID_ROOT}.{number}", dataset_bytes(db.folder / "results" / f"{number}.dcm")


def test_what_is_sent_is_there_as_it_was_stored(db: Database, destination: Start) -> None:
    sender, received = destination("")
    assert sender.step()
    assert states(db) == [ResultState.SENT, ResultState.SENT]
    assert received() == [content(db, 1), content(db, 2)]
    assert not sender.step()


def test_what_is_refused_is_dead_at_once_with_a_remedy_and_holds_up_nothing(db: Database, destination: Start) -> None:
    sender, received = destination("refuses")
    assert sender.step()
    assert states(db) == [ResultState.DEAD, ResultState.SENT]
    assert "`matins retry`" in outbox.of_study(db, STUDY)[0].reason
    assert content(db, 2) in received()
    assert not sender.step()


@pytest.mark.parametrize("fault", ["is busy", "is gone"])
def test_a_passing_fault_and_a_lost_answer_send_the_same_bytes_again(
    db: Database, clock: FakeClock, destination: Start, fault: Fault
) -> None:
    sender, received = destination(fault)
    assert sender.step()
    assert states(db) == [ResultState.QUEUED, ResultState.QUEUED]
    assert outbox.of_study(db, STUDY)[0].reason
    for _ in range(3):
        clock.forward(64)
        sender.step()
    assert states(db) == [ResultState.SENT, ResultState.SENT]
    assert set(received()) == {content(db, 1), content(db, 2)}
