"""The index from the spool: what a power cut took from the database is read again from journal and files."""

from __future__ import annotations

import heapq
import json
import mmap
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from xxhash import xxh3_128

from node.config import Settings
from node.domain.time import Clock, Instant, SystemClock
from node.errors import Refused
from node.receive import note
from node.receive.arrival import IMPORT, Origin, arrival_of
from node.receive.header import walk_file
from node.receive.indexing import Entry, index, strong_digest
from node.receive.part10 import LONGEST_HEAD, FileMeta, read_meta
from node.receive.status import CANNOT_UNDERSTAND
from node.store import checkpoint, instances
from node.store.checkpoint import Checkpoint
from node.store.database import Database
from node.store.segment import BLOCK_BYTES, Use, path_of, records
from node.store.segments import numbered, read_use
from node.store.spool import Spool

#: Rows written in one transaction: the write lock is not held long.
_TOGETHER = 64
_CHUNK_BYTES = 1 << 20

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A kept object that cannot be indexed. It stays where it is."""

    #: Relative to the data folder.
    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildCounts:
    """What a rebuild found."""

    #: Objects that were looked at: those of the spool, or of the journal behind the checkpoint.
    objects: int
    #: Those that no row knew, and that are indexed now.
    indexed: int
    unreadable: tuple[Unreadable, ...]


@dataclass(slots=True)
class _Found:
    """What a walk over journal or files comes across."""

    objects: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)
    #: Behind the last record that was read.
    end: Checkpoint | None = None


def reconcile(
    db: Database,
    spool: Spool,
    settings: Settings,
    progress: Progress = lambda _done, _all: None,
    *,
    clock: Clock | None = None,
) -> RebuildCounts:
    """Index what follows the checkpoint in the journal; the whole spool if the checkpoint is none of this journal's.

    Only before this process receives anything.

    Raises:
        Transient: the database stayed busy; what was indexed until then stays.
    """
    segments = _segments(db.folder)
    start = checkpoint.read(db)
    uses = [use for use, _ in segments if use is not None]
    if start is None or not _belongs(start, uses):
        counts = rebuild(db, spool, settings, progress, clock=clock)
        end = Checkpoint(uses[-1], 0) if uses else checkpoint.before(1)
        with db.transaction():
            checkpoint.write(db, end.use, end.offset)
        return counts
    found = _Found()
    behind = [(use, file) for use, file in segments if use is None or use.number >= start.use.number]
    entries = _journal_entries(behind, found, start)
    indexed = _index(db, spool, entries, found)
    return RebuildCounts(objects=found.objects, indexed=indexed, unreadable=tuple(found.unreadable))


def rebuild(
    db: Database,
    spool: Spool,
    settings: Settings,
    progress: Progress = lambda _done, _all: None,
    *,
    clock: Clock | None = None,
) -> RebuildCounts:
    """Index every kept object that no row knows, oldest first, so that the newest version is current.

    `progress` hears (done, all) of the files to be read. No object is ever deleted, only files that hold one once more.

    Raises:
        Transient: the database stayed busy; what was indexed until then stays.
    """
    now = (clock or SystemClock()).now()
    kept = list(spool.objects())
    known = instances.paths(db)
    lacking = sorted((path for path in kept if path not in known), key=lambda path: _age(db.folder / path))
    filed, recorded = _Found(), _Found()
    files = _file_entries(db.folder, lacking, settings, now, filed, progress)
    journal = (entry for entry in _journal_entries(_segments(db.folder), recorded) if entry[1].path not in known)
    merged = heapq.merge(files, journal, key=lambda entry: entry[0].wall)
    indexed = _index(db, spool, merged, replayed=True)
    unreadable = (*filed.unreadable, *recorded.unreadable)
    # What is filed already lies in the journal too, until its segment has a new use.
    objects = len(instances.paths(db, freed=False)) + len(unreadable)
    return RebuildCounts(objects=objects, indexed=indexed, unreadable=unreadable)


@contextmanager
def mapped(file: Path) -> Iterator[memoryview]:
    """The content of a file without a copy in memory.

    Raises:
        OSError: it cannot be read.
        Refused: it is empty.
    """
    with file.open("rb") as stream:
        if not file.stat().st_size:
            raise Refused(CANNOT_UNDERSTAND, "an empty file")
        whole = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            yield memoryview(whole)
        finally:
            # An error that is passed on may hold on to pieces of it: then the mapping ends with the error.
            with suppress(BufferError):
                whole.close()


def origin_of(settings: Settings, meta: FileMeta) -> Origin:
    """Where a kept file came from; a peer that is no longer configured keeps its title, so nothing is sent for it."""
    peer = settings.peer_titled(meta.sending_ae_title)
    source, retrieved = peer.name if peer else meta.sending_ae_title or IMPORT, False
    if meta.origin:
        told = json.loads(meta.origin)
        source, retrieved = str(told["source"]), bool(told["retrieved"])
    return Origin(source=source, retrieved=retrieved)


def _belongs(start: Checkpoint, uses: Sequence[Use]) -> bool:
    """Whether it is a checkpoint of this journal: a database from a backup may know another one."""
    if start.is_between:
        return not uses or start.use.number in {use.number for use in uses}
    return start.use in uses


def _segments(folder: Path) -> list[tuple[Use | None, Path]]:
    return [(read_use(file), file) for _, file in numbered(folder)]


def _journal_entries(
    segments: Iterable[tuple[Use | None, Path]], found: _Found, start: Checkpoint | None = None
) -> Iterator[Entry]:
    """The arrivals of all sound records, in order."""
    for use, file in segments:
        path = str(file.relative_to(file.parents[2]))
        if use is None:
            found.unreadable.append(Unreadable(path=path, reason="its first block is damaged"))
            continue
        if use.number != int(file.stem):
            # A spare that a power cut gave back its old name.
            continue
        torn: list[tuple[int, int]] = []
        descriptor = os.open(file, os.O_RDONLY)
        try:
            offset = start.offset if start is not None and use == start.use else BLOCK_BYTES
            for record in records(descriptor, use, offset):
                if not record.intact:
                    torn.append((record.group, record.offset))
                    continue
                # What was written with it or after it may never have been acknowledged; what came before it was.
                lost = [at for group, at in torn if group < record.group]
                found.unreadable += [Unreadable(path=f"{path}@{at}", reason="its bytes are damaged") for at in lost]
                torn = [each for each in torn if each[0] >= record.group]
                found.objects += 1
                found.end = Checkpoint(use, record.end)
                object_bytes = record.head_bytes + record.content_bytes
                yield note.read(record.note, path_of(use.number, record.offset, object_bytes))
        finally:
            os.close(descriptor)


def _file_entries(
    folder: Path, paths: list[str], settings: Settings, now: Instant, found: _Found, progress: Progress
) -> Iterator[Entry]:
    for number, path in enumerate(paths, start=1):
        try:
            yield _read(folder, path, settings, now)
        except Refused as error:
            found.unreadable.append(Unreadable(path=path, reason=error.reason))
        except OSError as error:
            found.unreadable.append(Unreadable(path=path, reason=error.strerror or str(error)))
        progress(number, len(paths))


def _read(folder: Path, path: str, settings: Settings, now: Instant) -> Entry:
    with (folder / path).open("rb") as stream:
        start = stream.read(LONGEST_HEAD)
        if not start:
            raise Refused(CANNOT_UNDERSTAND, "an empty file")
        meta = read_meta(start)
        largest = settings.receive.maximum_object_bytes
        header = walk_file(
            stream.fileno(), meta.dataset_offset, meta.transfer_syntax_uid, inflated_maximum_bytes=largest
        )
        size = os.fstat(stream.fileno()).st_size - meta.dataset_offset
        digest = _digest(stream, meta.dataset_offset, Path(path).name)
    origin = origin_of(settings, meta)
    arrival = arrival_of(header, origin, meta.transfer_syntax_uid, size, digest=digest, path=path)
    wall = datetime.fromtimestamp(_age(folder / path), UTC)
    return Instant(wall, now.boottime_s, now.boot_id), arrival


def _digest(stream: BinaryIO, start: int, name: str) -> str:
    """The digest that the file's name was made of: the strong one where the other was not enough."""
    fast = xxh3_128()
    for chunk in _chunks(stream, start):
        fast.update(chunk)
    if fast.hexdigest()[:16] in name:
        return fast.hexdigest()
    strong = strong_digest(_chunks(stream, start))
    if strong[:16] not in name:
        raise Refused(CANNOT_UNDERSTAND, "its bytes are not those that were received")
    return strong


def _chunks(stream: BinaryIO, start: int) -> Iterator[bytes]:
    stream.seek(start)
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk


def _index(
    db: Database, spool: Spool, entries: Iterable[Entry], found: _Found | None = None, *, replayed: bool = False
) -> int:
    """Index in batches; where `found` tells how far the journal was read, the checkpoint moves along."""
    indexed = 0
    batch: list[Entry] = []
    for entry in entries:
        batch.append(entry)
        if len(batch) == _TOGETHER:
            indexed += index(db, spool, batch, found.end if found else None, replayed=replayed)
            batch.clear()
    if batch:
        indexed += index(db, spool, batch, found.end if found else None, replayed=replayed)
    return indexed


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
