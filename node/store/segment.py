"""One segment of the journal: records, each of which proves that it belongs to this use of the segment.

Layout: a block with the segment's number and the nonce of its use, then records that start at whole blocks:

    header   magic, nonce of the use, own offset, group, lengths, digest of the data set; a checksum over all of it,
             over the note and over the Part 10 head
    note     JSON: what the index needs
    object   the Part 10 file: head and data set; nothing where the note names a file
    padding  to the next block

The nonce is random and never told to anybody, so no bytes that a peer sends can be taken for a record, and no record of
an earlier use is found again. Records of one group were written and synced together: nobody was told of any of them
before all were durable.
"""

from __future__ import annotations

import errno
import os
import secrets
import struct
from collections.abc import Iterator
from typing import NamedTuple

from xxhash import xxh3_64_intdigest, xxh3_128_digest

BLOCK_BYTES = 4096
NONCE_BYTES = 16
#: Below the data folder.
FOLDER = "spool/journal"
SUFFIX = ".seg"

_SEGMENT = struct.Struct("<8sQ16s")
_SEGMENT_MAGIC = b"MTNSSEG1"
_RECORD = struct.Struct("<8s16sQIIIQ16s")
_RECORD_MAGIC = b"MTNSREC1"
_CHECK = struct.Struct("<Q")
#: Note and head are some hundred bytes each.
_LONGEST_NOTE = 1 << 16
_WINDOW_BYTES = 1 << 20
#: A block of which nothing is used, and what fills the last block of a record.
PADDING = bytes(BLOCK_BYTES)


class Use(NamedTuple):
    """One use of a segment."""

    #: Rises with each use; also the name of the file.
    number: int
    nonce: bytes


class Record(NamedTuple):
    """One record as found."""

    #: Where the record starts, and where the next one may, in bytes from the start of the segment.
    offset: int
    end: int
    group: int
    note: bytes
    #: Where the object starts.
    start: int
    #: Length of the Part 10 head, and of the data set behind it; both 0 where the note names a file.
    head_bytes: int
    content_bytes: int
    #: xxh3_128 of the data set.
    digest: bytes
    #: Whether the data set is the one that was written.
    intact: bool


def name_of(number: int) -> str:
    """The file name of a use."""
    return f"{number:08d}{SUFFIX}"


def path_of(number: int, offset: int, object_bytes: int) -> str:
    """What stands as the path of an object that lies in the journal, relative to the data folder."""
    return f"{FOLDER}/{name_of(number)}@{offset}+{object_bytes}"


def place_of(path: str) -> tuple[int, int] | None:
    """Number of the segment and offset of the record, if the path is one of the journal."""
    if not path.startswith(FOLDER):
        return None
    name, _, rest = path.removeprefix(f"{FOLDER}/").partition("@")
    return int(name.removesuffix(SUFFIX)), int(rest.partition("+")[0])


def begin(descriptor: int, number: int) -> Use:
    """Give a segment a new use: from here on it holds no record. The caller syncs it."""
    use = Use(number, secrets.token_bytes(NONCE_BYTES))
    packed = _SEGMENT.pack(_SEGMENT_MAGIC, number, use.nonce)
    block = packed + _CHECK.pack(xxh3_64_intdigest(packed))
    written = os.pwrite(descriptor, block + PADDING[len(block) :], 0)
    if written != BLOCK_BYTES:
        raise OSError(errno.EIO, "a short write")
    return use


def use_of(descriptor: int) -> Use | None:
    """The present use of a segment; `None` if it never had one, or its first block is damaged."""
    block = os.pread(descriptor, _SEGMENT.size + _CHECK.size, 0)
    if len(block) < _SEGMENT.size + _CHECK.size:
        return None
    magic, number, nonce = _SEGMENT.unpack_from(block)
    if magic != _SEGMENT_MAGIC or _CHECK.unpack_from(block, _SEGMENT.size)[0] != xxh3_64_intdigest(
        block[: _SEGMENT.size]
    ):
        return None
    return Use(number, nonce)


def padded(length: int) -> int:
    """`length` rounded up to whole blocks."""
    return -(-length // BLOCK_BYTES) * BLOCK_BYTES


def packed(use: Use, offset: int, group: int, note: bytes, head: bytes, content_bytes: int, digest: bytes) -> bytes:
    """Everything of a record that stands before its data set."""
    fields = _RECORD.pack(
        *(_RECORD_MAGIC, use.nonce, offset, group, len(note), len(head), content_bytes, digest),
    )
    rest = note + head
    return fields + _CHECK.pack(xxh3_64_intdigest(fields + rest)) + rest


HEADER_BYTES = _RECORD.size + _CHECK.size


def records(descriptor: int, use: Use, start: int = BLOCK_BYTES) -> Iterator[Record]:
    """All records of this use from `start` on, in order; torn ones too.

    A block that is no record of this use is passed over: behind it there may be a sound one, if a disk lost some bytes.
    """
    size = os.fstat(descriptor).st_size
    mark = _RECORD_MAGIC + use.nonce
    offset = max(start, BLOCK_BYTES)
    while offset < size:
        window = os.pread(descriptor, _WINDOW_BYTES, offset)
        found = window.find(mark)
        while found >= 0 and found % BLOCK_BYTES:
            found = window.find(mark, found + 1)
        if found < 0:
            # Whole blocks only, so no mark can lie across two windows.
            offset += max(BLOCK_BYTES, len(window) // BLOCK_BYTES * BLOCK_BYTES)
            continue
        offset += found
        record = record_at(descriptor, use, offset)
        if record is None:
            offset += BLOCK_BYTES
        else:
            yield record
            offset = record.end


def record_at(descriptor: int, use: Use, offset: int) -> Record | None:
    """The record of this use that starts at `offset`; `None` if there is none, or its header is damaged."""
    header = os.pread(descriptor, HEADER_BYTES, offset)
    if len(header) < HEADER_BYTES:
        return None
    magic, nonce, own, group, note_bytes, head_bytes, content_bytes, digest = _RECORD.unpack_from(header)
    if magic != _RECORD_MAGIC or nonce != use.nonce or own != offset or note_bytes + head_bytes > _LONGEST_NOTE:
        return None
    rest = os.pread(descriptor, note_bytes + head_bytes, offset + HEADER_BYTES)
    if xxh3_64_intdigest(header[: _RECORD.size] + rest) != _CHECK.unpack_from(header, _RECORD.size)[0]:
        return None
    start = offset + HEADER_BYTES + note_bytes
    end = start + head_bytes + content_bytes
    intact = True
    if content_bytes:
        content = os.pread(descriptor, content_bytes, start + head_bytes)
        intact = len(content) == content_bytes and xxh3_128_digest(content) == digest
    return Record(
        *(offset, padded(end), group, rest[:note_bytes], start, head_bytes, content_bytes, digest, intact),
    )
