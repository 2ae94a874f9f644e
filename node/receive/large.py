"""An object that is too large for the journal: a file of its own from the start, so that memory stays flat."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from node.receive.header import Header, walk_file
from node.store.direct import Blocks, DirectFile
from node.store.files import sync_folder
from node.store.spool import Spool

#: The Part 10 head is written when the data set says its UIDs: its place is kept.
HEAD_BYTES = 2048


class LargeFile:
    """One file below `incoming` while its object arrives."""

    def __init__(self, spool: Spool, blocks: Blocks, *, sync: bool = True) -> None:
        self._spool = spool
        self._sync = sync
        self._path = spool.new_file()
        self._file = DirectFile(self._path, blocks, start=HEAD_BYTES, early=sync)

    def write(self, piece: memoryview) -> None:
        """Append bytes of the data set.

        Raises:
            OSError: the disk is full or failing.
        """
        self._file.append(piece)

    def window(self) -> memoryview:
        """Where the next bytes of the data set may be put, one of them at least."""
        return self._file.window()

    def advance(self, count: int) -> None:
        """So many bytes were put into the window.

        Raises:
            OSError: the disk is full or failing.
        """
        self._file.advance(count)

    def looked_over(self, transfer_syntax_uid: str, *, inflated_maximum_bytes: int = 0) -> Header:
        """Walk over the data set, which is whole, through small windows.

        Raises:
            Refused: with the status and the reason.
            OSError: the disk is full or failing.
        """
        self._file.settle()
        descriptor = self._file.descriptor
        return walk_file(descriptor, HEAD_BYTES, transfer_syntax_uid, inflated_maximum_bytes=inflated_maximum_bytes)

    def keep(self, head: bytes, sop_instance_uid: str, digest: str) -> str:
        """Write the head, of `HEAD_BYTES`, make the file durable under its final name, and return its path.

        Raises:
            OSError: the disk is full or failing; nothing is left under a final name.
        """
        if len(head) != HEAD_BYTES:
            raise ValueError(f"a head of {len(head)} bytes")
        self._file.write_at(head, 0)
        if self._sync:
            os.fsync(self._file.descriptor)
        path = self._spool.name(self._path, sop_instance_uid, digest)
        if self._sync:
            sync_folder((self._spool.folder / path).parent)
        self.discard()
        return path

    def discard(self) -> None:
        """Forget the file, unless it has its final name; may be called twice."""
        self._file.close()
        with suppress(OSError):
            Path(self._path).unlink(missing_ok=True)
