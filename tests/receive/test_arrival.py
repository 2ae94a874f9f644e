from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
)

from node.config import Settings
from node.domain.time import SystemClock
from node.errors import Refused
from node.receive.arrival import Received, arrive, has_room
from node.receive.header import walk
from node.receive.part10 import read_meta
from node.receive.syntaxes import is_lossy
from node.store import arrivals, instances
from node.store.database import Database
from node.store.spool import Spool
from tests.receive.objects import SERIES, compressed, encoded, mr_slice

CLOCK = SystemClock()


def received(content: bytes, syntax: str = ExplicitVRLittleEndian, **changes: str) -> Received:
    return Received(content=content, transfer_syntax_uid=str(syntax), source="SCANNER", **changes)  # type: ignore[arg-type]


def files(settings: Settings) -> list[Path]:
    return [path for path in (settings.data.folder / "spool").rglob("*") if path.is_file()]


def test_an_object_is_kept_byte_by_byte_and_indexed(db: Database, spool: Spool, settings: Settings):
    content = encoded(mr_slice())
    assert arrive(db, spool, CLOCK, received(content, sending_ae_title="SCANNER1", receiving_ae_title="MATINS"))
    [held] = instances.of_study(db)
    assert (held.sop_instance_uid, held.source, held.state) == (f"{SERIES}.1", "SCANNER", "pending")
    whole = (settings.data.folder / held.path).read_bytes()
    meta = read_meta(whole)
    assert whole[meta.dataset_offset :] == content
    assert (meta.sending_ae_title, meta.receiving_ae_title) == ("SCANNER1", "MATINS")


def test_the_row_is_committed_only_after_object_and_folder_are_synced(
    db: Database, spool: Spool, monkeypatch: pytest.MonkeyPatch
):
    arrive(db, spool, CLOCK, received(encoded(mr_slice(1))))
    steps: list[str] = []
    real_fsync, real_link, real_record = os.fsync, Path.hardlink_to, arrivals.record_arrival

    def fsync(descriptor: int) -> None:
        folder = Path(f"/proc/self/fd/{descriptor}").resolve().is_dir()
        real_fsync(descriptor)
        steps.append("folder synced" if folder else "object synced")

    def link(self: Path, target: Path) -> None:
        steps.append("named")
        real_link(self, target)

    def record(*arguments: object) -> bool:
        steps.append("row written")
        return real_record(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "hardlink_to", link)
    monkeypatch.setattr(arrivals, "record_arrival", record)
    # Another version: its folder is there already.
    arrive(db, spool, CLOCK, received(encoded(mr_slice(1, PatientID="P2"))))
    assert steps == ["object synced", "named", "folder synced", "row written"]


def test_the_same_bytes_again_are_held_already_and_stored_once(db: Database, spool: Spool, settings: Settings):
    content = encoded(mr_slice())
    assert arrive(db, spool, CLOCK, received(content))
    before = {path: path.stat().st_ino for path in files(settings)}
    assert not arrive(db, spool, CLOCK, received(content))
    assert {path: path.stat().st_ino for path in files(settings)} == before
    assert len(before) == 1


def test_held_bytes_whose_file_is_gone_are_kept_again(db: Database, spool: Spool, settings: Settings):
    content = encoded(mr_slice())
    arrive(db, spool, CLOCK, received(content))
    [file] = files(settings)
    file.unlink()
    assert not arrive(db, spool, CLOCK, received(content))
    assert files(settings) == [file]


def test_other_bytes_under_the_same_uid_are_another_version(db: Database, spool: Spool):
    assert arrive(db, spool, CLOCK, received(encoded(mr_slice())))
    assert arrive(db, spool, CLOCK, received(encoded(mr_slice(PatientID="P2"))))
    versions = instances.of_study(db, current_only=False)
    assert [each.current for each in versions] == [False, True]


def test_a_lossy_copy_does_not_replace_a_lossless_one(db: Database, spool: Spool):
    arrive(db, spool, CLOCK, received(encoded(mr_slice())))
    arrive(db, spool, CLOCK, received(encoded(mr_slice(LossyImageCompression="01"))))
    assert [each.current for each in instances.of_study(db, current_only=False)] == [True, False]


def test_many_at_once_with_one_uid_are_all_kept_and_stored_once(db: Database, spool: Spool, settings: Settings):
    content, outcomes, start = encoded(mr_slice()), [], threading.Barrier(8)

    def send() -> None:
        start.wait()
        outcomes.append(arrive(db, spool, CLOCK, received(content)))

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == [False] * 7 + [True]
    assert len(files(settings)) == 1


@pytest.mark.parametrize(
    ("changes", "status"),
    [({"sop_instance_uid": "1.9"}, 0xA900), ({"sop_class_uid": "1.9"}, 0xA900)],
)
def test_a_data_set_that_is_not_the_commands_is_refused(
    db: Database, spool: Spool, settings: Settings, changes: dict[str, str], status: int
):
    with pytest.raises(Refused) as refused:
        arrive(db, spool, CLOCK, received(encoded(mr_slice()), **changes))
    assert refused.value.status == status
    assert files(settings) == []


def test_a_deflated_or_empty_data_set_is_refused(db: Database, spool: Spool):
    with pytest.raises(Refused, match="deflated"):
        arrive(db, spool, CLOCK, received(b"x", DeflatedExplicitVRLittleEndian))
    with pytest.raises(Refused, match="empty"):
        arrive(db, spool, CLOCK, received(b""))


def test_a_full_disk_leaves_no_row_and_no_file(
    db: Database, spool: Spool, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        arrive(db, spool, CLOCK, received(encoded(mr_slice())))
    assert (instances.of_study(db), files(settings)) == ([], [])


def test_the_reserve_of_the_disk_is_watched(tmp_path: Path):
    assert has_room(tmp_path, 0.0)
    assert not has_room(tmp_path, 99.999)


@pytest.mark.parametrize(
    ("syntax", "said", "lossy"),
    [
        (ExplicitVRLittleEndian, "", False),
        (ExplicitVRLittleEndian, "00", False),
        (ExplicitVRLittleEndian, "01", True),
        (RLELossless, "", False),
        (JPEG2000Lossless, "", False),
        (JPEG2000, "", True),
        (JPEG2000, "00", False),
        (JPEGBaseline8Bit, "00", True),
        ("1.2.840.10008.1.2.4.102.1", "", True),
        ("1.2.840.10008.1.2.4.110", "", False),
    ],
)
def test_loss_is_told_by_syntax_and_object(syntax: str, said: str, lossy: bool):
    assert is_lossy(str(syntax), said) is lossy


def test_a_compressed_object_is_kept_as_it_came(db: Database, spool: Spool, settings: Settings):
    content = encoded(compressed(mr_slice(), RLELossless), RLELossless)
    assert arrive(db, spool, CLOCK, received(content, RLELossless))
    [file] = files(settings)
    assert file.read_bytes().endswith(content)
    assert walk(content, str(RLELossless)).sop_instance_uid == f"{SERIES}.1"
