"""Instances as they are kept: description, versions, where they lie."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter

from node.domain.study import Instance
from node.domain.time import Instant
from node.store import events
from node.store.database import Database
from node.store.segment import FOLDER as JOURNAL

_INSTANCE = TypeAdapter(Instance)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldInstance:
    """One kept instance, described or not."""

    id: int
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str
    transfer_syntax_uid: str
    #: Hexadecimal, of the data set as received.
    digest: str
    path: str
    size: int
    source: str
    #: Wall time, ISO 8601.
    received_at: str
    #: We asked for it: it came by a retrieval of our own.
    retrieved: bool
    #: pending, described or undescribable.
    state: str
    reason: str
    #: Our own equipment made it.
    ours: bool
    #: Code of the title under which a rejection note has taken it out of use; empty while it is in use.
    rejected: str
    #: Whether a model could read it at all: an image in use that is not our own.
    readable: bool
    current: bool
    content_digest: str
    #: When its file was removed (ISO 8601 UTC); empty while it is here.
    freed_at: str
    #: The typed header, once described.
    instance: Instance | None


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


def is_ours(db: Database, instance_id: int) -> bool:
    """Whether we made an instance: it came back to us."""
    row = db.row("SELECT ours FROM instance WHERE id = ?", (instance_id,))
    return row is not None and bool(row["ours"])


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
    return kinds_of(db, [study_instance_uid])[study_instance_uid]


def kinds_of(db: Database, uids: Sequence[str]) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """The same of several studies, by UID."""
    # Word for word as the index has it: no header is read.
    part = "coalesce(json_extract(nullif(description, ''), '$.body_part_examined'), '')"
    rows = db.rows(
        f"SELECT DISTINCT study_instance_uid, modality, {part} AS part FROM json_each(?) asked"
        " CROSS JOIN instance INDEXED BY instance_kind ON study_instance_uid = asked.value"
        " WHERE current = 1 AND image = 1 AND ours = 0 AND rejected = ''",
        (json.dumps(list(uids)),),
    )
    found: dict[str, tuple[set[str], set[str]]] = {uid: (set(), set()) for uid in uids}
    for row in rows:
        for values, value in zip(found[row["study_instance_uid"]], (row["modality"], row["part"]), strict=True):
            values.update({value} if value else ())
    return {uid: (tuple(sorted(modalities)), tuple(sorted(parts))) for uid, (modalities, parts) in found.items()}


def move(db: Database, instance_id: int, path: str) -> None:
    """The object of an instance lies under another path from now on."""
    db.execute("UPDATE instance SET path = ? WHERE id = ?", (path, instance_id))


def in_journal(db: Database) -> list[tuple[str, str]]:
    """SOP Instance UID and digest of the instances that are not filed yet."""
    rows = db.rows(
        "SELECT sop_instance_uid, digest FROM instance WHERE path >= ? AND path < ?", (f"{JOURNAL}/", f"{JOURNAL}/~")
    )
    return [(row["sop_instance_uid"], row["digest"]) for row in rows]


def left_in_journal(db: Database, *, but_not: Collection[int], limit: int) -> list[HeldInstance]:
    """Instances that lie in the journal and wait for no description."""
    rows = db.rows(
        "SELECT * FROM instance WHERE path >= ? AND path < ? AND id NOT IN (SELECT value FROM json_each(?))"
        " AND NOT EXISTS (SELECT 1 FROM work_item w WHERE w.kind = 'describe' AND w.subject = CAST(instance.id AS TEXT)"
        " AND w.state IN ('ready', 'claimed')) LIMIT ?",
        (f"{JOURNAL}/", f"{JOURNAL}/~", json.dumps(sorted(but_not)), limit),
    )
    return [_held(row) for row in rows]


def held_of(db: Database, uids: Sequence[str]) -> dict[tuple[str, str], tuple[int, str]]:
    """Row id and path of every version of these SOP Instance UIDs, by UID and digest."""
    rows = db.rows(
        "SELECT id, sop_instance_uid, digest, path FROM instance"
        " WHERE sop_instance_uid IN (SELECT value FROM json_each(?))",
        (json.dumps(list(uids)),),
    )
    return {(row["sop_instance_uid"], row["digest"]): (row["id"], row["path"]) for row in rows}


def paths(db: Database, *, freed: bool = True) -> set[str]:
    """Paths of all indexed objects; without `freed`, of those that are to be here."""
    narrowed = "" if freed else " WHERE freed_at = ''"
    return {row["path"] for row in db.rows(f"SELECT path FROM instance{narrowed}")}


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


def _held(row: sqlite3.Row) -> HeldInstance:
    return HeldInstance(
        id=row["id"],
        study_instance_uid=row["study_instance_uid"],
        series_instance_uid=row["series_instance_uid"],
        sop_instance_uid=row["sop_instance_uid"],
        sop_class_uid=row["sop_class_uid"],
        transfer_syntax_uid=row["transfer_syntax_uid"],
        digest=row["digest"],
        path=row["path"],
        size=row["size"],
        source=row["source"],
        received_at=row["received_at"],
        retrieved=bool(row["retrieved"]),
        state=row["state"],
        reason=row["reason"],
        ours=bool(row["ours"]),
        rejected=row["rejected"],
        readable=bool(row["image"]) and not row["ours"] and not row["rejected"],
        current=bool(row["current"]),
        content_digest=row["content_digest"],
        freed_at=row["freed_at"],
        instance=_INSTANCE.validate_json(row["description"]) if row["description"] else None,
    )
