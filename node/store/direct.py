"""Files that are written past the page cache, while what follows is still being received.

Fresh pages are the dearest part of a large file: they are taken, filled, written and given back. Direct blocks
(open(2), O_DIRECT) leave them out; a file system that has no such thing gets ordinary writes.
"""

from __future__ import annotations

import errno
import mmap
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from node.store.files import begin_writing

#: Direct writes begin and end at multiples of it, in memory and in the file; every disk in use has that or less.
_ALIGNMENT = 4096
BLOCK_BYTES = 1 << 20
#: Blocks of one file: one fills while the others are written.
_BLOCKS_PER_FILE = 3
#: Kept for the next file.
_MOST_SPARE = 16
#: Written at once where pages are needed: larger ones are dearer to come by.
_PIECE_BYTES = 1 << 16
_MOST_WRITERS = 8
#: What a file system says that cannot write so.
_UNABLE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


class Blocks:
    """The blocks and the threads that several files share."""

    def __init__(self) -> None:
        self._spare: list[memoryview] = []
        self._writers = ThreadPoolExecutor(_MOST_WRITERS, thread_name_prefix="blocks")

    def borrow(self) -> memoryview:
        """A block of memory, `BLOCK_BYTES` long and aligned to pages; what it held before is still in it."""
        try:
            return self._spare.pop()
        except IndexError:
            return memoryview(mmap.mmap(-1, BLOCK_BYTES))

    def give_back(self, block: memoryview) -> None:
        """The block may be used for another file."""
        if len(self._spare) < _MOST_SPARE:
            self._spare.append(block)

    def write(self, file: DirectFile, block: memoryview, offset: int) -> Future[None]:
        """Have a whole block written by another thread."""
        return self._writers.submit(file.write_block, block, offset)

    def close(self) -> None:
        """End the threads, once what they have is written."""
        self._writers.shutdown()


class DirectFile:
    """A new file that grows at its end; used by one thread, ended by `close`.

    Its first `start` bytes are left for `write_at`. `early`: the kernel begins at once to write what went through the
    page cache.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, blocks: Blocks, *, start: int = 0, early: bool = True) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._direct = -1
        self._blocks = blocks
        self._early = early
        self._block = blocks.borrow()
        self._block[:start] = bytes(start)
        self._filled = start
        self._offset = 0
        self._written: deque[tuple[memoryview, Future[None]]] = deque()
        try:
            self._direct = _opened_direct(path)
        except BaseException:
            self.close()
            raise

    def append(self, piece: memoryview) -> None:
        """Take the next bytes; the caller may reuse the memory afterwards.

        Raises:
            OSError: the disk is full or failing, now or for what was appended before.
        """
        while piece:
            count = min(len(piece), BLOCK_BYTES - self._filled)
            end = self._filled + count
            self._block[self._filled : end] = piece[:count]
            self._filled, piece = end, piece[count:]
            if end == BLOCK_BYTES:
                self._written.append((self._block, self._blocks.write(self, self._block, self._offset)))
                self._offset, self._filled = self._offset + BLOCK_BYTES, 0
                self._block = self._wait_for_one() if len(self._written) == _BLOCKS_PER_FILE else self._blocks.borrow()

    def settle(self) -> None:
        """Write what is left, and wait until all of it is written; it is not synced yet.

        Raises:
            OSError: the disk is full or failing.
        """
        aligned = self._filled - self._filled % _ALIGNMENT
        self.write_block(self._block[:aligned], self._offset)
        _write(self.descriptor, self._block[aligned : self._filled], self._offset + aligned)
        while self._written:
            self._blocks.give_back(self._wait_for_one())

    def write_at(self, content: bytes, offset: int) -> None:
        """Write over bytes that are there.

        Raises:
            OSError: the disk is full or failing.
        """
        _write(self.descriptor, memoryview(content), offset)

    def write_block(self, block: memoryview, offset: int) -> None:
        """Write bytes of a block, aligned, to an aligned place; for any thread.

        Raises:
            OSError: the disk is full or failing.
        """
        if self._direct >= 0 and block:
            try:
                written = os.pwrite(self._direct, block, offset)
                if written == len(block):
                    return
            except OSError as error:
                if error.errno not in _UNABLE:
                    raise
        _write(self.descriptor, block, offset)
        if self._early and block:
            begin_writing(self.descriptor, offset, len(block))

    def close(self) -> None:
        """Let go of the file and of its blocks; may be called twice."""
        while self._written:
            with suppress(OSError):
                self._blocks.give_back(self._wait_for_one())
        for descriptor in (self.descriptor, self._direct):
            if descriptor >= 0:
                with suppress(OSError):
                    os.close(descriptor)
        if self.descriptor >= 0:
            self._blocks.give_back(self._block)
        self.descriptor = self._direct = -1

    def _wait_for_one(self) -> memoryview:
        block, written = self._written.popleft()
        written.result()
        return block


def _opened_direct(path: Path) -> int:
    """A descriptor that writes past the page cache, or -1 where the file system has none."""
    try:
        return os.open(path, os.O_WRONLY | os.O_DIRECT)
    except OSError as error:
        if error.errno in _UNABLE:
            return -1
        raise


def _write(descriptor: int, content: memoryview, offset: int) -> None:
    while content:
        # A disk that is nearly full takes a part, and says so at the next one.
        written = os.pwrite(descriptor, content[:_PIECE_BYTES], offset)
        content, offset = content[written:], offset + written
