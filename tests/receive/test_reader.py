from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom.uid import RLELossless

from node.errors import Transient
from node.limited_process import LimitedProcess
from node.receive.protocol import READY, Job
from node.receive.reader import HeaderReader
from tests.receive.objects import compressed, mr_slice, part10

MEMORY = 1 << 30


class PoisonedReader(HeaderReader):
    """Its child dies of what the file names say."""

    def __init__(self, limit_s: float = 1.0) -> None:
        super().__init__(MEMORY, limit_s)
        command = (sys.executable, "-m", "tests.receive.poisoned", str(MEMORY), str(limit_s))
        self._child = LimitedProcess(command, READY, limit_s, "the describing child")

    @property
    def pid(self) -> int:
        assert self._child.pid
        return self._child.pid


@pytest.fixture(scope="module")
def reader() -> Iterator[PoisonedReader]:
    with PoisonedReader() as running:
        yield running


def jobs(folder: Path, *names: str) -> list[Job]:
    made = []
    for number, name in enumerate(names, start=1):
        (folder / name).write_bytes(part10(mr_slice(number)))
        made.append(Job(id=number, path=str(folder / name), issuer="A"))
    return made


def test_answers_come_in_order_from_one_child(reader: PoisonedReader, tmp_path: Path):
    asked = jobs(tmp_path, *(f"good{number:02}" for number in range(40)))
    pid = reader.pid
    answers = list(reader.read(asked))
    assert [answer.id for answer in answers] == list(range(1, 41))
    instances = [answer.instance for answer in answers]
    assert [each.instance_number for each in instances if each] == list(range(1, 41))
    assert all(each and each.patient.issuer == "A" and len(each.content_digest) == 64 for each in instances)
    assert reader.pid == pid


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("crash", "reading the header: killed by SIGSEGV"),
        ("leave", "reading the header: ended with exit code 3"),
        ("hang", "reading the header: took longer than 1 s"),
    ],
)
def test_a_header_that_kills_the_child_costs_one_instance(
    reader: PoisonedReader, tmp_path: Path, name: str, reason: str
):
    answers = list(reader.read(jobs(tmp_path, "good1", name, "good3", "good4")))
    assert [bool(answer.instance) for answer in answers] == [True, False, True, True]
    assert answers[1].undescribable == reason
    assert [answer.id for answer in answers] == [1, 2, 3, 4]


@pytest.mark.parametrize(("name", "reason"), [("pixels", "killed by SIGSEGV"), ("hold", "took longer than 1 s")])
def test_pixels_that_kill_the_child_cost_the_pixels_alone(
    reader: PoisonedReader, tmp_path: Path, name: str, reason: str
):
    first, second = reader.read(jobs(tmp_path, name, "good"))
    assert first.instance is not None
    assert first.instance.pixels is not None
    assert first.instance.pixels.undecodable == reason
    assert second.instance is not None
    assert second.instance.pixels is not None
    assert second.instance.pixels.undecodable == ""


def test_a_child_that_somebody_kills_costs_nothing(reader: PoisonedReader, tmp_path: Path):
    [answer] = reader.read(jobs(tmp_path, "once"))
    assert answer.instance is not None
    assert answer.instance.pixels is not None
    assert answer.instance.pixels.undecodable == ""


def test_a_child_out_of_memory_says_so_and_lives(reader: PoisonedReader, tmp_path: Path):
    pid = reader.pid
    eaten, good = reader.read(jobs(tmp_path, "eat", "good"))
    assert eaten.undescribable == "MemoryError"
    assert good.instance is not None
    assert reader.pid == pid


def test_the_child_cannot_write(reader: PoisonedReader, tmp_path: Path):
    [answer] = reader.read(jobs(tmp_path, "write"))
    assert answer.instance is None
    assert (tmp_path / "write").read_bytes() != b"changed"


def test_a_pixel_bomb_meets_the_limit(tmp_path: Path):
    bomb = compressed(mr_slice(), RLELossless)
    bomb.Rows = bomb.Columns = 65535
    (tmp_path / "bomb").write_bytes(part10(bomb, RLELossless))
    with HeaderReader(MEMORY, 10.0) as reader:
        [answer] = reader.read([Job(id=1, path=str(tmp_path / "bomb"), issuer="")])
    assert answer.instance is not None
    assert answer.instance.pixels is not None
    assert answer.instance.pixels.undecodable


@pytest.mark.parametrize("content", [b"", b"junk", part10(mr_slice())[:400]])
def test_what_cannot_be_read_is_undescribable(reader: PoisonedReader, tmp_path: Path, content: bytes):
    (tmp_path / "bad").write_bytes(content)
    bad, missing = reader.read(
        [Job(id=1, path=str(tmp_path / "bad"), issuer=""), Job(id=2, path=str(tmp_path / "gone"), issuer="")]
    )
    assert bad.undescribable or bad.instance
    assert missing.undescribable.startswith("FileNotFoundError")


def test_a_reading_that_is_given_up_leaves_nothing_for_the_next(reader: PoisonedReader, tmp_path: Path):
    reading = reader.read(jobs(tmp_path, "a", "b", "c"))
    assert next(reading).id == 1
    reading.close()
    [answer] = reader.read([Job(id=9, path=str(tmp_path / "c"), issuer="")])
    assert answer.id == 9


def test_a_child_that_does_not_start_is_a_passing_fault():
    with pytest.raises(Transient, match="does not start: ended with exit code 1"):
        PoisonedReader(0.25).__enter__()


def test_the_child_ends_with_its_reader(tmp_path: Path):
    with PoisonedReader() as running:
        pid = running.pid
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
