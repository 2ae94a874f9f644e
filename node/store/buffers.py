"""Memory in which small objects are collected: laid out so that the journal can write it as it lies.

What is written past the page cache (open(2), O_DIRECT) begins and ends at whole blocks, in memory and in the file. So
the content begins one block into pages of its own: what stands before it in a record has its place there.
"""

from __future__ import annotations

import mmap

from node.store.segment import BLOCK_BYTES, padded

#: Buffers that wait for the next object.
_MOST_SPARE = 16
_NOTHING = bytes(BLOCK_BYTES)


class Buffer:
    """Memory for one object of up to `capacity` bytes; pages that nothing was put into cost nothing."""

    def __init__(self, capacity: int) -> None:
        # Shared, as this is unless asked otherwise: no fork parts a page from a write that is under way.
        self._whole = memoryview(mmap.mmap(-1, BLOCK_BYTES + padded(capacity)))
        #: Where the object is put, from its beginning on.
        self.content = self._whole[BLOCK_BYTES : BLOCK_BYTES + capacity]

    def record(self, front: bytes, content_bytes: int) -> memoryview:
        """What is written: `front`, of `BLOCK_BYTES`, the content, and nothing up to the next block's start."""
        self._whole[:BLOCK_BYTES] = front
        end = BLOCK_BYTES + content_bytes
        whole = padded(end)
        # What lay there may be another patient's.
        self._whole[end:whole] = _NOTHING[: whole - end]
        return self._whole[:whole]


class Buffers:
    """The buffers that the threads of a process share."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._spare: list[Buffer] = []

    def borrow(self) -> Buffer:
        """A buffer for one object; what it held before is still in it."""
        try:
            return self._spare.pop()
        except IndexError:
            return Buffer(self._capacity)

    def give_back(self, buffer: Buffer) -> None:
        """The buffer may be used for another object."""
        if len(self._spare) < _MOST_SPARE:
            self._spare.append(buffer)
