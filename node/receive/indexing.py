"""Durable objects get their rows: many in one transaction, with the checkpoint that vouches for them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from node.domain.time import Instant
from node.errors import Failed, Refused
from node.receive.part10 import LONGEST_HEAD, read_meta
from node.store import arrivals, checkpoint, instances, retention
from node.store.arrivals import Arrival
from node.store.checkpoint import Checkpoint
from node.store.database import Database
from node.store.segment import place_of
from node.store.spool import Spool

_CHUNK_BYTES = 1 << 20

Entry = tuple[Instant, Arrival]


@dataclass(slots=True)
class _Sifted:
    """What is to be written for some durable objects."""

    new: list[Entry] = field(default_factory=list)
    #: Row id → path, where the held object is gone and this one takes its place.
    moved: dict[int, str] = field(default_factory=dict)
    #: Row id → when it came and its path, where the held object was freed.
    restored: dict[int, tuple[Instant, str]] = field(default_factory=dict)
    #: Files that hold once more what is held.
    superfluous: list[str] = field(default_factory=list)
    #: UIDs and digests that were held when we looked.
    known: frozenset[tuple[str, str]] = frozenset()


def index(
    db: Database, spool: Spool, entries: Sequence[Entry], upto: Checkpoint | None = None, *, replayed: bool = False
) -> int:
    """Index durable objects in the order in which they came; return how many were not held. Opens its own transaction.

    Objects that are held byte for byte make no row and no event. One whose file was freed is kept again under its old
    row; not where everything is `replayed` that lies here, and it came before it was freed. `upto` is written as the
    checkpoint.

    Raises:
        Transient: the database stayed busy, or another process indexed the same object meanwhile; try again.
    """
    sifted = _sift(db, spool, entries, replayed=replayed)
    with db.transaction():
        count = arrivals.record_arrivals(db, sifted.new, known=sifted.known)
        for row, path in sifted.moved.items():
            instances.move(db, row, path)
        for row, (now, path) in sifted.restored.items():
            retention.restore(db, now, row, path)
        if upto is not None:
            checkpoint.write(db, upto.use, upto.offset)
    for path in sifted.superfluous:
        with suppress(OSError):
            (spool.folder / path).unlink(missing_ok=True)
    return count


def is_held(spool: Spool, path: str, content: bytes | memoryview) -> bool | None:
    """Whether the object under `path` has exactly this data set; `None` if it is gone."""
    try:
        with spool.open(path) as held:
            offset = 0
            for chunk in _data_set(held):
                if content[offset : offset + len(chunk)] != chunk:
                    return False
                offset += len(chunk)
            return offset == len(content)
    except (OSError, Failed, Refused):
        return None


def strong_digest(chunks: Iterator[bytes] | Sequence[bytes | memoryview]) -> str:
    """SHA-256: what tells data sets apart that somebody made to have the same xxh3_128."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def _sift(db: Database, spool: Spool, entries: Sequence[Entry], *, replayed: bool) -> _Sifted:
    """Tell the new ones from those that are held: a digest alone is not believed."""
    uids = [arrival.sop_instance_uid for _, arrival in entries]
    held = instances.held_of(db, uids)
    freed = retention.freed_of(db, uids)
    sifted = _Sifted(known=frozenset(held))
    for now, arrived in entries:
        arrival = arrived
        while True:
            key = (arrival.sop_instance_uid, arrival.digest)
            row, path = held.get(key, (0, ""))
            if key in freed:
                if replayed and now.iso <= freed[key].freed_at:
                    break
                strong = _strong_digest(spool, arrival.path)
                if strong not in (freed[key].digest, ""):
                    arrival = replace(arrival, digest=strong)
                    continue
                if strong:
                    sifted.restored[row] = (now, arrival.path)
                    held[key] = (row, arrival.path)
                    del freed[key]
            elif not path:
                held[key] = (row, arrival.path)
                sifted.new.append((now, arrival))
            elif path != arrival.path:
                equal = _are_equal(spool, path, arrival.path)
                if equal is None:
                    held[key] = (row, arrival.path)
                    sifted.moved[row] = arrival.path
                elif equal:
                    # What lies in the journal may be filed just now, under the very name that this file has.
                    if place_of(path) is None and place_of(arrival.path) is None:
                        sifted.superfluous.append(arrival.path)
                elif arrival is arrived:
                    with spool.open(arrival.path) as stream:
                        arrival = replace(arrival, digest=strong_digest(_data_set(stream)))
                    continue
            break
    return sifted


def _are_equal(spool: Spool, held: str, other: str) -> bool | None:
    """Whether two objects have the same data set; `None` if the held one is gone or damaged."""
    try:
        one = spool.open(held)
    except (OSError, Failed):
        return None
    try:
        two = spool.open(other)
    except (OSError, Failed):
        # Removed as superfluous by an earlier process, or lost: what is held stays.
        one.close()
        return True
    with one, two:
        first, second = _data_set(one), _data_set(two)
        while True:
            chunk, another = _next(first), _next(second)
            if another is None:
                return True
            if chunk is None:
                return None
            if chunk != another:
                return False
            if not chunk:
                return True


def _strong_digest(spool: Spool, path: str) -> str:
    """SHA-256 of the data set under `path`; empty if it cannot be read."""
    try:
        with spool.open(path) as stream:
            return strong_digest(_data_set(stream))
    except (OSError, Failed, Refused):
        return ""


def _next(chunks: Iterator[bytes]) -> bytes | None:
    """The next chunk, empty at the end; `None` if it cannot be read."""
    try:
        return next(chunks, b"")
    except (OSError, Refused):
        return None


def _data_set(stream: BinaryIO) -> Iterator[bytes]:
    """The bytes behind the file meta group, in chunks of one size."""
    stream.seek(read_meta(stream.read(LONGEST_HEAD)).dataset_offset)
    while chunk := stream.read(_CHUNK_BYTES):
        yield chunk
