from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest

from node.config import Settings
from node.receive import zipped
from node.receive.intakes.folder import ImportCounts, import_paths
from node.store import instances
from node.store.database import Database
from node.store.spool import Spool
from tests.receive.objects import mr_slice, part10


def packed(file: Path, contents: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file


@pytest.fixture
def take(db: Database, spool: Spool, settings: Settings):
    def import_one(*paths: Path) -> ImportCounts:
        return import_paths(db, spool, settings, paths)

    return import_one


def slices(count: int) -> dict[str, bytes]:
    return {f"DICOM/{number}": part10(mr_slice(number)) for number in range(1, count + 1)}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_archive_is_taken_in_whole_and_nothing_is_unpacked(take, tmp_path: Path, spool: Spool, method: int):
    file = packed(tmp_path / "study.zip", {"DICOM/": b"", **slices(3), "README.TXT": b"a letter"}, method)
    counts = take(file)
    assert (counts.kept, counts.held, counts.refused) == (3, 0, ())
    assert [(each.path, each.entry) for each in counts.skipped] == [(file, "README.TXT")]
    assert {path.name for path in tmp_path.iterdir()} == {"study.zip", "var"}
    assert take(file).held == 3


def test_an_archive_in_a_folder_is_taken_in_and_so_is_one_of_another_name_when_it_is_named(
    take, tmp_path: Path, db: Database
):
    (tmp_path / "disc").mkdir()
    packed(tmp_path / "disc" / "A.ZIP", slices(2))
    other = packed(tmp_path / "disc" / "b.dat", {"x": part10(mr_slice(9))})
    counts = take(tmp_path / "disc")
    assert (counts.kept, [each.path.name for each in counts.skipped]) == (2, ["b.dat"])
    assert take(other).kept == 1
    assert len(instances.of_study(db)) == 3


def test_names_inside_an_archive_are_shown_and_used_for_nothing(take, tmp_path: Path):
    before = set(Path("/tmp").glob("ESCAPED*"))
    file = packed(tmp_path / "a.zip", {"../../ESCAPED": part10(mr_slice(1)), "/tmp/ESCAPED": part10(mr_slice(2))})
    assert take(file).kept == 2
    assert set(Path("/tmp").glob("ESCAPED*")) == before
    assert not (tmp_path.parent / "ESCAPED").exists()


def encrypted(file: Path) -> Path:
    content = bytearray(packed(file, slices(1)).read_bytes())
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + place] |= 1
    file.write_bytes(content)
    return file


def test_an_encrypted_one_is_refused_with_what_to_do(take, tmp_path: Path):
    [refused] = take(encrypted(tmp_path / "a.zip")).refused
    assert (refused.entry, refused.reason) == ("DICOM/1", "encrypted: unpack it with its password first")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(take, tmp_path: Path, method: int):
    [refused] = take(packed(tmp_path / "a.zip", slices(1), method)).refused
    assert "compressed in a way" in refused.reason


def test_an_archive_inside_an_archive_is_not_looked_into(take, tmp_path: Path):
    inner = packed(tmp_path / "inner.zip", slices(1)).read_bytes()
    counts = take(packed(tmp_path / "outer.zip", {"inner.zip": inner, **slices(1)}))
    assert (counts.kept, [each.entry for each in counts.refused]) == (1, ["inner.zip"])
    assert "unpack it first" in counts.refused[0].reason


def test_damage_is_refused_where_it_is_and_the_rest_goes_on(take, tmp_path: Path):
    file = packed(tmp_path / "a.zip", slices(3), zipfile.ZIP_STORED)
    content = bytearray(file.read_bytes())
    content[content.index(b"DICOM/2") + 1500] ^= 0xFF
    file.write_bytes(content)
    counts = take(file)
    assert (counts.kept, [(each.entry, each.reason) for each in counts.refused]) == (
        2,
        [("DICOM/2", "damaged inside the archive")],
    )


@pytest.mark.parametrize("keep", [10, 200, -4])
def test_an_archive_that_is_cut_is_refused(take, tmp_path: Path, keep: int):
    file = packed(tmp_path / "a.zip", slices(1))
    file.write_bytes(file.read_bytes()[:keep])
    [refused] = take(file).refused
    assert refused.reason == "a damaged archive"


def test_a_bomb_is_stopped_by_what_the_whole_archive_may_unpack_to(
    take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(zipped, "_ALWAYS_BYTES", 1 << 20)
    blank = part10(mr_slice(1, Rows=4096, Columns=4096, PixelData=bytes(4096 * 4096 * 2)))
    counts = take(packed(tmp_path / "a.zip", {"1": blank, "2": blank}))
    assert counts.kept == 0
    assert {each.reason for each in counts.refused} == {"the archive unpacks to far more than DICOM objects would"}


def test_an_object_over_the_limit_is_refused_while_it_is_unpacked(
    db: Database, spool: Spool, settings: Settings, tmp_path: Path
):
    small = settings.receive.model_copy(update={"maximum_object_bytes": 1 << 20})
    large = part10(mr_slice(1, Rows=1024, Columns=1024, PixelData=bytes(2 << 20)))
    file = packed(tmp_path / "a.zip", {"1": large})
    [refused] = import_paths(db, spool, settings.model_copy(update={"receive": small}), [file]).refused
    assert refused.reason == "larger than [receive] maximum_object_bytes"


def test_a_large_object_lies_in_no_memory_and_under_no_name(take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(zipped, "_IN_MEMORY_BYTES", 1000)
    assert take(packed(tmp_path / "a.zip", slices(2))).kept == 2
    assert not [path for path in (tmp_path / "var").iterdir() if path.name.startswith("tmp")]


def test_a_directory_that_claims_to_be_huge_is_not_read(take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(zipped, "_LARGEST_DIRECTORY", 50_000)
    file = packed(tmp_path / "a.zip", {f"{number}" * 50: b"" for number in range(2000)})
    [refused] = take(file).refused
    assert "directory" in refused.reason
    monkeypatch.setattr(zipped, "_LARGEST_DIRECTORY", 50_000_000)
    monkeypatch.setattr(zipped, "_MOST_ENTRIES", 1999)
    [refused] = take(file).refused
    assert refused.reason == "an archive of more than 1999 files"


def test_an_entry_that_lies_about_its_size_brings_no_more_than_it_says(take, tmp_path: Path):
    file = packed(tmp_path / "a.zip", slices(1))
    content = bytearray(file.read_bytes())
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", content, content.index(signature) + place, 500)
    file.write_bytes(content)
    assert take(file).kept == 0


def test_an_empty_archive_holds_nothing(take, tmp_path: Path):
    counts = take(packed(tmp_path / "a.zip", {}))
    assert (counts.kept, counts.refused, counts.skipped) == (0, (), ())
