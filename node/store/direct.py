"""Files that are written past the page cache, while what follows is still being received.

Fresh pages are the dearest part of a large file: they are taken, filled, written and given back. Direct blocks
(open(2), O_DIRECT) leave them out; a file system that has no such thing gets ordinary writes.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from queue import SimpleQueue
from typing import TypeAlias

from node.store.buffers import Spares
from node.store.files import UNABLE, begin_writing

#: Direct writes begin and end at multiples of it, in memory and in the file; every disk in use has that or less.
_ALIGNMENT = 4096
BLOCK_BYTES = 1 << 20
#: Blocks of one file: one fills while the others are written.
_BLOCKS_PER_FILE = 3
#: Written at once where pages are needed: larger ones are dearer to come by.
_PIECE_BYTES = 1 << 16
#: More of them only hand the interpreter's lock around.
_MOST_WRITERS = 3
_NO_BLOCK = memoryview(b"")


#: File, block and offset; `None` ends whoever takes it.
_Orders: TypeAlias = "SimpleQueue[tuple[DirectFile, memoryview, int] | None]"


class Blocks(Spares[memoryview]):
    """The blocks of memory, `BLOCK_BYTES` long and aligned to pages, and the threads that several files share."""

    def __init__(self, around: Callable[[], AbstractContextManager[None]] = nullcontext) -> None:
        """`around` is entered by each thread for as long as it lives."""
        super().__init__(lambda: memoryview(mmap.mmap(-1, BLOCK_BYTES)))
        self._around = around
        self._orders: _Orders = SimpleQueue()
        self._writers: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._closed = False
        # Who forgets to close them leaves no thread behind.
        weakref.finalize(self, self._orders.put, None)

    def write(self, file: DirectFile, block: memoryview, offset: int) -> None:
        """Have a whole block written by another thread, which tells the file.

        Raises:
            OSError: nobody can.
        """
        with self._lock:
            if self._closed:
                raise OSError(errno.ESHUTDOWN, os.strerror(errno.ESHUTDOWN))
            self._writers = [writer for writer in self._writers if writer.is_alive()]
            if len(self._writers) < _MOST_WRITERS and (not self._writers or not self._orders.empty()):
                self._start_one()
            self._orders.put((file, block, offset))

    def close(self) -> None:
        """End the threads, once what they have is written."""
        with self._lock:
            self._closed = True
            self._orders.put(None)
        for writer in self._writers:
            writer.join()

    def _start_one(self) -> None:
        writer = threading.Thread(target=_serve, args=(self._orders, self._around), name="blocks", daemon=True)
        try:
            writer.start()
        except RuntimeError as error:
            if not self._writers:
                raise OSError(errno.EAGAIN, f"no thread to write with: {error}") from error
        else:
            self._writers.append(writer)


def _serve(orders: _Orders, around: Callable[[], AbstractContextManager[None]]) -> None:
    """Write what is ordered; `None` is passed on, and ends every thread."""
    with around():
        while (order := orders.get()) is not None:
            file, block, offset = order
            file.write_for(block, offset)
            del file, block, order
        orders.put(None)


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
        self._block = _NO_BLOCK
        self._filled = start
        self._offset = 0
        #: Blocks that others write, and those that they have written, with what went wrong.
        self._lent = 0
        self._written: SimpleQueue[tuple[memoryview, OSError | None]] = SimpleQueue()
        #: What went wrong first: nothing makes the file whole after that.
        self._failed: OSError | None = None
        try:
            self._block = blocks.borrow()
            self._block[:start] = bytes(start)
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
            window = self.window()[: len(piece)]
            window[:] = piece[: len(window)]
            piece = piece[len(window) :]
            self.advance(len(window))

    def window(self) -> memoryview:
        """Where the next bytes are to be put: one of them at least."""
        return self._block[self._filled :]

    def advance(self, count: int) -> None:
        """So many bytes were put into the window.

        Raises:
            OSError: the disk is full or failing, now or for what was appended before.
        """
        self._filled += count
        if self._filled == BLOCK_BYTES:
            offset, self._offset, self._filled = self._offset, self._offset + BLOCK_BYTES, 0
            # Not ours any more, whatever happens: nobody may be given a block that is being written.
            block, self._block = self._block, _NO_BLOCK
            self._blocks.write(self, block, offset)
            self._lent += 1
            self._block = self._wait_for_one() if self._lent == _BLOCKS_PER_FILE else self._blocks.borrow()

    def settle(self) -> None:
        """Write what is left, and wait until all of it is written; it is not synced yet.

        Raises:
            OSError: the disk is full or failing.
        """
        if self._failed is not None:
            raise self._failed
        aligned = self._filled - self._filled % _ALIGNMENT
        self.write_block(self._block[:aligned], self._offset)
        _write(self.descriptor, self._block[aligned : self._filled], self._offset + aligned)
        while self._lent:
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
                if error.errno not in UNABLE:
                    raise
        _write(self.descriptor, block, offset)
        if self._early and block:
            begin_writing(self.descriptor, offset, len(block))

    def write_for(self, block: memoryview, offset: int) -> None:
        """Write a block in another thread than the file's; the file's own finds out what came of it."""
        failed: OSError | None = OSError(errno.EIO, os.strerror(errno.EIO))
        try:
            self.write_block(block, offset)
            failed = None
        except OSError as error:
            failed = error
        finally:
            # Whatever happens: its own thread waits for it.
            self._written.put((block, failed))

    def close(self) -> None:
        """Let go of the file and of its blocks; may be called twice."""
        while self._lent:
            with suppress(OSError):
                self._blocks.give_back(self._wait_for_one())
        for descriptor in (self.descriptor, self._direct):
            if descriptor >= 0:
                with suppress(OSError):
                    os.close(descriptor)
        if self._block:
            self._blocks.give_back(self._block)
            self._block = _NO_BLOCK
        self.descriptor = self._direct = -1

    def _wait_for_one(self) -> memoryview:
        block, failed = self._written.get()
        self._lent -= 1
        if failed is not None:
            self._failed = self._failed or failed
            raise failed
        return block


def _opened_direct(path: Path) -> int:
    """A descriptor that writes past the page cache, or -1 where the file system has none."""
    try:
        return os.open(path, os.O_WRONLY | os.O_DIRECT)
    except OSError as error:
        if error.errno in UNABLE:
            return -1
        raise


def _write(descriptor: int, content: memoryview, offset: int) -> None:
    while content:
        # A disk that is nearly full takes a part, and says so at the next one.
        written = os.pwrite(descriptor, content[:_PIECE_BYTES], offset)
        content, offset = content[written:], offset + written
