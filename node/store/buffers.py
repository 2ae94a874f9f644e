"""Memory in which small objects are collected: laid out so that the journal can write it as it lies.

What is written past the page cache (open(2), O_DIRECT) begins and ends at whole blocks, in memory and in the file. So
the content begins one block into pages of its own: what stands before it in a record has its place there.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import Generic, TypeVar

from node.store.segment import BLOCK_BYTES, PADDING, padded

#: What waits for the next object.
_MOST_SPARE = 16

Memory = TypeVar("Memory")


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
        self._whole[end:whole] = PADDING[: whole - end]
        return self._whole[:whole]


class Spares(Generic[Memory]):
    """Memory that threads take in turns, so that its pages need not be had anew; what it held before is still in it."""

    def __init__(self, made: Callable[[], Memory]) -> None:
        self._made = made
        self._spare: list[Memory] = []

    def borrow(self) -> Memory:
        """Take one that nobody uses, or a new one."""
        try:
            return self._spare.pop()
        except IndexError:
            return self._made()

    def give_back(self, memory: Memory) -> None:
        """Somebody else may use it."""
        if len(self._spare) < _MOST_SPARE:
            self._spare.append(memory)
