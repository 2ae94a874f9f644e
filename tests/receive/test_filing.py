from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from node.config import Settings
from node.domain.time import SystemClock
from node.domain.work import WorkKind
from node.errors import Failed, Transient
from node.receive.filing import Leftovers, filed
from node.receive.keeper import Keeper, Origin
from node.receive.part10 import read_meta
from node.receive.recover import rebuild
from node.store import instances, work_items
from node.store.database import Database
from node.store.segment import Use, name_of, place_of, record_at, use_of
from node.store.spool import Spool
from tests.receive.objects import encoded, mr_slice

CLOCK = SystemClock()


def keep(keeper: Keeper, *numbers: int, **changes: object) -> None:
    for number in numbers:
        taken = keeper.receive(
            Origin(source="SCANNER", sending_ae_title="SCANNER1"),
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            maximum_bytes=1 << 30,
        )
        taken.write(memoryview(encoded(mr_slice(number, **changes))))  # type: ignore[arg-type]
        taken.keep()
    assert keeper.settle()


def file_all(db: Database, spool: Spool) -> list[str]:
    """File what lies in the journal, as the describing process does; return the paths."""
    held = instances.of_study(db, current_only=False)
    paths = filed(spool, held)
    with db.transaction():
        for row, path in paths.items():
            assert isinstance(path, str)
            instances.move(db, row, path)
    return [str(paths[each.id]) for each in held]


def damage(settings: Settings, path: str) -> None:
    place = place_of(path)
    assert place is not None
    with (settings.data.folder / "spool" / "journal" / f"{place[0]:08d}.seg").open("r+b") as stream:
        stream.seek(place[1] + 2000)
        stream.write(b"\xff" * 8)


def test_an_object_of_the_journal_becomes_the_same_file(keeper: Keeper, db: Database, spool: Spool, settings: Settings):
    keep(keeper, 1, 2, 3)
    before = [spool.read(each.path) for each in instances.of_study(db)]
    received = [each.received_at for each in instances.of_study(db)]
    paths = file_all(db, spool)
    assert [(settings.data.folder / path).read_bytes() for path in paths] == before
    assert all(place_of(path) is None for path in paths)
    assert sorted(spool.objects()) == sorted(paths)
    times = [(settings.data.folder / path).stat().st_mtime for path in paths]
    assert times == sorted(times)
    assert len(received) == 3


def test_files_are_synced_before_they_are_named_and_their_folders_after(
    keeper: Keeper, db: Database, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    keep(keeper, 1, 2)
    steps: list[str] = []
    real_sync, real_link = os.fsync, Path.hardlink_to

    def fsync(descriptor: int) -> None:
        real_sync(descriptor)
        steps.append("folder" if Path(f"/proc/self/fd/{descriptor}").resolve().is_dir() else "file")

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "hardlink_to", lambda self, target: (real_link(self, target), steps.append("named")))
    filed(spool, instances.of_study(db))
    assert steps[:4] == ["file", "file", "named", "named"]
    assert set(steps[4:]) == {"folder"}


def test_a_filing_that_was_cut_short_is_done_again_and_leaves_one_file(keeper: Keeper, db: Database, spool: Spool):
    keep(keeper, 1, 2)
    first = filed(spool, instances.of_study(db))
    # Killed before the rows said so.
    assert filed(spool, instances.of_study(db)) == first
    assert len(list(spool.objects())) == 2


def test_a_full_disk_leaves_nothing_half_written_and_is_a_passing_fault(
    keeper: Keeper, db: Database, spool: Spool, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    keep(keeper, 1, 2)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "fsync", full)
        with pytest.raises(Transient, match="No space left"):
            filed(spool, instances.of_study(db))
    assert list(spool.objects()) == []
    assert list((settings.data.folder / "spool" / "incoming").iterdir()) == []
    assert len(file_all(db, spool)) == 2


def test_a_damaged_record_costs_itself_alone(keeper: Keeper, db: Database, spool: Spool, settings: Settings):
    keep(keeper, 1, 2, 3)
    held = instances.of_study(db)
    damage(settings, held[1].path)
    paths = filed(spool, held)
    assert [isinstance(paths[each.id], Failed) for each in held] == [False, True, False]


def test_a_segment_that_is_gone_costs_only_what_lay_in_it(keeper: Keeper, db: Database, spool: Spool):
    keep(keeper, 1, 2)
    first, second = instances.of_study(db)
    lost = replace(first, path=first.path.replace("00000001.seg", "00000099.seg"))
    paths = filed(spool, [lost, second])
    assert [isinstance(paths[each.id], Failed) for each in (first, second)] == [True, False]


def test_no_object_is_filed_in_the_place_of_another(
    keeper: Keeper, db: Database, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    keep(keeper, 1, 2)
    first, second = instances.of_study(db)
    # The row of a database that was put back: its number has come again, for others.
    stale = replace(first, path=second.path)
    assert isinstance(filed(spool, [stale])[first.id], Failed)
    with pytest.raises(Failed, match="another object"):
        spool.read(f"{first.path}0")
    # A new use begins between the look at the first block and the reading.
    uses = iter((Use(1, b"a" * 16), Use(2, b"b" * 16)))
    descriptor, use, at = _opened(spool, first.path)
    real = record_at(descriptor, use, at)
    os.close(descriptor)
    monkeypatch.setattr("node.store.spool.use_of", lambda _: next(uses))
    monkeypatch.setattr("node.store.spool.record_at", lambda *_: real)
    with pytest.raises(Failed, match="another object"):
        spool.read(first.path)


def _opened(spool: Spool, path: str) -> tuple[int, Use, int]:
    place = place_of(path)
    assert place is not None
    descriptor = os.open(spool.folder / "spool" / "journal" / name_of(place[0]), os.O_RDONLY)
    use = use_of(descriptor)
    assert use is not None
    return descriptor, use, place[1]


def test_a_rebuild_beside_describing_takes_no_file_that_a_row_is_about_to_name(
    keeper: Keeper, db: Database, spool: Spool, settings: Settings
):
    keep(keeper, 1)
    [held] = instances.of_study(db)
    path = filed(spool, [held])[held.id]
    rebuild(db, spool, settings)
    with db.transaction():
        instances.move(db, held.id, str(path))
    assert spool.holds(str(path))


def test_what_nobody_describes_is_filed_too(keeper: Keeper, db: Database, spool: Spool):
    keep(keeper, 1, 2, 3)
    items = work_items.claim(db, CLOCK.now(), WorkKind.DESCRIBE, "describe:1", 30, limit=2)
    with db.transaction():
        for item in items:
            work_items.park(db, CLOCK.now(), item, "no")
    leftovers = Leftovers()
    assert leftovers.file(db, spool, limit=64)
    assert [bool(place_of(each.path)) for each in instances.of_study(db)] == [False, False, True]
    assert not leftovers.file(db, spool, limit=64)


def test_what_cannot_be_filed_is_not_tried_again_and_again(
    keeper: Keeper, db: Database, spool: Spool, settings: Settings
):
    keep(keeper, 1)
    damage(settings, instances.of_study(db)[0].path)
    db.execute("DELETE FROM work_item")
    leftovers = Leftovers()
    assert leftovers.file(db, spool, limit=64)
    assert not leftovers.file(db, spool, limit=64)


def test_the_filed_objects_are_enough_to_make_the_index_again(
    keeper: Keeper, db: Database, spool: Spool, settings: Settings
):
    keep(keeper, 1, 2)
    keep(keeper, 1, PatientID="P2")
    file_all(db, spool)

    def told() -> list[tuple[object, ...]]:
        held = instances.of_study(db, current_only=False)
        return sorted((each.sop_instance_uid, each.digest, each.path, each.source, each.current) for each in held)

    before = told()
    db.execute("DELETE FROM work_item")
    db.execute("DELETE FROM instance")
    for file in (settings.data.folder / "spool" / "journal").iterdir():
        file.unlink()
    assert rebuild(db, spool, settings).indexed == 3
    assert told() == before
    assert read_meta(spool.read(instances.of_study(db)[0].path)).sending_ae_title == "SCANNER1"
