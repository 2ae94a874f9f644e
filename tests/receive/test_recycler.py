from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from node.config import Settings
from node.domain.time import SystemClock
from node.receive import recycler as recycler_module
from node.receive.keeper import Keeper, Origin
from node.receive.recover import reconcile
from node.receive.recycler import Recycler, free_drained
from node.store import checkpoint, instances
from node.store.database import Database, open_database
from node.store.segments import SPARES, numbered, read_use
from node.store.spool import Spool
from tests.receive.objects import SERIES, encoded, mr_slice
from tests.receive.test_filing import file_all

CLOCK = SystemClock()
SMALL = 1 << 20


@pytest.fixture
def keeper(db: Database, spool: Spool):  # type: ignore[no-untyped-def]
    """A keeper whose segments are full after a handful of objects."""
    made = Keeper(db, spool, CLOCK, segment_bytes=SMALL + 8192)
    yield made
    made.close()


def content(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 4096, (300, 300), dtype=np.int16).tobytes()
    return encoded(mr_slice(number, Rows=300, Columns=300, PixelData=pixels))


def keep(keeper: Keeper, *numbers: int) -> None:
    for number in numbers:
        taken = keeper.receive(
            Origin(source="SCANNER", sending_ae_title="SCANNER1"),
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            maximum_bytes=1 << 30,
        )
        taken.write(memoryview(content(number)))
        taken.keep()
    assert keeper.settle()


def segments(db: Database) -> list[int]:
    return [number for number, _ in numbered(db.folder)]


def test_a_segment_is_freed_once_everything_in_it_is_indexed_and_filed(keeper: Keeper, db: Database, spool: Spool):
    keep(keeper, *range(1, 13))
    assert segments(db) == [1, 2, 3]
    assert free_drained(db, keeper.open()) == 0
    file_all(db, spool)
    assert free_drained(db, keeper.open()) == 2
    assert segments(db) == [3]
    assert free_drained(db, keeper.open()) == 0


def test_the_last_segment_goes_too_once_it_is_sealed_and_read_to_its_end(
    keeper: Keeper, db: Database, spool: Spool, settings: Settings
):
    keep(keeper, *range(1, 13))
    file_all(db, spool)
    keeper.close()
    following = Keeper(db, spool, CLOCK, segment_bytes=SMALL + 8192)
    assert free_drained(db, following.open()) == 3
    assert segments(db) == []
    assert reconcile(db, spool, settings).objects == 0
    keep(following, 13)
    assert segments(db) == [4]
    # Killed before the rows of the new segment were durable.
    with db.transaction():
        before = checkpoint.before(4)
        checkpoint.write(db, before.use, before.offset)
    assert reconcile(db, spool, settings).objects == 1
    assert len(instances.of_study(db)) == 13
    following.close()


def test_a_full_disk_is_left_by_draining_what_fills_it(
    keeper: Keeper, db: Database, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    keep(keeper, *range(1, 4))
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        keep(keeper, *range(4, 20))
    keeper.settle()
    file_all(db, spool)
    assert free_drained(db, keeper.open()) == 1
    keep(keeper, 21)
    assert spool.read(instances.of_study(db)[-1].path).endswith(content(21))


def test_one_object_that_is_not_filed_keeps_its_segment(keeper: Keeper, db: Database, spool: Spool):
    keep(keeper, *range(1, 13))
    kept = instances.of_study(db)[1]
    file_all(db, spool)
    with db.transaction():
        instances.move(db, kept.id, kept.path)
    assert free_drained(db, keeper.open()) == 1
    assert segments(db) == [1, 3]
    assert spool.read(kept.path).endswith(content(2))


def test_what_is_not_indexed_keeps_its_segment_and_all_behind_it(keeper: Keeper, db: Database, spool: Spool):
    keep(keeper, *range(1, 13))
    file_all(db, spool)
    reached = checkpoint.read(db)
    assert reached is not None
    with db.transaction():
        checkpoint.write(db, reached.use._replace(number=2), 0)
    assert free_drained(db, keeper.open()) == 1
    assert segments(db) == [2, 3]
    # Not even where its own nonce says that it is read, while there is a record behind.
    with db.transaction():
        checkpoint.write(db, read_use(dict(numbered(db.folder))[2]), 0)  # type: ignore[arg-type]
    assert free_drained(db, keeper.open()) == 0


def test_the_rows_are_synced_before_the_segment_is_given_back(
    keeper: Keeper, db: Database, spool: Spool, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    keep(keeper, *range(1, 13))
    file_all(db, spool)
    steps: list[str] = []
    durable = open_database(settings.data.folder, "listen")
    durable._connection.set_trace_callback(lambda sql: steps.append(sql.split()[0]))
    real = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, to: (steps.append("renamed"), real(self, to))[1])
    assert free_drained(durable, keeper.open()) == 2
    assert steps[-4:] == ["INSERT", "COMMIT", "renamed", "renamed"]
    assert durable.row("PRAGMA synchronous")[0] == 2  # type: ignore[index]
    durable.close()


def test_recycling_under_load_loses_nothing(keeper: Keeper, db: Database, spool: Spool, settings: Settings):
    for round_ in range(6):
        keep(keeper, *range(10 * round_ + 1, 10 * round_ + 11))
        file_all(db, spool)
        free_drained(db, keeper.open())
    assert len(segments(db)) <= 3
    held = {each.sop_instance_uid: spool.read(each.path) for each in instances.of_study(db)}
    assert set(held) == {f"{SERIES}.{number}" for number in range(1, 61)}
    assert all(held[f"{SERIES}.{number}"].endswith(content(number)) for number in range(1, 61))
    # Killed now: what lies in segments that were used before is not read again.
    assert reconcile(db, spool, settings).objects == 0
    with db.transaction():
        checkpoint.write(db, checkpoint.read(db).use, 0)  # type: ignore[union-attr]
    again = reconcile(db, spool, settings)
    assert (again.indexed, again.unreadable) == (0, ())


def test_the_thread_keeps_spares_ready_and_frees_what_is_drained(
    keeper: Keeper, db: Database, spool: Spool, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recycler_module, "_PERIOD_S", 0.01)
    keep(keeper, *range(1, 13))
    file_all(db, spool)
    recycler = Recycler(keeper.open(), lambda: open_database(settings.data.folder, "listen"))
    while segments(db) != [3] or keeper.open().spares() < SPARES:
        assert recycler._thread.is_alive()
        recycler._closing.wait(0.01)
    recycler.close()
    assert not recycler._thread.is_alive()


def test_a_disk_without_room_for_a_spare_does_not_end_the_thread(
    keeper: Keeper, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recycler_module, "_PERIOD_S", 0.01)
    tried: list[int] = []

    def full(descriptor: int, pieces: object, offset: int) -> int:
        tried.append(offset)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(os, "pwritev", full)
        recycler = Recycler(keeper.open(), lambda: open_database(settings.data.folder, "listen"))
        while len(tried) < 3:
            recycler._closing.wait(0.01)
    while keeper.open().spares() < SPARES:
        assert recycler._thread.is_alive()
        recycler._closing.wait(0.01)
    recycler.close()


def test_on_a_disk_that_is_nearly_full_nothing_is_written_ahead_of_what_comes(
    keeper: Keeper, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recycler_module, "_PERIOD_S", 0.01)
    segments, asked = keeper.open(), threading.Event()
    found = os.statvfs(settings.data.folder)
    fields = list(found)
    fields[4] = 2 * segments.segment_bytes // found.f_frsize - 1  # f_bavail

    def nearly_full(_folder: Path) -> os.statvfs_result:
        asked.set()
        return os.statvfs_result(fields)

    monkeypatch.setattr(os, "statvfs", nearly_full)
    recycler = Recycler(segments, lambda: open_database(settings.data.folder, "listen"))
    assert asked.wait(30)
    recycler.close()
    assert segments.spares() == 0


def test_while_much_arrives_nothing_is_written_ahead(
    keeper: Keeper, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recycler_module, "_PERIOD_S", 0.01)
    asked: list[int] = []

    def is_rush() -> bool:
        asked.append(segments.spares())
        return len(asked) < 4

    segments = keeper.open()
    recycler = Recycler(segments, lambda: open_database(settings.data.folder, "listen"), is_rush=is_rush)
    while segments.spares() < SPARES:
        assert recycler._thread.is_alive()
        recycler._closing.wait(0.01)
    recycler.close()
    assert asked[:4] == [0, 0, 0, 0]


def test_in_a_rush_that_lasts_what_is_needed_is_written_all_the_same(
    keeper: Keeper, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(recycler_module, "_PERIOD_S", 0.01)
    monkeypatch.setattr(recycler_module, "LONGEST_S", 0.02)
    segments = keeper.open()
    recycler = Recycler(
        segments, lambda: open_database(settings.data.folder, "listen"), spares=SPARES + 2, is_rush=lambda: True
    )
    while segments.spares() < SPARES:
        assert recycler._thread.is_alive()
        recycler._closing.wait(0.01)
    recycler._closing.wait(0.1)
    recycler.close()
    assert segments.spares() == SPARES
