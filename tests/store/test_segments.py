from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from node.store.segment import begin, name_of
from node.store.segments import Segments, numbered, read_use

SIZE = 1 << 20


def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool" / "journal"


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in folder(tmp_path).iterdir())


def begun(segments: Segments) -> int:
    use, descriptor = segments.begin()
    os.close(descriptor)
    return use.number


def test_a_spare_is_whole_written_and_synced_before_it_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = Segments(tmp_path, segment_bytes=SIZE)
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.fstat(fd).st_blocks * 512), real(fd)))
    segments.prepare()
    assert segments.spares() == 1
    assert synced == [SIZE] or synced[-1] >= SIZE
    [spare] = folder(tmp_path).iterdir()
    assert spare.read_bytes() == bytes(SIZE)


def test_a_use_has_its_number_and_nonce_on_disk_before_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segments = Segments(tmp_path, segment_bytes=SIZE)
    segments.prepare()
    steps: list[str] = []
    real_sync, real_folder, real_link = os.fdatasync, os.fsync, Path.hardlink_to
    monkeypatch.setattr(os, "fdatasync", lambda fd: (real_sync(fd), steps.append("synced")))
    monkeypatch.setattr(os, "fsync", lambda fd: (real_folder(fd), steps.append("folder synced")))
    monkeypatch.setattr(Path, "hardlink_to", lambda self, target: (real_link(self, target), steps.append("named")))
    assert begun(segments) == 1
    assert steps == ["synced", "named", "folder synced"]
    assert names(tmp_path) == ["00000001.seg"]


def test_nobody_waits_for_a_spare(tmp_path: Path) -> None:
    segments = Segments(tmp_path, segment_bytes=SIZE)
    assert segments.spares() == 0
    assert [begun(segments), begun(segments)] == [1, 2]
    assert all((folder(tmp_path) / name_of(number)).stat().st_size == SIZE for number in (1, 2))


def test_what_a_full_disk_left_half_written_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = Segments(tmp_path, segment_bytes=SIZE)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    with pytest.raises(OSError, match="No space"):
        segments.prepare()
    assert (segments.spares(), names(tmp_path)) == (0, [])


def test_a_number_that_came_to_nothing_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = Segments(tmp_path, segment_bytes=SIZE)
    with monkeypatch.context() as failing:
        failing.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "I/O error")))
        with pytest.raises(OSError, match="I/O"):
            segments.begin()
    assert begun(segments) == 2


def test_the_next_process_takes_over_spares_and_seals_what_was_written(tmp_path: Path) -> None:
    first = Segments(tmp_path, segment_bytes=SIZE)
    first.prepare()
    first.prepare()
    begun(first)
    (folder(tmp_path) / "spare-half.seg").write_bytes(b"half")
    second = Segments(tmp_path, segment_bytes=SIZE)
    assert (second.spares(), second.sealed()) == (1, [1])
    assert begun(second) == 2
    assert "spare-half.seg" not in names(tmp_path)


def test_a_kill_between_two_names_leaves_one(tmp_path: Path) -> None:
    first = Segments(tmp_path, segment_bytes=SIZE)
    begun(first)
    (folder(tmp_path) / "spare-x.seg").hardlink_to(folder(tmp_path) / name_of(1))
    second = Segments(tmp_path, segment_bytes=SIZE)
    assert (second.spares(), second.sealed(), names(tmp_path)) == (0, [1], ["00000001.seg"])


def test_a_name_that_a_power_cut_brought_back_is_a_spares(tmp_path: Path) -> None:
    first = Segments(tmp_path, segment_bytes=SIZE)
    begun(first)
    descriptor = os.open(folder(tmp_path) / name_of(1), os.O_RDWR)
    begin(descriptor, 9)
    os.close(descriptor)
    second = Segments(tmp_path, segment_bytes=SIZE)
    assert (second.spares(), second.sealed(), numbered(tmp_path)) == (1, [], [])


def test_a_segment_whose_first_block_is_damaged_is_left_alone(tmp_path: Path) -> None:
    first = Segments(tmp_path, segment_bytes=SIZE)
    begun(first)
    file = folder(tmp_path) / name_of(1)
    with file.open("r+b") as stream:
        stream.write(b"\xff" * 20)
    assert read_use(file) is None
    second = Segments(tmp_path, segment_bytes=SIZE)
    assert (second.spares(), second.sealed()) == (0, [])
    assert file.is_file()
    assert begun(second) == 2


def test_numbers_start_behind_what_the_database_names(tmp_path: Path) -> None:
    assert begun(Segments(tmp_path, segment_bytes=SIZE, lowest=41)) == 41


def test_only_some_drained_segments_are_kept_as_spares(tmp_path: Path) -> None:
    segments = Segments(tmp_path, segment_bytes=SIZE)
    for _ in range(10):
        segments.seal(begun(segments))
    for number in segments.sealed():
        segments.free(number, most_spares=8)
    assert (segments.spares(), len(names(tmp_path))) == (8, 8)


@pytest.mark.parametrize("failing", ["fdatasync", "fsync"])
def test_a_use_that_could_not_begin_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    segments = Segments(tmp_path, segment_bytes=SIZE)
    segments.prepare()

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    with monkeypatch.context() as disk:
        disk.setattr(os, failing, fail)
        for _ in range(3):
            with pytest.raises(OSError, match="I/O"):
                segments.begin()
    assert names(tmp_path) == []
    assert begun(segments) == 4
