"""Files inside a .zip archive, one after the other and within bounds; none is unpacked to a path.

Names from the archive are shown to people and used for nothing else. What an entry claims of itself is not believed:
its bytes are counted as they come, and so are those of the archive as a whole.
"""

from __future__ import annotations

import io
import mmap
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.errors import Refused
from node.receive.status import CANNOT_UNDERSTAND

#: What a file begins with that is an archive: a first entry, or none at all.
MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
_MOST_ENTRIES = 200_000
_LARGEST_DIRECTORY = 64 << 20
#: Images of one value shrink to a thousandth; a whole archive of DICOM objects comes nowhere near this.
_MOST_RATIO = 200
_ALWAYS_BYTES = 1 << 30
#: LZMA would let an archive say how much memory its reader takes.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1
_PIECE_BYTES = 1 << 20
#: A larger entry lies in a file without a name while it is looked at.
_IN_MEMORY_BYTES = 32 << 20
_FAULTS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, struct.error)


class Archive:
    """An archive that is open for reading."""

    def __init__(self, file: Path, archive: zipfile.ZipFile) -> None:
        """Look at its directory.

        Raises:
            Refused: it has too many entries.
        """
        self._archive = archive
        self._left = max(_ALWAYS_BYTES, file.stat().st_size * _MOST_RATIO)
        #: All files, in the order of the directory.
        self.entries = [info for info in archive.infolist() if not info.is_dir()]
        if len(self.entries) > _MOST_ENTRIES:
            raise Refused(CANNOT_UNDERSTAND, f"an archive of more than {_MOST_ENTRIES} files")

    def beginning(self, entry: zipfile.ZipInfo, count: int) -> bytes:
        """The first `count` bytes of an entry, fewer where it has fewer.

        Raises:
            Refused: it cannot be read: encrypted, in a compression that is not known, or damaged.
        """
        if entry.flag_bits & _ENCRYPTED:
            raise Refused(CANNOT_UNDERSTAND, "encrypted: unpack it with its password first")
        if entry.compress_type not in _METHODS:
            raise Refused(CANNOT_UNDERSTAND, f"compressed in a way that is not read (method {entry.compress_type})")
        try:
            with self._archive.open(entry) as stream:
                return stream.read(count)
        except _FAULTS as error:
            raise Refused(CANNOT_UNDERSTAND, "damaged inside the archive") from error

    @contextmanager
    def content(self, entry: zipfile.ZipInfo, maximum_bytes: int, folder: Path) -> Iterator[memoryview]:
        """All bytes of an entry whose beginning could be read; `folder` is where a large one may lie meanwhile.

        Raises:
            Refused: it is damaged, larger than `maximum_bytes`, or the archive unpacks to more than it may.
            OSError: the disk is full or failing.
        """
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, dir=str(folder)) as copy:
            size = 0
            for piece in self._pieces(entry):
                size += len(piece)
                if size > maximum_bytes:
                    raise Refused(CANNOT_UNDERSTAND, "larger than [receive] maximum_object_bytes")
                copy.write(piece)
            if size <= _IN_MEMORY_BYTES:
                copy.seek(0)
                with memoryview(copy.read()) as view:
                    yield view
            else:
                copy.flush()
                with mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ) as whole, memoryview(whole) as view:
                    yield view

    def _pieces(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        try:
            with self._archive.open(entry) as stream:
                while piece := stream.read(_PIECE_BYTES):
                    self._left -= len(piece)
                    if self._left < 0:
                        raise Refused(CANNOT_UNDERSTAND, "the archive unpacks to far more than DICOM objects would")
                    yield piece
        except _FAULTS as error:
            raise Refused(CANNOT_UNDERSTAND, "damaged inside the archive") from error


@contextmanager
def opened(file: Path) -> Iterator[Archive]:
    """Open an archive.

    Raises:
        Refused: it is damaged, or its directory is larger than that of any archive of studies.
        OSError: it cannot be read.
    """
    with _Bounded(io.FileIO(file)) as stream:
        try:
            archive = zipfile.ZipFile(stream)
        except _FAULTS as error:
            raise Refused(CANNOT_UNDERSTAND, "a damaged archive") from error
        with archive:
            yield Archive(file, archive)


def is_archive(beginning: bytes) -> bool:
    """Whether a file that begins like this is a .zip archive."""
    return beginning.startswith(MAGIC)


class _Bounded(io.BufferedReader):
    """A file of which no more is read at once than a directory may have."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read.

        Raises:
            Refused: too much at once.
        """
        if size is not None and size > _LARGEST_DIRECTORY:
            raise Refused(CANNOT_UNDERSTAND, "an archive with a directory that no archive of studies has")
        return super().read(size)
