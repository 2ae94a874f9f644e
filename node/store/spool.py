"""The spool: every object as it was received, durable before it is acknowledged.

An object lies in a record of the journal (`node.store.journal`) or as a Part 10 file of its own: large ones at once,
small ones once they are filed. File names are ours alone: a hash of the SOP Instance UID and the digest of the bytes.
Nothing received becomes part of a path. Where an object came from stands in its file meta group (PS3.10 §7.1), so that
the index can be rebuilt from the spool.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from node.errors import Failed
from node.store.files import begin_writing, sync_folder
from node.store.segment import FOLDER as JOURNAL
from node.store.segment import name_of, path_of, place_of, record_at, use_of

FOLDER = "spool"
_INCOMING = "incoming"
_JOURNAL = Path(JOURNAL).name
_SUFFIX = ".dcm"
_COMPARED_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfiled:
    """An object that lies in the journal."""

    path: str
    sop_instance_uid: str
    #: Hexadecimal.
    digest: str
    #: When it came, seconds of the epoch.
    received_s: float


class Spool:
    """The spool below one data folder."""

    def __init__(self, folder: Path) -> None:
        self._data = folder
        self._root = folder / FOLDER
        self._incoming = self._root / _INCOMING
        if not self._incoming.is_dir():
            # All folders at once: a name is durable only when the folder above it is synced too.
            for byte in range(256):
                (self._root / f"{byte:02x}").mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_folder(self._root)
            sync_folder(folder)
            self._incoming.mkdir(mode=0o700, exist_ok=True)

    @property
    def folder(self) -> Path:
        """The data folder; paths are relative to it."""
        return self._data

    def new_file(self) -> Path:
        """Return a fresh path for bytes that are still arriving; its name says which process writes."""
        return self._incoming / f"{os.getpid()}-{secrets.token_hex(12)}.tmp"

    def keep(self, chunks: Iterable[bytes | memoryview], sop_instance_uid: str, digest: str) -> str:
        """Write the chunks as one object and return its path relative to the data folder.

        When this returns, object and folder are synced. `digest` is that of the data set's bytes, hexadecimal.

        Raises:
            OSError: the disk is full or failing; nothing is left under a final name.
        """
        temporary = self.new_file()
        try:
            with temporary.open("wb") as stream:
                for chunk in chunks:
                    stream.write(chunk)
                stream.flush()
                os.fsync(stream.fileno())
            path = self.name(temporary, sop_instance_uid, digest)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder((self._data / path).parent)
        return path

    def name(self, temporary: Path, sop_instance_uid: str, digest: str) -> str:
        """Give a written and synced file its final name, and return its path; the caller syncs the folder.

        The new one takes the place of a file of that name with the same bytes, so that whoever frees that leaves this;
        one with other bytes, made to have the same digest, keeps its name and the new one gets another.

        Raises:
            OSError: the disk is full or failing.
        """
        final = self._data / self.path_for(sop_instance_uid, digest)
        while True:
            try:
                # A link, never a rename: no object can take the place of another.
                final.hardlink_to(temporary)
                break
            except FileExistsError:
                found = self._take_place(final, temporary)
                if found:
                    break
                if found is None:
                    continue
                final = final.with_name(f"{final.name.partition('.')[0][:49]}-{secrets.token_hex(8)}{_SUFFIX}")
        temporary.unlink(missing_ok=True)
        return str(final.relative_to(self._data))

    def identity(self, path: str) -> str:
        """Tell the very file under `path` from any other that comes to bear its name; empty if there is none."""
        try:
            found = (self._data / path).stat()
        except FileNotFoundError:
            return ""
        return f"{found.st_dev}:{found.st_ino}:{found.st_mtime_ns}"

    def remove(self, path: str, identity: str) -> bool:
        """Remove the file under `path` if it is still the one of that identity; the caller syncs the folder.

        Raises:
            OSError: the disk is failing.
        """
        with self._alone():
            if not identity or self.identity(path) != identity:
                return False
            (self._data / path).unlink()
            return True

    def _take_place(self, final: Path, temporary: Path) -> bool | None:
        """Let a file take the place of one with the same bytes; `False` if it has others, `None` if it is gone."""
        with self._alone():
            try:
                if not _are_equal(final, temporary):
                    return False
            except FileNotFoundError:
                return None
            temporary.rename(final)
            return True

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Neither remove nor replace a file while another thread or process does."""
        descriptor = os.open(self._root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def path_for(self, sop_instance_uid: str, digest: str) -> str:
        """The path of the file with these bytes, relative to the data folder, whether or not it is there."""
        name = hashlib.sha256(sop_instance_uid.encode()).hexdigest()[:32] + "-" + digest[:16] + _SUFFIX
        return f"{FOLDER}/{name[:2]}/{name}"

    def file(self, unfiled: Sequence[Unfiled]) -> list[str | Failed]:
        """Write objects of the journal as files; when this returns, all are durable under the paths that it returns.

        One whose record is gone or damaged gets that as its answer, and costs the others nothing.

        Raises:
            OSError: the disk is full or failing.
        """
        written: list[Path | Failed] = []
        paths: list[str | Failed] = []
        try:
            for each in unfiled:
                try:
                    content = self._recorded(each.path, each.digest)
                except FileNotFoundError:
                    written.append(Failed(f"{each.path} is gone"))
                except Failed as error:
                    written.append(error)
                else:
                    written.append(self._write(content, each.received_s))
            for temporary in written:
                if isinstance(temporary, Path):
                    _sync(temporary)
            for each, temporary in zip(unfiled, written, strict=True):
                if isinstance(temporary, Path):
                    paths.append(self.name(temporary, each.sop_instance_uid, each.digest))
                else:
                    paths.append(temporary)
        finally:
            for temporary in written:
                if isinstance(temporary, Path):
                    temporary.unlink(missing_ok=True)
        for folder in {(self._data / path).parent for path in paths if isinstance(path, str)}:
            sync_folder(folder)
        return paths

    def _write(self, content: bytes, received_s: float) -> Path:
        temporary = self.new_file()
        try:
            with temporary.open("xb", buffering=0) as stream:
                if stream.write(content) != len(content):
                    raise OSError(errno.ENOSPC, "a short write")
                begin_writing(stream.fileno(), 0, 0)
            # A rebuild takes the oldest first.
            os.utime(temporary, (received_s, received_s))
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def open(self, path: str) -> BinaryIO:
        """Open a kept object, filed or not, as the Part 10 file that it is or will be.

        Raises:
            Failed: its record is gone or damaged.
            OSError: it cannot be read, or is not there.
        """
        return BytesIO(self.read(path)) if place_of(path) else (self._data / path).open("rb")

    def read(self, path: str) -> bytes:
        """All bytes of a kept object, filed or not.

        Raises:
            Failed: its record is gone or damaged.
            OSError: it cannot be read, or is not there.
        """
        return (self._data / path).read_bytes() if place_of(path) is None else self._recorded(path)

    def _recorded(self, path: str, digest: str = "") -> bytes:
        """All bytes of an object in the journal, of this digest where one is given: never those of another object."""
        place = place_of(path)
        if place is None:
            raise ValueError(f"{path} is no path of the journal")
        number, offset = place
        descriptor = os.open(self._data / JOURNAL / name_of(number), os.O_RDONLY)
        try:
            use = use_of(descriptor)
            record = record_at(descriptor, use, offset) if use is not None and use.number == number else None
            if record is None or not record.intact:
                raise Failed(f"{path} is damaged")
            content = os.pread(descriptor, record.head_bytes + record.content_bytes, record.start)
            # A number may come again where a database was put aside; a segment may get a new use while it is read.
            is_other = path != path_of(number, offset, len(content)) or use_of(descriptor) != use
            # A longer digest is another one: that of data sets which have the record's in common.
            if is_other or (len(digest) == 2 * len(record.digest) and record.digest.hex() != digest):
                raise Failed(f"{path} holds another object")
            return content
        finally:
            os.close(descriptor)

    def holds(self, path: str) -> bool:
        """Whether the object is there."""
        place = place_of(path)
        return (self._data / (path if place is None else f"{JOURNAL}/{name_of(place[0])}")).is_file()

    def objects(self) -> Iterator[str]:
        """Paths of all objects that are files, relative to the data folder."""
        for folder in sorted(self._root.iterdir()):
            if folder.is_dir() and folder.name not in (_INCOMING, _JOURNAL):
                for path in sorted(folder.glob(f"*{_SUFFIX}")):
                    yield str(path.relative_to(self._data))

    def sweep(self) -> int:
        """Remove what was never acknowledged, and return the count; only while this process receives nothing.

        What another living process is writing (an import) stays.
        """
        swept = 0
        for path in self._incoming.iterdir():
            if not _is_written_elsewhere(path):
                path.unlink(missing_ok=True)
                swept += 1
        return swept


def _sync(file: Path) -> None:
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _are_equal(one: Path, other: Path) -> bool:
    if one.stat().st_size != other.stat().st_size:
        return False
    with one.open("rb", buffering=0) as first, other.open("rb", buffering=0) as second:
        while chunk := first.read(_COMPARED_BYTES):
            if chunk != second.read(len(chunk)):
                return False
    return True


def _is_written_elsewhere(path: Path) -> bool:
    writer = path.name.partition("-")[0]
    if not writer.isdigit() or int(writer) == os.getpid():
        return False
    return Path("/proc", writer).exists()
