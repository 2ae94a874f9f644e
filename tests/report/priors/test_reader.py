"""The process that reads documents may die of one; the room goes on and knows of which."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.uid import BasicTextSRStorage

from node.domain.prior_document import DocumentKind
from node.errors import Failed, Transient
from node.report.priors import reader as reader_module
from node.report.priors.messages import Question
from node.report.priors.reader import DocumentReader
from tests.foreign_reports import IMPRESSION, report, text, written

UID, STUDY = "1.2.3.9", "1.2.3.1"
#: (FFFE,E000), (FFFE,E00D), (FFFE,E0DD), and the head of a sequence (0040,A730) of unknown length.
ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
ITEM_END, SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE00D, 0), struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
CONTENT = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, 0xFFFFFFFF)


@pytest.fixture(scope="module")
def reader() -> Iterator[DocumentReader]:
    with closing(DocumentReader(memory_bytes=128 << 20)) as made:
        yield made


def question(path: Path) -> Question:
    return Question(path=str(path), kind=DocumentKind.REPORT, sop_class_uid=BasicTextSRStorage, sop_instance_uid=UID)


def sound(folder: Path) -> Path:
    return written(folder / "sound", report(UID, STUDY, text(IMPRESSION, "Mass.")))


def bare(folder: Path) -> Path:
    made: Dataset = report(UID, STUDY)
    del made.ContentSequence
    return written(folder, made)


def nested(folder: Path, depth: int, *, explicit: bool) -> Path:
    """A report whose content is nested so deeply, by sequences of unknown or of known length."""
    path = bare(folder)
    if explicit:
        inner = b""
        for _ in range(depth):
            item = struct.pack("<HHL", 0xFFFE, 0xE000, len(inner)) + inner
            inner = struct.pack("<HH2sHL", 0x0040, 0xA730, b"SQ", 0, len(item)) + item
        content = inner
    else:
        content = (CONTENT + ITEM) * depth + (ITEM_END + SEQUENCE_END) * depth
    path.write_bytes(path.read_bytes() + content)
    return path


@pytest.mark.parametrize("explicit", [False, True])
def test_a_report_nested_twenty_thousand_times_is_refused_and_the_next_one_is_read(
    reader: DocumentReader, tmp_path: Path, explicit: bool
) -> None:
    with pytest.raises(Failed, match="nested"):
        reader.read(question(nested(tmp_path, 20_000, explicit=explicit)))
    assert [each.text for each in reader.read(question(sound(tmp_path))).passages] == ["Mass."]


def test_a_report_that_takes_all_memory_ends_the_process_or_is_refused_and_the_next_one_is_read(
    reader: DocumentReader, tmp_path: Path
) -> None:
    path = bare(tmp_path)
    one = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
    path.write_bytes(path.read_bytes() + CONTENT + one * 500_000 + SEQUENCE_END)
    with pytest.raises(Failed):
        reader.read(question(path))
    assert reader.read(question(sound(tmp_path))).counts


def test_a_report_beyond_any_size_is_refused_unread(reader: DocumentReader, tmp_path: Path) -> None:
    path = bare(tmp_path)
    with path.open("r+b") as stream:
        stream.truncate(33 << 20)
    with pytest.raises(Failed, match="more than 32 MiB"):
        reader.read(question(path))


def test_a_report_whose_end_is_missing_is_not_read_as_if_it_were_whole(reader: DocumentReader, tmp_path: Path) -> None:
    path = sound(tmp_path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(Failed, match="its end is missing"):
        reader.read(question(path))


def test_one_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    path = bare(tmp_path)
    one = struct.pack("<HHL", 0xFFFE, 0xE000, 0)
    path.write_bytes(path.read_bytes() + CONTENT + one * 300_000 + SEQUENCE_END)
    with closing(DocumentReader(limit_s=0.2)) as hurried, pytest.raises(Failed, match=r"took longer than 0.2 s"):
        hurried.read(question(path))


def test_a_process_that_does_not_start_is_tried_again_later(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(reader_module, "READY", b"something else\n")
    with closing(DocumentReader()) as made, pytest.raises(Transient, match="does not start"):
        made.read(question(sound(tmp_path)))
