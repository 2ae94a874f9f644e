from __future__ import annotations

import errno
import gc
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.store import direct
from node.store.direct import BLOCK_BYTES, Blocks, DirectFile
from tests.disk import writes_past_the_page_cache

KINDS = ["direct", "no direct descriptor", "no direct write"]


@pytest.fixture
def blocks() -> Iterator[Blocks]:
    shared = Blocks()
    yield shared
    shared.close()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A file system that writes past the page cache, and two that do not."""
    real_open, real_write = os.open, os.pwrite
    if request.param == KINDS[1]:

        def opened(path: Any, flags: int, *rest: Any) -> int:
            if flags & os.O_DIRECT:
                raise OSError(errno.EINVAL, "Invalid argument")
            return real_open(path, flags, *rest)

        monkeypatch.setattr(os, "open", opened)
    if request.param == KINDS[2]:

        def written(descriptor: int, content: memoryview, offset: int) -> int:
            if len(content) > direct._PIECE_BYTES:
                raise OSError(errno.EINVAL, "Invalid argument")
            return real_write(descriptor, content, offset)

        monkeypatch.setattr(os, "pwrite", written)
    return str(request.param)


def grown(path: Path, blocks: Blocks, content: bytes, piece: int, *, start: int = 0) -> DirectFile:
    file = DirectFile(path, blocks, start=start)
    for at in range(0, len(content), piece):
        file.append(memoryview(content)[at : at + piece])
    file.settle()
    return file


SIZES = [0, 1, 4095, 4096, 4097, BLOCK_BYTES - 2048, BLOCK_BYTES - 2047, BLOCK_BYTES, 5 * BLOCK_BYTES + 12345]


@pytest.mark.parametrize("size", SIZES)
def test_what_was_appended_is_what_is_read(tmp_path: Path, blocks: Blocks, kind: str, size: int) -> None:
    content = os.urandom(size)
    file = grown(tmp_path / "f", blocks, content, 100_003, start=2048)
    file.write_at(b"h" * 2048, 0)
    file.close()
    assert (tmp_path / "f").read_bytes() == b"h" * 2048 + content


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 3 * BLOCK_BYTES), st.integers(1000, 2 * BLOCK_BYTES), st.integers(0, 4096))
def test_pieces_of_every_length_make_the_same_file(
    tmp_path: Path, blocks: Blocks, size: int, piece: int, start: int
) -> None:
    content = (b"%07d;" % size) * (size // 8 + 1)
    path = tmp_path / os.urandom(8).hex()
    grown(path, blocks, content, piece, start=start).close()
    assert path.read_bytes() == bytes(start) + content


def test_a_file_system_writes_past_the_page_cache_where_it_can(
    tmp_path: Path, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not writes_past_the_page_cache(tmp_path):
        pytest.skip("this file system has no direct writes")
    monkeypatch.setattr(direct, "_write", lambda *_: None)
    grown(tmp_path / "f", blocks, b"x" * (2 * BLOCK_BYTES), BLOCK_BYTES).close()
    assert (tmp_path / "f").read_bytes() == b"x" * (2 * BLOCK_BYTES)


def test_nothing_of_an_earlier_file_comes_into_the_place_of_the_head(tmp_path: Path, blocks: Blocks) -> None:
    grown(tmp_path / "first", blocks, b"SECRET" * 1000, 6000).close()
    grown(tmp_path / "second", blocks, b"content", 7, start=2048).close()
    assert (tmp_path / "second").read_bytes() == bytes(2048) + b"content"


def test_a_disk_that_fails_is_told_by_the_time_everything_is_settled(
    tmp_path: Path, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = DirectFile(tmp_path / "f", blocks)
    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", fail)
        with pytest.raises(OSError, match="No space left"):
            for _ in range(2):
                file.append(memoryview(bytes(BLOCK_BYTES)))
            file.settle()
    file.close()
    file.close()
    grown(tmp_path / "g", blocks, b"again", 5).close()
    assert (tmp_path / "g").read_bytes() == b"again"


def test_no_block_is_handed_out_twice_after_a_disk_has_failed(
    tmp_path: Path, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, count = os.pwrite, itertools.count(1)

    def second_fails(descriptor: int, content: memoryview, offset: int) -> int:
        if offset == BLOCK_BYTES:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, content, offset)

    for _ in range(3):
        file = DirectFile(tmp_path / str(next(count)), blocks)
        with monkeypatch.context() as disk:
            disk.setattr(os, "pwrite", second_fails)
            with pytest.raises(OSError, match="Input/output"):
                for _ in range(6):
                    file.append(memoryview(bytes(BLOCK_BYTES)))
                file.settle()
            file.close()
    held = [blocks.borrow() for _ in range(20)]
    for number, block in enumerate(held):
        block[:1] = bytes([number])
    assert [block[0] for block in held] == list(range(20))


def test_what_failed_once_stays_failed(tmp_path: Path, blocks: Blocks, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite

    def first_fails(descriptor: int, content: memoryview, offset: int) -> int:
        if not offset:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, content, offset)

    file = DirectFile(tmp_path / "f", blocks)
    monkeypatch.setattr(os, "pwrite", first_fails)
    with pytest.raises(OSError, match="Input/output"):
        file.append(memoryview(bytes(3 * BLOCK_BYTES)))
    with pytest.raises(OSError, match="Input/output"):
        file.settle()
    file.close()


def test_where_no_thread_can_be_had_it_is_told_and_the_next_file_is_written(
    tmp_path: Path, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    file = DirectFile(tmp_path / "f", blocks)
    with monkeypatch.context() as machine:
        machine.setattr(threading.Thread, "start", none_left)
        with pytest.raises(OSError, match="no thread to write with"):
            file.append(memoryview(bytes(BLOCK_BYTES)))
    file.close()
    grown(tmp_path / "g", blocks, b"again" * BLOCK_BYTES, BLOCK_BYTES).close()
    assert (tmp_path / "g").read_bytes() == b"again" * BLOCK_BYTES


def test_a_file_is_closed_only_when_nobody_writes_to_it_any_more(
    tmp_path: Path, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, begun, may_go_on = os.pwrite, threading.Event(), threading.Event()

    def held_up(descriptor: int, content: memoryview, offset: int) -> int:
        begun.set()
        assert may_go_on.wait(30)
        return real(descriptor, content, offset)

    file = DirectFile(tmp_path / "f", blocks)
    monkeypatch.setattr(os, "pwrite", held_up)
    file.append(memoryview(bytes(BLOCK_BYTES)))
    assert begun.wait(30)
    closing = threading.Thread(target=file.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    os.fstat(file.descriptor)
    may_go_on.set()
    closing.join(30)
    assert file.descriptor == -1


def test_a_file_that_grows_while_the_blocks_are_closed_is_told_so(tmp_path: Path) -> None:
    blocks = Blocks()
    file = DirectFile(tmp_path / "f", blocks)
    file.append(memoryview(bytes(BLOCK_BYTES)))
    blocks.close()
    with pytest.raises(OSError, match="shutdown"):
        file.append(memoryview(bytes(BLOCK_BYTES)))
    file.close()


def test_blocks_that_are_forgotten_leave_no_thread(tmp_path: Path) -> None:
    blocks = Blocks()
    grown(tmp_path / "f", blocks, bytes(4 * BLOCK_BYTES), BLOCK_BYTES).close()
    writers = blocks._writers
    assert any(writer.is_alive() for writer in writers)
    del blocks
    gc.collect()
    for writer in writers:
        writer.join(30)
        assert not writer.is_alive()


def test_files_that_grow_at_once_are_each_whole(tmp_path: Path, blocks: Blocks) -> None:
    contents = [os.urandom(5 * BLOCK_BYTES + number) for number in range(4)]
    files = [DirectFile(tmp_path / str(number), blocks) for number in range(4)]
    for at in range(0, 6 * BLOCK_BYTES, 300_001):
        for file, content in zip(files, contents, strict=True):
            file.append(memoryview(content)[at : at + 300_001])
    for file in files:
        file.settle()
        file.close()
    assert [(tmp_path / str(number)).read_bytes() for number in range(4)] == contents


def test_a_disk_that_takes_a_part_is_asked_again_and_then_believed(
    tmp_path: Path, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pwrite
    with monkeypatch.context() as disk:
        disk.setattr(os, "pwrite", lambda descriptor, content, offset: real(descriptor, content[:4096], offset))
        content = os.urandom(BLOCK_BYTES + 5000)
        grown(tmp_path / "f", blocks, content, 1 << 16).close()
    assert (tmp_path / "f").read_bytes() == content


def test_a_file_that_grows_faster_than_the_disk_takes_three_blocks(tmp_path: Path, blocks: Blocks) -> None:
    lent = 0
    real = blocks.borrow

    def borrow() -> memoryview:
        nonlocal lent
        lent += 1
        return real()

    blocks.borrow = borrow  # type: ignore[method-assign]
    grown(tmp_path / "f", blocks, bytes(20 * BLOCK_BYTES), BLOCK_BYTES).close()
    assert lent <= 3


def test_the_kernel_begins_to_write_what_went_through_the_page_cache(
    tmp_path: Path, blocks: Blocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(direct, "_opened_direct", lambda _: -1)
    monkeypatch.setattr(direct, "begin_writing", lambda _, offset, length: asked.append((offset, length)))
    grown(tmp_path / "f", blocks, bytes(4 * BLOCK_BYTES), BLOCK_BYTES).close()
    assert sorted(asked) == [(number * BLOCK_BYTES, BLOCK_BYTES) for number in range(4)]


def test_no_file_is_begun_where_one_is(tmp_path: Path, blocks: Blocks) -> None:
    (tmp_path / "f").write_bytes(b"held")
    with pytest.raises(FileExistsError):
        DirectFile(tmp_path / "f", blocks)
    assert (tmp_path / "f").read_bytes() == b"held"
