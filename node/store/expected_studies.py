"""Studies that a modality worklist has scheduled: what is known of each before it comes, and whether it came."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime

from pydantic import TypeAdapter

from node.domain.patient import Patient
from node.domain.scheduled import Scheduled
from node.domain.time import Instant
from node.store.database import Database

_PATIENT = TypeAdapter(Patient)
#: A study is here if any of its images is, under its own UID or under the accession number of the same patient.
_CAME = (
    "EXISTS (SELECT 1 FROM study s WHERE s.study_instance_uid = e.study_instance_uid OR (e.accession_number != ''"
    " AND json_extract(s.\"order\", '$.accession_number') = e.accession_number AND s.issuer = e.issuer"
    " AND s.patient_id = e.patient_id))"
)
_ORDERED = (
    "{0}.issuer = e.issuer AND {0}.patient_id = e.patient_id"
    " AND (({0}.study_instance_uid != '' AND {0}.study_instance_uid = e.study_instance_uid)"
    " OR ({0}.accession_number != '' AND {0}.accession_number = e.accession_number))"
)
_NUMBER = "coalesce(nullif({0}.placer_number, ''), {0}.filler_number)"
#: Nobody wants it any more, as the RIS has said since: of several orders none.
_CANCELLED = (
    f"EXISTS (SELECT 1 FROM told_order t WHERE t.cancelled = 1 AND {_ORDERED.format('t')} AND NOT EXISTS ("
    f"SELECT 1 FROM told_order o WHERE o.cancelled = 0 AND {_ORDERED.format('o')}"
    f" AND {_NUMBER.format('o')} NOT IN ('', {_NUMBER.format('t')})))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCounts:
    """How many studies were expected in some time, and what became of them."""

    expected: int
    came: int
    cancelled: int


def record(db: Database, now: Instant, told: Scheduled) -> None:
    """Keep what a worklist says of a study, in the caller's transaction; its newest word stands."""
    patient = told.patient
    db.execute(
        "INSERT INTO expected_study (peer, study_instance_uid, accession_number, issuer, patient_id, patient,"
        " modalities, description, scheduled_at, told_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET accession_number = excluded.accession_number, issuer = excluded.issuer,"
        " patient_id = excluded.patient_id, patient = excluded.patient, modalities = excluded.modalities,"
        " description = excluded.description, told_at = excluded.told_at,"
        " missed_on = CASE scheduled_at WHEN excluded.scheduled_at THEN missed_on ELSE '' END,"
        " scheduled_at = excluded.scheduled_at",
        (
            *(told.peer, told.study_instance_uid, told.accession_number, patient.issuer, patient.patient_id),
            *(_PATIENT.dump_json(patient).decode(), json.dumps(told.modalities), told.description),
            *(_iso(told.scheduled_at), now.iso),
        ),
    )


def of_study(db: Database, study_instance_uid: str) -> Scheduled | None:
    """What was last said of a study, if anything was."""
    found = _scheduled(db, "WHERE study_instance_uid = ? ORDER BY told_at DESC LIMIT 1", (study_instance_uid,))
    return found[0] if found else None


def missing(db: Database, since: datetime, before: datetime) -> list[Scheduled]:
    """Studies that were scheduled in that time, not cancelled since, of which nothing has come, by their time."""
    where = (
        f"WHERE scheduled_at >= ? AND scheduled_at < ? AND missed_on = '' AND NOT {_CAME} AND NOT {_CANCELLED}"
        " ORDER BY scheduled_at, id"
    )
    return _scheduled(db, where, (_iso(since), _iso(before)))


def mark_missed(db: Database, study_instance_uid: str, day: str) -> None:
    """Note in which digest it was told that a study never arrived: it is told once; in the caller's transaction."""
    db.execute("UPDATE expected_study SET missed_on = ? WHERE study_instance_uid = ?", (day, study_instance_uid))


def counts(db: Database, since: datetime, before: datetime) -> ExpectedCounts:
    """How many were scheduled in that time, and what became of them."""
    row = db.row(
        f"SELECT count(*) AS expected, coalesce(sum({_CAME}), 0) AS came,"
        f" coalesce(sum(NOT {_CAME} AND {_CANCELLED}), 0) AS cancelled FROM expected_study e"
        " WHERE scheduled_at >= ? AND scheduled_at < ?",
        (_iso(since), _iso(before)),
    )
    assert row is not None
    return ExpectedCounts(**dict(row))


def forget(db: Database, before: datetime) -> None:
    """Remove what was scheduled before then, in the caller's transaction."""
    db.execute("DELETE FROM expected_study WHERE scheduled_at < ?", (_iso(before),))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _scheduled(db: Database, where: str, values: tuple[str, ...]) -> list[Scheduled]:
    columns = "peer, study_instance_uid, accession_number, patient, modalities, description, scheduled_at"
    return [_read(row) for row in db.rows(f"SELECT {columns} FROM expected_study e {where}", values)]


def _read(row: sqlite3.Row) -> Scheduled:
    return Scheduled(
        peer=row["peer"],
        study_instance_uid=row["study_instance_uid"],
        accession_number=row["accession_number"],
        patient=_PATIENT.validate_json(row["patient"]),
        modalities=tuple(json.loads(row["modalities"])),
        description=row["description"],
        scheduled_at=datetime.fromisoformat(row["scheduled_at"]),
    )
