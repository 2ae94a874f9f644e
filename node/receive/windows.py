"""Where the walk reads a data set from: memory, a file that is never mapped or read as a whole, a deflated stream."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator

from node.receive.elements import Content, Source, broken

#: A window onto a file starts with a page and grows while it is read on, for a long header.
_SMALLEST_BYTES = 4 << 10
_LARGEST_BYTES = 64 << 10
#: Behind a long value only the next header is of interest.
_GLANCE_BYTES = 64
#: Deflated bytes are read, and inflated ones kept, in pieces of this size.
_PIECE_BYTES = 32 << 10


class Whole:
    """A data set in memory."""

    def __init__(self, content: Content) -> None:
        self.size = len(content)
        self._content = content

    def at(self, offset: int, count: int) -> bytes:
        """Return `count` bytes, fewer where the data set ends."""
        return bytes(self._content[offset : offset + count])


class Windows:
    """A data set in a file, from byte `start` on; at most one window of it is in memory."""

    def __init__(self, descriptor: int, start: int, size: int) -> None:
        self.size = size
        self._descriptor = descriptor
        self._start = start
        self._window = b""
        self._offset = 0
        self._length = _SMALLEST_BYTES

    def at(self, offset: int, count: int) -> bytes:
        """Return `count` bytes, fewer where the data set ends.

        Raises:
            OSError: the file cannot be read.
        """
        into = offset - self._offset
        end = self._offset + len(self._window)
        if into < 0 or (offset + count > end and end < self.size):
            if offset:
                self._length = min(2 * self._length, _LARGEST_BYTES) if into >= 0 and offset <= end else _GLANCE_BYTES
            length = min(max(self._length, count), self.size - offset)
            self._window = os.pread(self._descriptor, max(length, 0), self._start + offset)
            self._offset, into = offset, 0
        return self._window[into : into + count]


class Inflated:
    """What a deflated data set holds (PS3.5 §A.5, RFC 1951), inflated piece by piece and never in memory as a whole.

    Raises:
        Refused: 0xC000, it inflates to more than `maximum_bytes`, or is damaged or cut off.
        OSError: the deflated bytes cannot be read.
    """

    def __init__(self, deflated: Source, maximum_bytes: int) -> None:
        #: Every element is held against the end, so the end has to be known first.
        self.size = sum(map(len, inflated(deflated, maximum_bytes)))
        self._pieces = inflated(deflated, maximum_bytes)
        self._window = b""
        self._offset = 0

    def at(self, offset: int, count: int) -> bytes:
        """Return `count` bytes, fewer where the data set ends; what is in front of them is forgotten."""
        while self._offset + len(self._window) < min(offset + count, self.size):
            skipped = min(max(offset - self._offset, 0), len(self._window))
            self._offset += skipped
            self._window = self._window[skipped:] + next(self._pieces)
        into = offset - self._offset
        return self._window[into : into + count]


def inflated(deflated: Source, maximum_bytes: int) -> Iterator[bytes]:
    """Yield what a deflated data set holds, in small pieces.

    Raises:
        Refused: as `Inflated`.
        OSError: the deflated bytes cannot be read.
    """
    count = 0
    for piece in _inflated(_from_start(deflated)):
        count += len(piece)
        if count > maximum_bytes:
            raise broken(f"deflated, and inflates to more than {maximum_bytes} bytes")
        yield piece


def _from_start(source: Source) -> Iterator[bytes]:
    for offset in range(0, source.size, _PIECE_BYTES):
        yield source.at(offset, _PIECE_BYTES)


def _inflated(pieces: Iterator[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    pending = b""
    try:
        while not inflater.eof:
            pending = inflater.unconsumed_tail or next(pieces, b"")
            piece = inflater.decompress(pending, _PIECE_BYTES)
            if piece:
                yield piece
            elif not pending and not inflater.eof:
                raise broken("the deflated data set is truncated")
    except zlib.error as error:
        raise broken("the deflated data set is damaged") from error
    # One byte of padding makes its length even (PS3.5 §A.5).
    rest = inflater.unused_data + next(pieces, b"")
    if rest not in (b"", b"\0"):
        raise broken(f"{len(rest)} bytes or more behind the deflated data set")
