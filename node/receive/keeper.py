"""The keeper: takes an object piece by piece, and returns only when it is durable and certain to be indexed.

A small object is collected in a buffer and appended to the journal, where all that arrive at one moment share a sync. A
large one streams into a file of its own, and the journal names it. The row comes after the answer: the journal is what
it is made of, now by the indexer or, if a power cut comes between, at the next start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from xxhash import xxh3_128

from node.domain.time import Clock, Instant
from node.errors import Refused
from node.receive import note
from node.receive.arrival import Origin, arrival_of, compare, head_of, looked_over, refuse_deflated
from node.receive.gathering import SCATTERED, Gathering
from node.receive.header import Header
from node.receive.indexer import Indexer
from node.receive.large import HEAD_BYTES, LargeFile
from node.receive.layouts import Layouts
from node.receive.status import OUT_OF_RESOURCES
from node.store import checkpoint
from node.store.arrivals import Arrival
from node.store.buffers import Buffer, Spares
from node.store.database import Database, open_database
from node.store.direct import Blocks
from node.store.journal import Journal
from node.store.segments import SEGMENT_BYTES, Segments
from node.store.spool import Spool

__all__ = ["Incoming", "Keeper", "Origin"]

#: Larger objects have a file of their own.
LARGEST_IN_JOURNAL = 1 << 20
#: Hashed at once: of more, xxhash lets go of the interpreter's lock, and taking it again is dearer than the hashing.
_HASHED_BYTES = 1 << 16


class Keeper:
    """What every intake keeps its objects with; one for the listener, shared by its threads.

    `sync=False` leaves out every sync: a benchmark's, never a site's.
    """

    def __init__(
        self,
        db: Database,
        spool: Spool,
        clock: Clock,
        *,
        inflated_maximum_bytes: int = 0,
        segment_bytes: int = SEGMENT_BYTES,
        sync: bool = True,
        gathering: Gathering = SCATTERED,
    ) -> None:
        self.db = db
        self.spool = spool
        self.clock = clock
        self.sync = sync
        #: The threads that work for associations.
        self.gathering = gathering
        #: Bytes to which a deflated data set may inflate; 0 refuses them all.
        self.inflated_maximum_bytes = inflated_maximum_bytes
        #: Objects that were kept so far, and bytes, of large ones as they come: a rough count of how much comes.
        self.objects = 0
        self.octets = 0
        self._segment_bytes = segment_bytes
        #: What large objects are written with.
        self.blocks = Blocks(gathering.joined)
        #: What small ones are collected in.
        self.buffers = Spares(lambda: Buffer(LARGEST_IN_JOURNAL))
        self._opening = threading.Lock()
        self._journal: Journal[tuple[Instant, Arrival]] | None = None
        self._indexer: Indexer | None = None
        self._segments: Segments | None = None

    def receive(
        self,
        origin: Origin,
        *,
        transfer_syntax_uid: str,
        maximum_bytes: int,
        sop_class_uid: str = "",
        sop_instance_uid: str = "",
        examine: Callable[[Header], None] | None = None,
        layouts: Layouts | None = None,
    ) -> Incoming:
        """Begin to take one object; the UIDs are what the command said, empty where there was none.

        `examine` is shown the object's header once it was walked over, before anything is kept; what it raises, `keep`
        raises. `layouts` remembers from one object of the caller's thread to the next.

        Raises:
            Refused: 0xC000 for a deflated transfer syntax that is not taken.
            Transient: the index is too far behind to take more; the peer is told 0xA700.
        """
        refuse_deflated(transfer_syntax_uid, self.inflated_maximum_bytes)
        if self._indexer is None:
            self.open()
        assert self._indexer is not None
        self._indexer.admit()
        incoming = Incoming(self, origin, transfer_syntax_uid, sop_class_uid, sop_instance_uid, maximum_bytes)
        incoming.examine, incoming.layouts = examine, layouts
        return incoming

    def open(self) -> Segments:
        """Open the journal, if it is not open: from then on it is this process's."""
        with self._opening:
            if self._segments is None:
                lowest = checkpoint.highest_named(self.db) + 1
                folder, room = self.db.folder, self.db.room
                segments = Segments(folder, segment_bytes=self._segment_bytes, lowest=lowest)
                self._indexer = Indexer(
                    lambda: open_database(folder, room, sync_commits=False), self.spool, self.gathering.joined
                )
                self._journal = Journal(segments, self._indexer.put, sync=self.sync)
                self._segments = segments
            return self._segments

    def settle(self, limit_s: float = 60.0) -> bool:
        """Wait until everything that is kept is indexed; `False` if it is not after `limit_s` seconds."""
        return self._indexer is None or self._indexer.settle(limit_s)

    def close(self, limit_s: float = 20.0) -> None:
        """Index what is kept, and let go of the journal; nothing may be received any more."""
        if self._indexer is not None and self._journal is not None:
            self._indexer.close(limit_s)
            self._journal.close()
        self.blocks.close()

    def append(
        self,
        arrival: Arrival,
        head: bytes,
        content: bytes | memoryview,
        digest: bytes,
        *,
        buffer: Buffer | None = None,
    ) -> None:
        """Make an object durable, or the name of one that is: see `Journal.append`."""
        assert self._journal is not None
        now = self.clock.now()
        self._journal.append(note.written(now, arrival), head, content, digest, (now, arrival), buffer=buffer)
        self.objects += 1
        self.octets += len(content)


class Incoming:
    """One object while it arrives; used by one thread, ended by `keep` or `discard`."""

    def __init__(
        self,
        keeper: Keeper,
        origin: Origin,
        transfer_syntax_uid: str,
        sop_class_uid: str,
        sop_instance_uid: str,
        maximum_bytes: int,
    ) -> None:
        self._keeper = keeper
        self._origin = origin
        self._transfer_syntax_uid = transfer_syntax_uid
        self._sop_class_uid = sop_class_uid
        self._sop_instance_uid = sop_instance_uid
        self._maximum_bytes = maximum_bytes
        self._digest = xxh3_128()
        self._size = 0
        self._buffer: Buffer | None = keeper.buffers.borrow()
        self._large: LargeFile | None = None
        #: As `Keeper.receive` says.
        self.examine: Callable[[Header], None] | None = None
        self.layouts: Layouts | None = None

    @property
    def is_large(self) -> bool:
        """Whether it has a file of its own by now."""
        return self._large is not None

    def write(self, piece: memoryview) -> None:
        """Take the next bytes of the data set; the caller may reuse the memory afterwards.

        Raises:
            Refused: 0xA700, the object is over the limit.
            OSError: the disk is full or failing.
        """
        while piece:
            window = self.window(len(piece))
            window[:] = piece[: len(window)]
            piece = piece[len(window) :]
            self.advance(window)

    def window(self, wanted: int) -> memoryview:
        """Where the next bytes of the data set may be put: `wanted` of them or fewer, at least one.

        Raises:
            Refused: 0xA700, the object is over the limit.
            OSError: the disk is full or failing.
        """
        end = self._size + wanted
        if end > self._maximum_bytes:
            raise Refused(OUT_OF_RESOURCES, f"larger than {self._maximum_bytes} bytes")
        assert self._buffer is not None
        if self._large is not None or end > LARGEST_IN_JOURNAL:
            if self._large is None:
                self._large = LargeFile(self._keeper.spool, self._keeper.blocks, sync=self._keeper.sync)
                self._large.write(self._buffer.content[: self._size])
            return self._large.window()[:wanted]
        return self._buffer.content[self._size : end]

    def advance(self, window: memoryview) -> None:
        """The window, or so much of it, was filled.

        Raises:
            OSError: the disk is full or failing.
        """
        for at in range(0, len(window), _HASHED_BYTES):
            self._digest.update(window[at : at + _HASHED_BYTES])
        self._size += len(window)
        if self._large is not None:
            self._keeper.octets += len(window)
            self._large.advance(len(window))

    def keep(self) -> bool:
        """Look the object over and make it durable: when this returns, 0x0000 may be sent.

        Returns `True`: whether exactly these bytes were held already, the index finds out later.

        Raises:
            Refused: it cannot be understood, or is not what the command said; nothing is kept.
            OSError: the disk is full or failing; nothing may be acknowledged.
        """
        try:
            if self._large is not None:
                self._keep_large(self._large)
            else:
                self._keep_small()
        finally:
            self.discard()
        return True

    def discard(self) -> None:
        """Forget what came; may be called twice."""
        if self._large is not None:
            self._large.discard()
            self._large = None
        if self._buffer is not None:
            self._keeper.buffers.give_back(self._buffer)
            self._buffer = None

    def _keep_small(self) -> None:
        assert self._buffer is not None
        content = self._buffer.content[: self._size]
        header = looked_over(
            content,
            self._transfer_syntax_uid,
            self._sop_class_uid,
            self._sop_instance_uid,
            inflated_maximum_bytes=self._keeper.inflated_maximum_bytes,
            layouts=self.layouts,
        )
        self._show(header)
        arrival = self._arrival(header)
        head = head_of(arrival, self._origin)
        self._keeper.append(arrival, head, content, self._digest.digest(), buffer=self._buffer)

    def _keep_large(self, large: LargeFile) -> None:
        inflated = self._keeper.inflated_maximum_bytes
        header = large.looked_over(self._transfer_syntax_uid, inflated_maximum_bytes=inflated)
        compare(header, self._sop_class_uid, self._sop_instance_uid)
        self._show(header)
        arrival = self._arrival(header)
        head = head_of(arrival, self._origin, length=HEAD_BYTES)
        path = large.keep(head, arrival.sop_instance_uid, arrival.digest)
        self._keeper.append(self._arrival(header, path), b"", b"", self._digest.digest())

    def _show(self, header: Header) -> None:
        if self.examine is not None:
            self.examine(header)

    def _arrival(self, header: Header, path: str = "") -> Arrival:
        digest = self._digest.hexdigest()
        return arrival_of(header, self._origin, self._transfer_syntax_uid, self._size, digest=digest, path=path)
