"""Instances as they are kept: arrival, description, versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from node.domain.study import Instance, is_image
from node.domain.time import Instant
from node.domain.work import WorkKind
from node.store import events, studies, work_items
from node.store.database import Database

_INSTANCE = TypeAdapter(Instance)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An object that is already durable in the spool."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    #: SHA-256 of the data set as received.
    digest: str
    size: int
    #: Relative to the data folder.
    path: str
    #: Name of the peer, or "import".
    source: str
    #: The transfer syntax or the object says that pixels were compressed with loss.
    lossy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldInstance:
    """One kept instance, described or not."""

    id: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    path: str
    size: int
    source: str
    #: pending, described or undescribable.
    state: str
    reason: str
    #: Whether a model could read it at all: an image that is not our own.
    readable: bool
    current: bool
    content_digest: str
    #: The typed header, once described.
    instance: Instance | None


def record_arrival(db: Database, now: Instant, arrival: Arrival) -> bool:
    """Index one durable object; `False` if exactly these bytes were held already.

    Another version of an instance becomes the current one, but a lossy copy never replaces a lossless one.
    """
    held = db.rows("SELECT digest, lossy FROM instance WHERE sop_instance_uid = ?", (arrival.sop_instance_uid,))
    if any(row["digest"] == arrival.digest for row in held):
        return False
    image = is_image(arrival.sop_class_uid)
    ours = _is_ours(db, arrival.sop_instance_uid)
    current = not (arrival.lossy and any(not row["lossy"] for row in held))
    studies.touch(db, now, arrival.study_instance_uid, reopen=image and not ours)
    if held and current:
        db.execute("UPDATE instance SET current = 0 WHERE sop_instance_uid = ?", (arrival.sop_instance_uid,))
    made = db.execute(
        "INSERT INTO instance (study_instance_uid, series_instance_uid, sop_instance_uid, sop_class_uid,"
        " transfer_syntax_uid, digest, size, path, source, received_at, image, ours, current, lossy)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(arrival.study_instance_uid, arrival.series_instance_uid, arrival.sop_instance_uid),
            *(arrival.sop_class_uid, arrival.transfer_syntax_uid, arrival.digest, arrival.size, arrival.path),
            *(arrival.source, now.iso, image, ours, current, arrival.lossy),
        ),
    )
    assert made.lastrowid is not None
    work_items.add(db, now, WorkKind.DESCRIBE, made.lastrowid, arrival.study_instance_uid)
    if held:
        text = "another version of an instance" + ("" if current else "; lossy, so the held one stays current")
        uid, study_uid = arrival.sop_instance_uid, arrival.study_instance_uid
        events.record(db, now, "instance", uid, after="version", reason=text, study=study_uid)
    return True


def record_description(db: Database, instance_id: int, described: Instance, *, ours: bool) -> None:
    """Keep the typed header of an instance; `ours` says that our own equipment made it."""
    db.execute(
        "UPDATE instance SET state = 'described', description = ?, modality = ?, content_digest = ?,"
        " ours = max(ours, ?) WHERE id = ?",
        (
            _INSTANCE.dump_json(described, exclude_defaults=True).decode(),
            described.modality,
            described.content_digest,
            ours,
            instance_id,
        ),
    )


def record_undescribable(db: Database, now: Instant, instance_id: int, reason: str) -> None:
    """The header cannot be read: the object is kept, and no model gets it."""
    rows = db.rows(
        "UPDATE instance SET state = 'undescribable', reason = ? WHERE id = ?"
        " RETURNING sop_instance_uid, study_instance_uid",
        (reason, instance_id),
    )
    for row in rows:
        uid, study_uid = row["sop_instance_uid"], row["study_instance_uid"]
        events.record(db, now, "instance", uid, after="undescribable", reason=reason, study=study_uid)


def of_study(db: Database, study_instance_uid: str = "", *, current_only: bool = True) -> list[HeldInstance]:
    """Kept instances of one study, or of all."""
    where = "WHERE 1 = 1" + (" AND study_instance_uid = ?" if study_instance_uid else "")
    where += " AND current = 1" if current_only else ""
    values = (study_instance_uid,) if study_instance_uid else ()
    return [_held(row) for row in db.rows(f"SELECT * FROM instance {where} ORDER BY id", values)]


def with_ids(db: Database, ids: Sequence[int]) -> list[HeldInstance]:
    """The instances of these row ids, in this order."""
    marks = ", ".join("?" for _ in ids)
    rows = {row["id"]: _held(row) for row in db.rows(f"SELECT * FROM instance WHERE id IN ({marks})", tuple(ids))}
    return [rows[each] for each in ids]


def sources(db: Database, study_instance_uid: str) -> list[str]:
    """Names of the peers that sent instances of a study."""
    rows = db.rows(
        "SELECT DISTINCT source FROM instance WHERE study_instance_uid = ? ORDER BY source", (study_instance_uid,)
    )
    return [row["source"] for row in rows]


def kinds(db: Database, study_instance_uid: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Modalities and body parts of the images of a study, ours left out."""
    rows = db.rows(
        "SELECT DISTINCT modality, coalesce(json_extract(nullif(description, ''), '$.body_part_examined'), '') AS part"
        " FROM instance WHERE study_instance_uid = ? AND current = 1 AND image = 1 AND ours = 0",
        (study_instance_uid,),
    )
    modalities = sorted({row["modality"] for row in rows if row["modality"]})
    return tuple(modalities), tuple(sorted({row["part"] for row in rows if row["part"]}))


def held_path(db: Database, sop_instance_uid: str, digest: str) -> str | None:
    """Path of the object with exactly these bytes, if one is indexed."""
    row = db.row("SELECT path FROM instance WHERE sop_instance_uid = ? AND digest = ?", (sop_instance_uid, digest))
    return str(row["path"]) if row else None


def paths(db: Database) -> set[str]:
    """Paths of all indexed objects."""
    return {row["path"] for row in db.rows("SELECT path FROM instance")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How far the instances of a study are."""

    received: int
    undescribed: int
    #: Modalities of its images.
    modalities: tuple[str, ...]


def tally(db: Database, study_instance_uid: str) -> Tally:
    """Count the current instances of a study."""
    row = db.row(
        "SELECT count(*) AS received, coalesce(sum(state = 'pending'), 0) AS undescribed,"
        " group_concat(DISTINCT CASE WHEN image AND NOT ours THEN modality END) AS modalities"
        " FROM instance WHERE study_instance_uid = ? AND current = 1",
        (study_instance_uid,),
    )
    assert row is not None
    names = tuple(sorted(name for name in (row["modalities"] or "").split(",") if name))
    return Tally(received=row["received"], undescribed=row["undescribed"], modalities=names)


def _is_ours(db: Database, sop_instance_uid: str) -> bool:
    return db.row("SELECT 1 FROM artifact WHERE sop_instance_uid = ?", (sop_instance_uid,)) is not None


def _held(row: sqlite3.Row) -> HeldInstance:
    return HeldInstance(
        id=row["id"],
        study_instance_uid=row["study_instance_uid"],
        series_instance_uid=row["series_instance_uid"],
        sop_instance_uid=row["sop_instance_uid"],
        sop_class_uid=row["sop_class_uid"],
        transfer_syntax_uid=row["transfer_syntax_uid"],
        path=row["path"],
        size=row["size"],
        source=row["source"],
        state=row["state"],
        reason=row["reason"],
        readable=bool(row["image"]) and not row["ours"],
        current=bool(row["current"]),
        content_digest=row["content_digest"],
        instance=_INSTANCE.validate_json(row["description"]) if row["description"] else None,
    )
