"""The journal: small objects of all associations, appended one behind the other and made durable by one sync a group.

An append to a file whose blocks are written already needs no change of any inode, so its sync costs a fraction of what
making, naming and syncing a file costs. Whoever finds nobody writing becomes the leader and writes all that wait.

A segment is used once from its first block to its last, is sealed, is drained (rows written, objects filed), and gets
a new use with a new number and nonce. After a fault of the disk it is sealed at once and never synced again: what a
second fsync says after a failed one is no proof.
"""

from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from node.store.buffers import Buffer
from node.store.files import UNABLE
from node.store.segment import BLOCK_BYTES, HEADER_BYTES, PADDING, Use, packed, padded, path_of
from node.store.segments import Segments, write_all

#: What one group may hold; pwritev takes 1024 pieces, a record has three at most.
_GROUP_BYTES = 8 << 20
_GROUP_RECORDS = 256
#: Less is written sooner through the page cache.
_LEAST_DIRECT = 128 << 10

Subject = TypeVar("Subject")


class Place(NamedTuple):
    """Where a record lies."""

    use: Use
    offset: int
    #: Where the next record starts: the journal is read on from here.
    end: int
    #: What stands as the object's path; empty where the note names a file.
    path: str


@dataclass(slots=True, eq=False)
class _Waiting(Generic[Subject]):
    """One append that is not durable yet."""

    note: bytes
    head: bytes
    content: bytes | memoryview
    digest: bytes
    subject: Subject
    #: Where the content lies, if its record can be written past the page cache; its front is one block then.
    buffer: Buffer | None
    #: Whole blocks.
    size: int
    #: Released when it is durable or has failed, or when its thread is to lead the next group.
    turn: threading.Lock = field(default_factory=threading.Lock)
    place: Place | None = None
    error: OSError | None = None


@dataclass(slots=True)
class _Open:
    """The segment that is written."""

    use: Use
    descriptor: int
    size: int
    offset: int = BLOCK_BYTES
    group: int = 0
    #: Whether it is written past the page cache just now, and whether its file system can.
    is_direct: bool = False
    can_direct: bool = True

    def write(self, pieces: Sequence[bytes | memoryview], *, direct: bool) -> None:
        """Write a group; `direct`: past the page cache where that can be, since all pieces are whole blocks."""
        if direct and self.can_direct:
            try:
                self._turn(direct=True)
                write_all(self.descriptor, pieces, self.offset)
            except OSError as error:
                if error.errno not in UNABLE:
                    raise
                self.can_direct = False
            else:
                return
        self._turn(direct=False)
        write_all(self.descriptor, pieces, self.offset)

    def _turn(self, *, direct: bool) -> None:
        if direct != self.is_direct:
            flags = fcntl.fcntl(self.descriptor, fcntl.F_GETFL) & ~os.O_DIRECT
            fcntl.fcntl(self.descriptor, fcntl.F_SETFL, flags | (os.O_DIRECT if direct else 0))
            self.is_direct = direct


class Journal(Generic[Subject]):
    """The journal of one data folder; the threads of its process share it.

    `durable` hears of every group in the order of the journal, before anybody is told that it is kept.
    """

    def __init__(
        self,
        segments: Segments,
        durable: Callable[[Sequence[tuple[Place, Subject]]], None],
        *,
        sync: bool = True,
    ) -> None:
        self._segments = segments
        self._durable = durable
        self._sync = sync
        self._mutex = threading.Lock()
        self._queue: deque[_Waiting[Subject]] = deque()
        self._led = False
        self._open: _Open | None = None

    def append(
        self,
        note: bytes,
        head: bytes,
        content: bytes | memoryview,
        digest: bytes,
        subject: Subject,
        *,
        buffer: Buffer | None = None,
    ) -> Place:
        """Append one record, and return when it is durable. `content` is not looked at after that.

        `note` is JSON; `buffer`: at whose beginning the content lies, if it lies in one.

        Raises:
            OSError: the disk is full or failing, or the record is larger than a segment; it is not kept.
        """
        front = HEADER_BYTES + len(note) + len(head)
        if len(content) < _LEAST_DIRECT or front > BLOCK_BYTES:
            buffer = None
        if buffer is not None:
            # Blanks behind JSON say nothing, and the content begins with a block.
            note, front = note.ljust(len(note) + BLOCK_BYTES - front), BLOCK_BYTES
        size = padded(front + len(content))
        waiting = _Waiting(note, head, content, digest, subject, buffer, size)
        waiting.turn.acquire()
        with self._mutex:
            self._queue.append(waiting)
            leads = not self._led
            self._led = True
        if not leads:
            waiting.turn.acquire()
            leads = waiting.place is None and waiting.error is None
        if leads:
            self._lead()
        if waiting.error is not None:
            raise OSError(waiting.error.errno, waiting.error.strerror)
        assert waiting.place is not None
        return waiting.place

    def close(self) -> None:
        """Seal the segment that is written; nobody may append any more.

        Where somebody still does, whom a disk holds up, it stays open: its descriptor must not become another file's.
        """
        with self._mutex:
            if self._open is not None and not self._led:
                self._seal()

    def _lead(self) -> None:
        """Write and sync one group, wake those whose records are in it, and let the next one lead."""
        group: list[_Waiting[Subject]] = []
        try:
            group = self._group()
            self._commit(group)
        except OSError as error:
            _fail(group, error)
        except BaseException as error:
            _fail(group, OSError(errno.EIO, f"the journal cannot be written: {type(error).__name__}"))
            raise
        finally:
            with self._mutex:
                following = self._queue[0] if self._queue else None
                self._led = following is not None
            for waiting in group:
                waiting.turn.release()
            if following is not None:
                following.turn.release()

    def _group(self) -> list[_Waiting[Subject]]:
        """Take from the queue what fits into the segment, at least one; where none can be had, the first fails."""
        first = self._queue[0]
        try:
            room = self._room(first.size)
        except OSError as error:
            room, first.error = first.size, error
        group: list[_Waiting[Subject]] = []
        with self._mutex:
            while self._queue and self._queue[0].size <= room and len(group) < _GROUP_RECORDS:
                room -= self._queue[0].size
                group.append(self._queue.popleft())
        return group

    def _room(self, needed: int) -> int:
        """Bytes of the open segment that a group may take: a new segment where fewer than `needed` are left."""
        if needed > self._segments.segment_bytes - BLOCK_BYTES:
            raise OSError(errno.EFBIG, "larger than a segment of the journal")
        if self._open is not None and self._open.size - self._open.offset < needed:
            self._seal()
        if self._open is None:
            use, descriptor = self._segments.begin()
            self._open = _Open(use, descriptor, self._segments.segment_bytes)
        return max(needed, min(_GROUP_BYTES, self._open.size - self._open.offset))

    def _commit(self, group: list[_Waiting[Subject]]) -> None:
        if group[0].error is not None:
            raise group[0].error
        segment = self._open
        assert segment is not None
        pieces: list[bytes | memoryview] = []
        places: list[Place] = []
        offset = segment.offset
        for each in group:
            front = packed(segment.use, offset, segment.group, each.note, each.head, len(each.content), each.digest)
            end = offset + each.size
            if each.buffer is None:
                pieces += (front, each.content, PADDING[: each.size - len(front) - len(each.content)])
            else:
                pieces.append(each.buffer.record(front, len(each.content)))
            object_bytes = len(each.head) + len(each.content)
            path = path_of(segment.use.number, offset, object_bytes) if object_bytes else ""
            places.append(Place(segment.use, offset, end, path))
            offset = end
        try:
            # Who waits for no sync need not wait for the disk either.
            segment.write(pieces, direct=self._sync and all(each.buffer is not None for each in group))
            if self._sync:
                os.fdatasync(segment.descriptor)
        except BaseException:
            self._seal(failed=True)
            raise
        segment.offset = offset
        segment.group += 1
        self._durable([(place, each.subject) for place, each in zip(places, group, strict=True)])
        for place, each in zip(places, group, strict=True):
            each.place = place

    def _seal(self, *, failed: bool = False) -> None:
        segment, self._open = self._open, None
        assert segment is not None
        with suppress(OSError):
            os.close(segment.descriptor)
        self._segments.seal(segment.use.number, failed=failed)


def _fail(group: Sequence[_Waiting[Subject]], error: OSError) -> None:
    for waiting in group:
        waiting.place, waiting.error = None, error
