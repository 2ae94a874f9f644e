"""What arrives: rows of objects that are durable already, many in one transaction."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from node.domain.study import is_image
from node.domain.time import Instant
from node.domain.work import WorkKind
from node.errors import Transient
from node.store import events, retrievals, studies, work_items
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An object that is already durable in the spool."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    #: xxh3_128 of the data set as received, hexadecimal; longer where two data sets were made to have the same.
    digest: str
    size: int
    #: Relative to the data folder.
    path: str
    #: Name of the peer, or "import".
    source: str
    #: The transfer syntax or the object says that pixels were compressed with loss.
    lossy: bool = False
    #: We asked for it.
    retrieved: bool = False


def record_arrival(db: Database, now: Instant, arrival: Arrival) -> bool:
    """Index one durable object; `False` if one of the same digest was held already."""
    return record_arrivals(db, [(now, arrival)]) == 1


def record_arrivals(
    db: Database,
    arrivals: Sequence[tuple[Instant, Arrival]],
    *,
    known: Collection[tuple[str, str]] | None = None,
) -> int:
    """Index durable objects, each with the moment at which it came, in the caller's transaction; return how many.

    One whose UID and digest are held makes no row. Another version of an instance becomes the current one, but a lossy
    copy never replaces a lossless one.

    Raises:
        Transient: a UID and digest are held that are not among `known`, those that the caller has compared.
    """
    uids = json.dumps(sorted({arrival.sop_instance_uid for _, arrival in arrivals}))
    held: dict[str, list[tuple[str, bool]]] = {}
    for row in db.rows(
        "SELECT sop_instance_uid, digest, lossy FROM instance"
        " WHERE sop_instance_uid IN (SELECT value FROM json_each(?))",
        (uids,),
    ):
        if known is not None and (row["sop_instance_uid"], row["digest"]) not in known:
            raise Transient("another process has indexed the same instance")
        held.setdefault(row["sop_instance_uid"], []).append((row["digest"], bool(row["lossy"])))
    ours = {
        row["sop_instance_uid"]
        for row in db.rows(
            "SELECT sop_instance_uid FROM artifact WHERE sop_instance_uid IN (SELECT value FROM json_each(?))", (uids,)
        )
    }
    asked_of = retrievals.begun(db)
    touched: dict[tuple[str, bool], Instant] = {}
    new: list[tuple[Instant, Arrival, bool]] = []
    for now, arrival in arrivals:
        versions = held.setdefault(arrival.sop_instance_uid, [])
        if any(digest == arrival.digest for digest, _ in versions):
            continue
        current = not (arrival.lossy and any(not lossy for _, lossy in versions))
        if versions:
            _record_version(db, now, arrival, current=current)
            for at, (when, other, was) in enumerate(new):
                if current and was and other.sop_instance_uid == arrival.sop_instance_uid:
                    new[at] = (when, other, False)
        versions.append((arrival.digest, arrival.lossy))
        touched[arrival.study_instance_uid, _opens(arrival, ours)] = now
        # Not every archive names the Move Originator.
        retrieved = arrival.retrieved or (arrival.study_instance_uid, arrival.source) in asked_of
        as_asked = arrival if retrieved == arrival.retrieved else replace(arrival, retrieved=retrieved)
        new.append((now, as_asked, current))
    for (study_instance_uid, reopen), now in touched.items():
        studies.touch(db, now, study_instance_uid, reopen=reopen)
    series = {(each.study_instance_uid, each.series_instance_uid): now for now, each, _ in new if _opens(each, ours)}
    studies.record_series_arrivals(db, series)
    _insert(db, new, ours)
    return len(new)


def _opens(arrival: Arrival, ours: set[str]) -> bool:
    """Whether the object could be a model's input."""
    return is_image(arrival.sop_class_uid) and arrival.sop_instance_uid not in ours


def _record_version(db: Database, now: Instant, arrival: Arrival, *, current: bool) -> None:
    """There is another version of it: note so, and let the new one be current."""
    uid, study_uid = arrival.sop_instance_uid, arrival.study_instance_uid
    if current:
        rows = db.rows(
            "UPDATE instance SET current = 0 WHERE sop_instance_uid = ? AND current = 1 RETURNING study_instance_uid",
            (uid,),
        )
        for other in {row["study_instance_uid"] for row in rows} - {study_uid}:
            studies.open_again(db, now, other, "an instance came again in another study")
    text = "another version of an instance" + ("" if current else "; lossy, so the held one stays current")
    events.record(db, now, "instance", uid, after="version", reason=text, study=study_uid)


def _insert(db: Database, new: Sequence[tuple[Instant, Arrival, bool]], ours: set[str]) -> None:
    """Write the rows and the work that they make."""
    row = db.row("SELECT coalesce(max(id), 0) AS last FROM instance")
    assert row is not None
    first = int(row["last"]) + 1
    db.execute_each(
        "INSERT INTO instance (id, study_instance_uid, series_instance_uid, sop_instance_uid, sop_class_uid,"
        " transfer_syntax_uid, digest, size, path, source, received_at, image, ours, current, lossy, retrieved)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(number, arrival.study_instance_uid, arrival.series_instance_uid, arrival.sop_instance_uid),
                *(arrival.sop_class_uid, arrival.transfer_syntax_uid, arrival.digest, arrival.size, arrival.path),
                *(arrival.source, now.iso, is_image(arrival.sop_class_uid), arrival.sop_instance_uid in ours),
                *(current, arrival.lossy, arrival.retrieved),
            )
            for number, (now, arrival, current) in enumerate(new, start=first)
        ],
    )
    work_items.add_each(
        db,
        WorkKind.DESCRIBE,
        [(now, number, arrival.study_instance_uid) for number, (now, arrival, _) in enumerate(new, start=first)],
    )
