"""The segments of the journal as files: spares that wait to be used, sealed ones that wait to be drained.

A spare is written full of zeros ahead of need: an append to blocks that are written already changes no inode. Drained
segments become spares as they are. Where none is ready, one whose blocks are only reserved has to do: nobody waits.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from node.store.files import sync_folder
from node.store.segment import FOLDER, SUFFIX, Use, begin, name_of, records, use_of

SEGMENT_BYTES = 64 << 20
#: Segments that are kept ready to be used.
SPARES = 2
_SPARE = "spare-"
_ZEROS = bytes(1 << 20)
#: A spare is synced after so many bytes, so that nobody else's sync waits for all of it.
_SYNCED_BYTES = 8 << 20


class Segments:
    """The segments of one data folder; one process has them, and its threads share them."""

    def __init__(self, data_folder: Path, *, segment_bytes: int = SEGMENT_BYTES, lowest: int = 1) -> None:
        self._folder = data_folder / FOLDER
        self.segment_bytes = segment_bytes
        self._mutex = threading.Lock()
        self._spares: deque[Path] = deque()
        self._sealed: dict[int, Path] = {}
        self._failed: set[int] = set()
        self._next = lowest
        #: How many uses have begun: while it rises, the disk has better things to do than to write zeros.
        self.begun = 0
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(self._folder.parent)
        self._adopt()

    def sealed(self) -> list[int]:
        """Numbers of the segments that are written no more, oldest first."""
        with self._mutex:
            return sorted(self._sealed)

    def spares(self) -> int:
        """How many segments wait to be used."""
        return len(self._spares)

    def has_room_for_spares(self) -> bool:
        """Whether the disk holds a spare and, beside it, a segment that somebody may need while it is written."""
        disk = os.statvfs(self._folder)
        return disk.f_bavail * disk.f_frsize >= 2 * self.segment_bytes

    def begin(self) -> tuple[Use, int]:
        """Give a spare its next use; return it with a descriptor, which is the caller's to close.

        Raises:
            OSError: the disk is full or failing.
        """
        with self._mutex:
            spare = self._spares.popleft() if self._spares else None
        if spare is None:
            spare = self._reserve()
        left = [spare]
        try:
            with spare.open("r+b", buffering=0) as stream:
                use = begin(stream.fileno(), self._next)
                # A number that came to nothing is not tried again.
                self._next += 1
                self.begun += 1
                os.fdatasync(stream.fileno())
            # A link, never a rename: no use can take the place of another.
            file = self._folder / name_of(use.number)
            file.hardlink_to(spare)
            left.append(file)
            spare.unlink()
            sync_folder(self._folder)
            return use, os.open(file, os.O_RDWR)
        except BaseException:
            # It holds no record, and nobody would ever drain it.
            for each in left:
                with suppress(OSError):
                    each.unlink(missing_ok=True)
            raise

    def seal(self, number: int, *, failed: bool = False) -> None:
        """Nothing is written to it any more; what a disk has failed over is never used again."""
        with self._mutex:
            self._sealed[number] = self._folder / name_of(number)
            if failed:
                self._failed.add(number)

    def has_records(self, use: Use, offset: int) -> bool:
        """Whether a segment has records from `offset` on; `True` if that cannot be told."""
        try:
            with (self._folder / name_of(use.number)).open("rb") as stream:
                if use_of(stream.fileno()) != use:
                    return True
                return next(records(stream.fileno(), use, offset), None) is not None
        except OSError:
            return True

    def free(self, number: int, *, most_spares: int = SPARES) -> None:
        """Give a sealed segment back: no row names a record in it, and all its records are indexed, durably.

        With `most_spares` there already, it is given back to the file system.

        Raises:
            OSError: the disk is failing.
        """
        with self._mutex:
            file = self._sealed.pop(number)
            wanted = number not in self._failed and len(self._spares) < most_spares
        if not wanted or file.stat().st_size != self.segment_bytes:
            file.unlink()
            return
        spare = self._new_spare()
        file.rename(spare)
        with self._mutex:
            self._spares.append(spare)

    def prepare(self) -> None:
        """Write one spare full of zeros.

        Raises:
            OSError: the disk is full or failing.
        """
        spare = self._new_spare()
        descriptor = os.open(spare, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for at in range(0, self.segment_bytes, len(_ZEROS)):
                write_all(descriptor, [_ZEROS[: self.segment_bytes - at]], at)
                if at % _SYNCED_BYTES == 0:
                    os.fdatasync(descriptor)
            os.fsync(descriptor)
        except BaseException:
            spare.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        with self._mutex:
            self._spares.append(spare)

    def _reserve(self) -> Path:
        spare = self._new_spare()
        descriptor = os.open(spare, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, self.segment_bytes)
        except BaseException:
            spare.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        return spare

    def _new_spare(self) -> Path:
        return self._folder / f"{_SPARE}{secrets.token_hex(8)}{SUFFIX}"

    def _adopt(self) -> None:
        """Take over what an earlier process left: its segments are sealed, its whole spares are spares."""
        for file in sorted(self._folder.glob(f"*{SUFFIX}")):
            if file.name.startswith(_SPARE):
                if file.stat().st_size == self.segment_bytes and file.stat().st_nlink == 1:
                    self._spares.append(file)
                else:
                    file.unlink()
                continue
            number = int(file.stem)
            self._next = max(self._next, number + 1)
            use = read_use(file)
            if use is None:
                # Its records cannot be told any more; it stays for a person to look at.
                continue
            if use.number == number:
                self._sealed[number] = file
            else:
                # A power cut brought back the name that it had before it was drained.
                spare = self._new_spare()
                file.rename(spare)
                self._spares.append(spare)


def numbered(data_folder: Path) -> list[tuple[int, Path]]:
    """The segments of a data folder that have a number, oldest first."""
    return sorted((int(file.stem), file) for file in (data_folder / FOLDER).glob(f"[0-9]*{SUFFIX}"))


def read_use(file: Path) -> Use | None:
    """The present use of the segment in `file`; `None` if its first block is damaged."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        return use_of(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, pieces: Sequence[bytes | memoryview], offset: int) -> None:
    """Write all pieces in one call.

    Raises:
        OSError: not everything could be written.
    """
    if os.pwritev(descriptor, pieces, offset) != sum(map(len, pieces)):
        raise OSError(errno.EIO, "a short write")
