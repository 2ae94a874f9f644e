from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from node.config import Settings
from node.domain.time import SystemClock
from node.errors import Refused
from node.receive.header import Header
from node.receive.keeper import LARGEST_IN_JOURNAL, Incoming, Keeper, Origin
from node.receive.part10 import read_meta
from node.store import events, instances
from node.store.database import Database
from node.store.segment import place_of
from node.store.spool import Spool
from tests.receive.objects import SERIES, encoded, mr_slice

SCANNER = Origin(source="SCANNER", sending_ae_title="SCANNER1", receiving_ae_title="MATINS")
PIECE = 30_000


def incoming(keeper: Keeper, origin: Origin = SCANNER, **said: object) -> Incoming:
    options = {"transfer_syntax_uid": str(ExplicitVRLittleEndian), "maximum_bytes": 1 << 30, **said}
    return keeper.receive(origin, **options)  # type: ignore[arg-type]


def keep(keeper: Keeper, content: bytes, origin: Origin = SCANNER, **said: object) -> bool:
    """Send the content in pieces, each from memory that is used again afterwards."""
    taken = incoming(keeper, origin, **said)
    for start in range(0, len(content), PIECE):
        piece = bytearray(content[start : start + PIECE])
        taken.write(memoryview(piece))
        piece[:] = bytes(len(piece))
    return taken.keep()


def large(number: int = 1, *, megabytes: int = 3, **changes: object) -> bytes:
    """A slice whose pixels alone are larger than what the journal takes."""
    side = int((megabytes * (1 << 20) / 2) ** 0.5) + 1
    pixels = np.random.default_rng(number).integers(0, 4096, (side, side), dtype=np.int16).tobytes()
    return encoded(mr_slice(number, Rows=side, Columns=side, PixelData=pixels, **changes))


def files(settings: Settings) -> list[str]:
    """All files of the spool but the journal's."""
    spool = settings.data.folder / "spool"
    return [path.name for path in spool.rglob("*") if path.is_file() and path.suffix != ".seg"]


def test_a_small_object_lies_in_the_journal_with_its_bytes_unchanged(keeper: Keeper, db: Database, spool: Spool):
    content = encoded(mr_slice())
    assert keep(keeper, content)
    assert keeper.settle()
    [held] = instances.of_study(db)
    assert place_of(held.path)
    assert (held.sop_instance_uid, held.source, held.state, held.size) == (
        *(f"{SERIES}.1", "SCANNER", "pending", len(content)),
    )
    whole = spool.read(held.path)
    meta = read_meta(whole)
    assert whole[meta.dataset_offset :] == content
    assert whole[:128] == bytes(128)
    assert (meta.sending_ae_title, meta.receiving_ae_title) == ("SCANNER1", "MATINS")


@pytest.mark.parametrize("over", [-1, 0, 1])
def test_an_object_at_the_limit_of_the_journal_is_kept_whole(keeper: Keeper, db: Database, spool: Spool, over: int):
    base = encoded(mr_slice(ImageComments="x"))
    wanted = LARGEST_IN_JOURNAL + 2 * over - len(base)
    content = encoded(mr_slice(ImageComments="x", PixelData=bytes(40 * 36 * 2 + wanted)))
    assert len(content) == LARGEST_IN_JOURNAL + 2 * over
    keep(keeper, content)
    keeper.settle()
    [held] = instances.of_study(db)
    assert bool(place_of(held.path)) is (over <= 0)
    whole = spool.read(held.path)
    assert whole[read_meta(whole).dataset_offset :] == content


def test_a_large_object_is_a_file_at_once_and_the_journal_names_it(
    keeper: Keeper, db: Database, spool: Spool, settings: Settings
):
    content = large()
    keep(keeper, content)
    keeper.settle()
    [held] = instances.of_study(db)
    assert place_of(held.path) is None
    whole = (settings.data.folder / held.path).read_bytes()
    meta = read_meta(whole)
    assert whole[meta.dataset_offset :] == content
    assert (meta.sending_ae_title, meta.transfer_syntax_uid) == ("SCANNER1", str(ExplicitVRLittleEndian))
    assert files(settings) == [Path(held.path).name]


def test_when_it_returns_object_name_and_folder_are_synced_and_no_row_was_waited_for(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch
):
    keep(keeper, encoded(mr_slice(1)))
    keeper.settle()
    steps: list[str] = []
    real = {"fsync": os.fsync, "fdatasync": os.fdatasync}
    real_link = Path.hardlink_to

    def told(name: str):  # type: ignore[no-untyped-def]
        def call(descriptor: int) -> None:
            file = Path(f"/proc/self/fd/{descriptor}").resolve()
            real[name](descriptor)
            steps.append(f"{name} {'folder' if file.is_dir() else file.suffix}")

        return call

    monkeypatch.setattr(os, "fsync", told("fsync"))
    monkeypatch.setattr(os, "fdatasync", told("fdatasync"))
    monkeypatch.setattr(Path, "hardlink_to", lambda self, target: (real_link(self, target), steps.append("named")))
    keep(keeper, encoded(mr_slice(2)))
    assert steps == ["fdatasync .seg"]
    steps.clear()
    keep(keeper, large(3))
    assert steps == ["fsync .tmp", "named", "fsync folder", "fdatasync .seg"]


def test_where_it_came_from_is_known_without_a_database(keeper: Keeper, spool: Spool, db: Database):
    keep(keeper, encoded(mr_slice(1)), Origin(source="ARCHIVE", sending_ae_title="A", retrieved=True))
    keep(keeper, encoded(mr_slice(2)), Origin(source="BROWSER"))
    keep(keeper, large(3), Origin(source="BROWSER"))
    keeper.settle()
    told = [read_meta(spool.read(each.path)).origin for each in instances.of_study(db)]
    assert ['"ARCHIVE"' in told[0], '"retrieved": true' in told[0]] == [True, True]
    assert ['"BROWSER"' in each for each in told[1:]] == [True, True]
    rows = db.rows("SELECT source, retrieved FROM instance ORDER BY id")
    assert [tuple(row) for row in rows] == [("ARCHIVE", 1), ("BROWSER", 0), ("BROWSER", 0)]


@pytest.mark.parametrize("content", [encoded(mr_slice()), large()])
def test_what_is_not_the_commands_is_refused_and_leaves_nothing(
    keeper: Keeper, db: Database, settings: Settings, content: bytes
):
    for said in ({"sop_instance_uid": "1.9"}, {"sop_class_uid": "1.9"}):
        with pytest.raises(Refused) as refused:
            keep(keeper, content, **said)
        assert refused.value.status == 0xA900
    with pytest.raises(Refused) as refused:
        keep(keeper, content[:-7])
    assert refused.value.status == 0xC000
    keeper.settle()
    assert (instances.of_study(db), files(settings)) == ([], [])


@pytest.mark.parametrize("content", [encoded(mr_slice()), large()])
def test_an_intake_sees_the_header_before_anything_is_kept_and_may_refuse_it(
    keeper: Keeper, db: Database, settings: Settings, content: bytes
):
    seen: list[str] = []

    def examine(header: Header) -> None:
        seen.append(header.sop_instance_uid)
        raise Refused(0xA900, "an instance of another study")

    with pytest.raises(Refused, match="another study"):
        keep(keeper, content, examine=examine)
    assert seen == [f"{SERIES}.1"]
    assert keeper.settle()
    assert (instances.of_study(db), files(settings)) == ([], [])


def test_a_deflated_or_empty_data_set_is_refused(keeper: Keeper):
    with pytest.raises(Refused, match="deflated"):
        keep(keeper, b"x", transfer_syntax_uid=str(DeflatedExplicitVRLittleEndian))
    with pytest.raises(Refused, match="empty"):
        keep(keeper, b"")


def test_an_object_over_the_limit_is_refused_before_it_has_come(keeper: Keeper, settings: Settings):
    taken = incoming(keeper, maximum_bytes=2 << 20)
    piece = memoryview(bytes(1 << 20))
    taken.write(piece)
    taken.write(piece)
    with pytest.raises(Refused) as refused:
        taken.write(piece[:1])
    assert refused.value.status == 0xA700
    taken.discard()
    taken.discard()
    assert files(settings) == []


def test_a_buffer_is_used_again_and_never_shows_the_bytes_of_the_object_before(
    keeper: Keeper, db: Database, spool: Spool
):
    contents = [encoded(mr_slice(1, PixelData=b"\xff" * 50_000)), encoded(mr_slice(2)), encoded(mr_slice(3))]
    for content in contents:
        keep(keeper, content)
    keeper.settle()
    assert len(keeper.buffers._spare) == 1
    for content, held in zip(contents, instances.of_study(db), strict=True):
        assert spool.read(held.path).endswith(content)
        assert held.size == len(content)


def test_the_same_bytes_again_make_no_row_no_event_and_no_work(keeper: Keeper, db: Database):
    small, big = encoded(mr_slice(1)), large(2)
    for content in (small, big):
        keep(keeper, content)
    keeper.settle()
    before = (db.rows("SELECT * FROM instance"), len(events.latest(db, "instance")), _items(db))
    for content in (small, big, small, big):
        keep(keeper, content)
    keeper.settle()
    assert (db.rows("SELECT * FROM instance"), len(events.latest(db, "instance")), _items(db)) == before


def test_the_same_large_bytes_from_another_sender_leave_one_file(keeper: Keeper, db: Database, settings: Settings):
    keep(keeper, large())
    keep(keeper, large(), Origin(source="ARCHIVE", sending_ae_title="ARCHIVE", receiving_ae_title="MATINS"))
    keeper.settle()
    [held] = instances.of_study(db, current_only=False)
    assert held.source == "SCANNER"
    assert files(settings) == [Path(held.path).name]


def test_other_bytes_under_the_same_uid_are_another_version(keeper: Keeper, db: Database):
    keep(keeper, encoded(mr_slice()))
    keep(keeper, encoded(mr_slice(PatientID="P2")))
    keep(keeper, large(PatientID="P3"))
    keeper.settle()
    assert [each.current for each in instances.of_study(db, current_only=False)] == [False, False, True]


def test_many_associations_at_once_lose_nothing(keeper: Keeper, db: Database, spool: Spool):
    contents = {f"{SERIES}.{number}": encoded(mr_slice(number, seed=number)) for number in range(1, 65)}

    def send(own: list[bytes]) -> None:
        for content in own:
            keep(keeper, content)

    everything = list(contents.values())
    threads = [threading.Thread(target=send, args=(everything[start::8],)) for start in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keeper.settle()
    held = {each.sop_instance_uid: spool.read(each.path) for each in instances.of_study(db)}
    assert held.keys() == contents.keys()
    assert all(held[uid].endswith(content) for uid, content in contents.items())


@pytest.mark.parametrize("content", [encoded(mr_slice()), large()])
def test_a_full_disk_leaves_nothing_and_the_next_object_is_kept_when_there_is_room(
    keeper: Keeper, db: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, content: bytes
):
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        for call in ("posix_fallocate", "pwrite", "pwritev", "fdatasync", "fsync"):
            disk.setattr(os, call, full)
        with pytest.raises(OSError, match="No space"):
            keep(keeper, content)
    keeper.settle()
    assert (instances.of_study(db), files(settings)) == ([], [])
    keep(keeper, content)
    keeper.settle()
    assert len(instances.of_study(db)) == 1


def test_a_keeper_that_is_closed_has_indexed_what_it_kept(db: Database, spool: Spool):
    keeper = Keeper(db, spool, SystemClock(), segment_bytes=4 << 20)
    for number in range(1, 300):
        keep(keeper, encoded(mr_slice(number)))
    keeper.close()
    assert len(instances.of_study(db)) == 299


def test_without_syncs_nothing_is_synced(db: Database, spool: Spool, monkeypatch: pytest.MonkeyPatch):
    keeper = Keeper(db, spool, SystemClock(), segment_bytes=4 << 20, sync=False)
    keep(keeper, encoded(mr_slice(1)))
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    monkeypatch.setattr(os, "fdatasync", synced.append)
    keep(keeper, encoded(mr_slice(2)))
    keep(keeper, large(3))
    keeper.close()
    assert synced == []
    assert len(instances.of_study(db)) == 3


def _items(db: Database) -> int:
    return len(db.rows("SELECT id FROM work_item"))
