from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from xxhash import xxh3_128_digest

from node.store.segment import BLOCK_BYTES, Use, begin, packed, padded, path_of, place_of, record_at, records, use_of

SIZE = 1 << 20


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "00000001.seg", os.O_RDWR | os.O_CREAT)
    os.ftruncate(descriptor, SIZE)
    yield descriptor
    os.close(descriptor)


def put(segment: int, use: Use, offset: int, content: bytes, *, group: int = 0, note: bytes = b"{}") -> int:
    """Write one record; return where the next one starts."""
    front = packed(use, offset, group, note, b"head", len(content), xxh3_128_digest(content))
    os.pwrite(segment, front + content, offset)
    return offset + padded(len(front) + len(content))


def found(segment: int, use: Use, start: int = BLOCK_BYTES) -> list[bytes]:
    """The data sets of all sound records."""
    return [
        os.pread(segment, each.content_bytes, each.start + each.head_bytes)
        for each in records(segment, use, start)
        if each.intact
    ]


def test_records_are_read_as_they_were_written(segment: int) -> None:
    use = begin(segment, 7)
    after = put(segment, use, BLOCK_BYTES, b"one" * 5000, note=b'{"a":1}')
    put(segment, use, after, b"two", group=1)
    first, second = records(segment, use)
    assert (first.offset, first.end, first.group, first.note, first.head_bytes) == (4096, after, 0, b'{"a":1}', 4)
    assert (second.offset, second.group, second.intact) == (after, 1, True)
    assert os.pread(segment, 4 + 3, second.start) == b"headtwo"
    assert found(segment, use, after) == [b"two"]


def test_a_use_is_known_by_its_first_block(segment: int) -> None:
    assert use_of(segment) is None
    use = begin(segment, 7)
    assert use_of(segment) == use
    assert use.nonce != begin(segment, 7).nonce
    os.pwrite(segment, b"x", 12)
    assert use_of(segment) is None


def test_records_of_an_earlier_use_are_never_found_again(segment: int) -> None:
    old = begin(segment, 1)
    offset = BLOCK_BYTES
    for content in (b"a" * 100, b"b" * 9000, b"c" * 100):
        offset = put(segment, old, offset, content)
    new = begin(segment, 2)
    put(segment, new, BLOCK_BYTES, b"new")
    assert found(segment, new) == [b"new"]
    assert len(found(segment, old)) == 2, "the stale ones are there, and only the nonce tells them apart"


def test_a_torn_record_is_told_and_one_behind_it_is_found(segment: int) -> None:
    use = begin(segment, 1)
    second = put(segment, use, BLOCK_BYTES, b"a" * 10_000)
    third = put(segment, use, second, b"b" * 10_000)
    put(segment, use, third, b"c" * 10_000)
    os.pwrite(segment, bytes(4096), second + 4096)
    assert [(each.offset, each.intact) for each in records(segment, use)] == [
        (BLOCK_BYTES, True),
        (second, False),
        (third, True),
    ]


def test_a_record_whose_header_is_lost_hides_none_behind_it(segment: int) -> None:
    use = begin(segment, 1)
    second = put(segment, use, BLOCK_BYTES, b"a" * 10_000)
    third = put(segment, use, second, b"b" * 10_000)
    put(segment, use, third, b"c")
    os.pwrite(segment, b"\xff", second + 60)
    assert found(segment, use) == [b"a" * 10_000, b"c"]


def test_bytes_of_an_object_that_look_like_a_record_are_none(segment: int) -> None:
    use = begin(segment, 1)
    guessed = Use(use.number, bytes(16))
    start = BLOCK_BYTES + padded(200)
    forged = packed(guessed, start, 0, b"{}", b"head", 3, xxh3_128_digest(b"bad")) + b"bad"
    # A stranger who knew the nonce would still have to know where the record comes to lie.
    moved = packed(use, 0, 0, b"{}", b"head", 3, xxh3_128_digest(b"bad")) + b"bad"
    content = (forged.ljust(BLOCK_BYTES, b"\0") + moved.ljust(BLOCK_BYTES, b"\0")) * 3
    front = packed(use, BLOCK_BYTES, 0, b"{}", b"head", len(content), xxh3_128_digest(content))
    padding = bytes(BLOCK_BYTES - len(front))
    aligned = padding + content
    after = put(segment, use, BLOCK_BYTES, aligned)
    put(segment, use, after, b"good")
    assert found(segment, use) == [aligned, b"good"]
    # Even where the record around them is torn, so that every block is looked at.
    os.pwrite(segment, b"\xff" * 8, BLOCK_BYTES)
    assert found(segment, use) == [b"good"]


def test_the_end_of_the_segment_cuts_a_record_off(segment: int) -> None:
    use = begin(segment, 1)
    last = SIZE - BLOCK_BYTES
    os.pwrite(segment, packed(use, last, 0, b"{}", b"head", 100_000, bytes(16)), last)
    os.ftruncate(segment, SIZE)
    assert [(each.offset, each.intact) for each in records(segment, use)] == [(last, False)]
    assert record_at(segment, use, SIZE) is None


def test_paths_of_the_journal_are_told_from_paths_of_files() -> None:
    assert place_of(path_of(12, 8192, 500)) == (12, 8192)
    assert place_of("spool/ab/abcdef.dcm") is None
