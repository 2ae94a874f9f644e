from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from node.store.files import sweep_temporary, write_durably
from node.store.spool import Spool


def test_an_object_is_synced_before_its_path_is_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    real_fsync, real_link = os.fsync, Path.hardlink_to

    def fsync(descriptor: int) -> None:
        target = os.readlink(f"/proc/self/fd/{descriptor}")
        done.append("fsync folder" if os.path.isdir(target) else "fsync object")
        real_fsync(descriptor)

    def link(self: Path, target: Path) -> None:
        done.append("name")
        real_link(self, target)

    spool = Spool(tmp_path)
    spool.keep([b"first"], "1.2", "ab" * 32)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "hardlink_to", link)
    path = spool.keep([b"pre", b"fix"], "1.2", "cd" * 32)
    assert done == ["fsync object", "name", "fsync folder"]
    assert (tmp_path / path).read_bytes() == b"prefix"


@pytest.mark.parametrize("uid", ["../../etc/passwd", "/absolute", "a\x00b", "1.2.3", "x" * 500])
def test_no_received_text_becomes_part_of_a_path(tmp_path: Path, uid: str) -> None:
    path = Spool(tmp_path).keep([b"x"], uid, "ab" * 32)
    assert (tmp_path / path).resolve().is_relative_to(tmp_path / "spool")
    assert set(Path(path).name) <= set("0123456789abcdef-.dcm")


def test_a_full_disk_leaves_nothing_under_a_final_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        spool.keep([b"x"], "1.2", "ab" * 32)
    assert list(spool.objects()) == []
    assert [path for path in (tmp_path / "spool").rglob("*") if path.is_file()] == []


def test_an_object_made_to_have_anothers_digest_takes_nobodys_place(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    paths = [spool.keep([content], "1.2", "ab" * 16) for content in (b"one", b"two", b"one", b"two")]
    assert [(tmp_path / path).read_bytes() for path in paths] == [b"one", b"two", b"one", b"two"]
    assert paths[0] == paths[2] == spool.path_for("1.2", "ab" * 16)
    assert all("ab" * 8 in path for path in paths)
    assert list((tmp_path / "spool" / "incoming").iterdir()) == []


def test_a_kept_object_is_opened_by_its_path(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    path = spool.keep([b"content"], "1.2", "ab" * 16)
    with spool.open(path) as stream:
        assert stream.read() == b"content"
    assert spool.read(path) == b"content"
    assert spool.holds(path)
    assert not spool.holds("spool/journal/00000001.seg@4096+7")
    with pytest.raises(FileNotFoundError):
        spool.open("spool/journal/00000001.seg@4096+7")


def test_the_sweep_takes_only_what_was_never_acknowledged(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    kept = spool.keep([b"x"], "1.2", "ab" * 32)
    spool.new_file().write_bytes(b"half")
    assert spool.sweep() == 1
    assert list(spool.objects()) == [kept]


def test_a_durable_write_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "results" / "a.dcm"
    write_durably(path, b"old")

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "I/O error")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="I/O"):
            write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    (tmp_path / "results" / ".b.dcm.123.tmp").write_bytes(b"half")
    assert sweep_temporary(tmp_path) == 1
    assert [each.name for each in (tmp_path / "results").iterdir()] == ["a.dcm"]
