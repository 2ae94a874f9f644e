from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage

from node.config import Settings
from node.domain.time import SystemClock
from node.domain.work import WorkKind
from node.errors import Transient
from node.loop import Stop
from node.receive.arrival import Received, arrive
from node.receive.describe import describe_step, stand_behind_answers
from node.receive.intakes.folder import import_paths
from node.receive.protocol import Answer, Job
from node.receive.reader import HeaderReader
from node.store import events, instances, work_items
from node.store.database import Database
from node.store.spool import Spool
from tests.receive.objects import SERIES, STUDY, encoded, mr_slice
from tests.receive.test_fields import rejection_note

CLOCK = SystemClock()


@pytest.fixture(scope="module")
def reader() -> Iterator[HeaderReader]:
    with HeaderReader(1 << 30, 10.0) as running:
        yield running


def receive(db: Database, spool: Spool, number: int, *, source: str = "SCANNER", **changes: object) -> None:
    content = encoded(mr_slice(number, **changes), ImplicitVRLittleEndian)  # type: ignore[arg-type]
    received = Received(content=content, transfer_syntax_uid=str(ImplicitVRLittleEndian), source=source)
    arrive(db, spool, CLOCK, received)


def states(db: Database) -> dict[str, int]:
    rows = db.rows("SELECT state, count(*) AS number FROM work_item WHERE kind = 'describe' GROUP BY state")
    return {row["state"]: row["number"] for row in rows}


class DyingReader(HeaderReader):
    """Answers one job, then its child starts no more."""

    def __init__(self) -> None:
        super().__init__(1 << 30, 10.0)

    def read(self, jobs):  # type: ignore[no-untyped-def, override]
        yield Answer(id=jobs[0].id, undescribable="too odd")
        raise Transient("the describing child does not start")


class StoppingReader(HeaderReader):
    """Asks the room to end once it has answered one job."""

    def __init__(self, stop: Stop) -> None:
        super().__init__(1 << 30, 10.0)
        self._stop = stop

    def read(self, jobs):  # type: ignore[no-untyped-def, override]
        for job in jobs:
            assert isinstance(job, Job)
            self._stop.set()
            yield Answer(id=job.id, undescribable="too odd")


def test_every_instance_gets_its_typed_header(db: Database, spool: Spool, settings: Settings, reader: HeaderReader):
    for number in range(1, 4):
        receive(db, spool, number)
    step = describe_step(db, CLOCK, settings, reader, Stop())
    assert step()
    assert not step()
    held = instances.of_study(db)
    assert [each.instance.instance_number for each in held if each.instance] == [1, 2, 3]
    assert {each.state for each in held} == {"described"}
    assert all(each.content_digest and each.instance and each.instance.patient.issuer == "A" for each in held)
    assert all(each.instance and each.instance.transfer_syntax_uid == ImplicitVRLittleEndian for each in held)
    assert states(db) == {"finished": 3}


def test_what_was_imported_has_no_peers_issuer(db: Database, spool: Spool, settings: Settings, reader: HeaderReader):
    receive(db, spool, 1, source="import")
    describe_step(db, CLOCK, settings, reader, Stop())()
    [held] = instances.of_study(db)
    assert held.instance is not None
    assert held.instance.patient.issuer == ""


def test_a_rejection_note_takes_effect_as_it_is_described_whichever_comes_first(
    db: Database, spool: Spool, settings: Settings, reader: HeaderReader
):
    step = describe_step(db, CLOCK, settings, reader, Stop())
    for number in (1, 2, 3):
        receive(db, spool, number)
        if number == 2:
            content = encoded(rejection_note(references=[(STUDY, f"{SERIES}.{each}") for each in (2, 3)]))
            received = Received(content=content, transfer_syntax_uid=str(ExplicitVRLittleEndian), source="SCANNER")
            arrive(db, spool, CLOCK, received)
        while step():
            pass
    images = [each for each in instances.of_study(db) if each.sop_class_uid == MRImageStorage]
    assert [(each.readable, each.rejected) for each in images] == [(True, ""), (False, "113001"), (False, "113001")]
    [note] = [each for each in instances.of_study(db) if each not in images]
    assert note.instance is not None
    assert note.instance.rejects is not None
    assert note.instance.rejects.references == ()


def test_what_our_equipment_made_is_not_readable(db: Database, spool: Spool, settings: Settings, reader: HeaderReader):
    receive(db, spool, 1, ManufacturerModelName="Matins")
    receive(db, spool, 2)
    describe_step(db, CLOCK, settings, reader, Stop())()
    assert [each.readable for each in instances.of_study(db)] == [False, True]


def test_a_file_that_cannot_be_read_is_undescribable_with_the_reason(
    db: Database, spool: Spool, settings: Settings, reader: HeaderReader
):
    receive(db, spool, 1)
    receive(db, spool, 2)
    first = instances.of_study(db)[0]
    (settings.data.folder / first.path).write_bytes(b"junk" * 100)
    describe_step(db, CLOCK, settings, reader, Stop())()
    assert [each.state for each in instances.of_study(db)] == ["undescribable", "described"]
    assert "no DICOM file" in instances.of_study(db)[0].reason
    assert [event.after for event in events.latest(db, "instance")] == ["undescribable"]


def test_a_child_that_does_not_start_gives_the_rest_back(db: Database, spool: Spool, settings: Settings):
    for number in range(1, 4):
        receive(db, spool, number)
    with pytest.raises(Transient):
        describe_step(db, CLOCK, settings, DyingReader(), Stop())()
    assert states(db) == {"ready": 3}
    assert [row["attempts"] for row in db.rows("SELECT attempts FROM work_item")] == [0, 0, 0]


def test_a_room_that_ends_gives_back_what_it_has_not_reached(db: Database, spool: Spool, settings: Settings):
    for number in range(1, 4):
        receive(db, spool, number)
    stop = Stop()
    describe_step(db, CLOCK, settings, StoppingReader(stop), stop)()
    assert states(db) == {"finished": 1, "ready": 2}
    assert len(work_items.claim(db, CLOCK.now(), WorkKind.DESCRIBE, "describe:2", 30, limit=9)) == 2


def test_an_item_that_was_taken_meanwhile_is_not_written(
    db: Database, spool: Spool, settings: Settings, reader: HeaderReader, monkeypatch: pytest.MonkeyPatch
):
    receive(db, spool, 1)
    real = work_items.claim

    def claim_and_lose(*arguments: object, **more: object) -> object:
        items = real(*arguments, **more)  # type: ignore[arg-type]
        db.execute("UPDATE work_item SET attempts = attempts + 1")
        return items

    monkeypatch.setattr(work_items, "claim", claim_and_lose)
    describe_step(db, CLOCK, settings, reader, Stop())()
    assert [each.state for each in instances.of_study(db)] == ["pending"]


def test_odd_objects_are_described_or_undescribable_and_none_ends_the_child(
    db: Database, spool: Spool, settings: Settings, reader: HeaderReader, test_data: Path
):
    counts = import_paths(db, spool, settings, [test_data / "dicom" / "pydicom-data"])
    assert counts.kept >= 69
    child = reader._child
    step = describe_step(db, CLOCK, settings, reader, Stop())
    while step():
        pass
    assert reader._child is child
    held = instances.of_study(db, current_only=False)
    assert {each.state for each in held} <= {"described", "undescribable"}
    assert sum(each.state == "described" for each in held) >= counts.kept - 1
    with_pixels = [each.instance.pixels for each in held if each.instance and each.instance.pixels]
    assert len(with_pixels) >= 60
    undecodable = [pixels.undecodable for pixels in with_pixels if pixels.undecodable]
    assert len(undecodable) <= 8, undecodable


def test_a_sandbox_that_fixes_priorities_stops_no_describing(monkeypatch: pytest.MonkeyPatch):
    def refused(_increment: int) -> int:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "nice", refused)
    stand_behind_answers()
