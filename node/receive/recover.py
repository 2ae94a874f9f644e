"""The index from the spool: what a power cut took from the database is read again from the objects themselves."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from node.config import Settings
from node.domain.time import Clock, SystemClock
from node.errors import Refused
from node.receive.arrival import IMPORT, arrival_of
from node.receive.header import walk
from node.receive.part10 import read_meta
from node.receive.status import CANNOT_UNDERSTAND
from node.store import instances
from node.store.database import Database
from node.store.instances import Arrival
from node.store.spool import Spool

#: Rows written in one transaction: the write lock is not held long.
_TOGETHER = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A kept file that cannot be indexed. It stays where it is."""

    #: Relative to the data folder.
    path: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RebuildCounts:
    """What a rebuild found."""

    #: Objects in the spool.
    objects: int
    #: Those that no row knew, and that are indexed now.
    indexed: int
    unreadable: tuple[Unreadable, ...]


def rebuild(
    db: Database,
    spool: Spool,
    settings: Settings,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    *,
    clock: Clock | None = None,
) -> RebuildCounts:
    """Index every kept object that no row knows, oldest file first, so that the newest version is current.

    `progress` hears (done, all) of the objects to be read. Nothing is ever deleted or moved.

    Raises:
        Transient: the database stayed busy; what was indexed until then stays.
    """
    clock = clock or SystemClock()
    kept = list(spool.objects())
    known = instances.paths(db)
    lacking = sorted((path for path in kept if path not in known), key=lambda path: _age(db.folder / path))
    indexed = 0
    unreadable: list[Unreadable] = []
    batch: list[Arrival] = []
    for number, path in enumerate(lacking, start=1):
        try:
            batch.append(_read(db.folder, path, settings))
        except Refused as error:
            unreadable.append(Unreadable(path=path, reason=error.reason))
        except OSError as error:
            unreadable.append(Unreadable(path=path, reason=error.strerror or str(error)))
        if len(batch) == _TOGETHER or number == len(lacking):
            indexed += _record(db, clock, batch)
            batch.clear()
        progress(number, len(lacking))
    return RebuildCounts(objects=len(kept), indexed=indexed, unreadable=tuple(unreadable))


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
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as whole, memoryview(whole) as view:
            yield view


def source_named(settings: Settings, sending_ae_title: str) -> str:
    """The peer's name for an AE title; one that is no longer configured keeps its title, so nothing is sent for it."""
    peer = settings.peer_titled(sending_ae_title)
    return peer.name if peer else sending_ae_title or IMPORT


def _read(folder: Path, path: str, settings: Settings) -> Arrival:
    with mapped(folder / path) as whole:
        meta = read_meta(whole)
        with whole[meta.dataset_offset :] as content:
            header = walk(content, meta.transfer_syntax_uid)
            digest = hashlib.sha256(content).hexdigest()
            size = len(content)
    if digest[:16] not in Path(path).name:
        raise Refused(CANNOT_UNDERSTAND, "its bytes are not those that were received")
    source = source_named(settings, meta.sending_ae_title)
    return arrival_of(header, meta.transfer_syntax_uid, digest, size, path, source)


def _record(db: Database, clock: Clock, batch: list[Arrival]) -> int:
    if not batch:
        return 0
    with db.transaction():
        return sum(instances.record_arrival(db, clock.now(), each) for each in batch)


def _age(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0
