"""An object that is too large for the journal: a file of its own from the start, so that memory stays flat."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from node.receive.header import Header, walk_file
from node.store.files import begin_writing, sync_folder
from node.store.segments import write_all
from node.store.spool import Spool

#: The Part 10 head is written when the data set says its UIDs: its place is kept.
HEAD_BYTES = 2048
#: Written at once, at multiples of it: pieces as they come would touch the pages between them twice.
_PIECE_BYTES = 1 << 16
#: The kernel begins to write after so many bytes, so that the sync at the end finds little left.
_WRITTEN_BYTES = 8 << 20


class LargeFile:
    """One file below `incoming` while its object arrives."""

    def __init__(self, spool: Spool, *, sync: bool = True) -> None:
        self._spool = spool
        self._sync = sync
        self._file = spool.new_file()
        self._descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._piece = memoryview(bytearray(_PIECE_BYTES))
        #: Bytes of the piece that are filled, and where it goes.
        self._filled = HEAD_BYTES
        self._offset = 0
        self._begun = 0

    def write(self, piece: memoryview) -> None:
        """Append bytes of the data set.

        Raises:
            OSError: the disk is full or failing.
        """
        while piece:
            count = min(len(piece), _PIECE_BYTES - self._filled)
            self._piece[self._filled : self._filled + count] = piece[:count]
            self._filled += count
            piece = piece[count:]
            if self._filled == _PIECE_BYTES:
                self._flush()

    def _flush(self) -> None:
        if self._filled:
            write_all(self._descriptor, [self._piece[: self._filled]], self._offset)
            self._offset += self._filled
            self._filled = 0
        if self._sync and self._offset - self._begun >= _WRITTEN_BYTES:
            begin_writing(self._descriptor, self._begun, self._offset - self._begun)
            self._begun = self._offset

    def looked_over(self, transfer_syntax_uid: str, *, inflated_maximum_bytes: int = 0) -> Header:
        """Walk over the data set, through small windows.

        Raises:
            Refused: with the status and the reason.
            OSError: the disk is failing.
        """
        self._flush()
        return walk_file(
            self._descriptor, HEAD_BYTES, transfer_syntax_uid, inflated_maximum_bytes=inflated_maximum_bytes
        )

    def keep(self, head: bytes, sop_instance_uid: str, digest: str) -> str:
        """Write the head, of `HEAD_BYTES`, make the file durable under its final name, and return its path.

        Raises:
            OSError: the disk is full or failing; nothing is left under a final name.
        """
        if len(head) != HEAD_BYTES:
            raise ValueError(f"a head of {len(head)} bytes")
        self._flush()
        write_all(self._descriptor, [head], 0)
        if self._sync:
            os.fsync(self._descriptor)
        path = self._spool.name(self._file, sop_instance_uid, digest)
        if self._sync:
            sync_folder((self._spool.folder / path).parent)
        self.discard()
        return path

    def discard(self) -> None:
        """Forget the file, unless it has its final name; may be called twice."""
        if self._descriptor >= 0:
            with suppress(OSError):
                os.close(self._descriptor)
            self._descriptor = -1
        with suppress(OSError):
            Path(self._file).unlink(missing_ok=True)
