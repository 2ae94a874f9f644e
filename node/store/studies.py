"""Studies: what has come, where it stands, where it ranks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter

from node.domain.patient import Patient
from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.domain.study import Order, StudyState
from node.domain.time import Instant
from node.store import events
from node.store.database import Database

#: In the column `released`, beside 0 and 1.
_BELIEVED = 2

_PATIENT = TypeAdapter(Patient)
_ORDER = TypeAdapter(Order)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRow:
    """One study as the tables have it."""

    study_instance_uid: str
    state: StudyState
    reason: str
    #: Whether instances have come that no closing has looked at.
    open: bool
    patient: Patient
    order: Order
    modality: str
    first_received: Instant
    #: When it last began to receive: first instance, or first late one after a closing.
    opened: Instant
    last_received: Instant
    expected_count: int | None
    force_requested: bool
    revision: int
    lane: Lane
    score: float
    sort_key: float
    reasons: tuple[dict[str, object], ...]
    #: Why no model reads it although one could: a study of old, or one that we retrieved ourselves; else empty.
    prior: str
    #: A person wants it read whatever its age.
    asked: bool
    #: A person has released it since it was held.
    released: bool
    #: ... and has seen that its instances name another patient than before: the next closing believes them.
    believed: bool
    #: Its first revision was opened for a model that reads early, and no closing has looked at it since.
    early: bool
    #: How far the radiologist's own report is, and who told it.
    report_state: ReportState
    report_told_by: str


def study(db: Database, study_instance_uid: str) -> StudyRow | None:
    """One study, if held."""
    found = _studies(db, "WHERE study_instance_uid = ?", (study_instance_uid,))
    return found[0] if found else None


def some(db: Database, uids: Sequence[str]) -> list[StudyRow]:
    """Those of these studies that are held."""
    return _studies(db, "WHERE study_instance_uid IN (SELECT value FROM json_each(?))", (json.dumps(list(uids)),))


def matching(
    db: Database, *, uids: Sequence[str], accession_number: str, patient_id: str, limit: int
) -> list[StudyRow]:
    """Up to `limit` studies with one of these UIDs, this accession number and this Patient ID; what is empty is any."""
    wheres = {
        "study_instance_uid IN (SELECT value FROM json_each(?))": json.dumps(list(uids)) if uids else "",
        "json_extract(\"order\", '$.accession_number') = ?": accession_number,
        "patient_id = ?": patient_id,
    }
    asked = {where: value for where, value in wheres.items() if value}
    where = " AND ".join(asked) or "0"
    return _studies(db, f"WHERE {where} ORDER BY first_wall DESC LIMIT {int(limit)}", tuple(asked.values()))


def open_studies(db: Database) -> list[StudyRow]:
    """Studies with instances that no closing has looked at, and that are not held."""
    return _studies(db, "WHERE open = 1 AND state != 'held'")


def held(db: Database) -> list[str]:
    """UIDs of the studies that are held for a person."""
    rows = db.rows("SELECT study_instance_uid FROM study WHERE state = 'held' ORDER BY study_instance_uid")
    return [row["study_instance_uid"] for row in rows]


def worklist(db: Database, *, every: bool = True) -> list[StudyRow]:
    """Studies in reading order: lane, then score with age, then arrival; those not yet closed come last of their lane.

    Without `every`, those that a radiologist's final report is known of are left out.
    """
    where = "" if every else "WHERE report_state != 'final' "
    order = "ORDER BY lane_order, revision = 0, sort_key DESC, coalesce(queued_s, first_wall), study_instance_uid"
    return _studies(db, f"{where}{order}")


def move(db: Database, now: Instant, study_instance_uid: str, after: StudyState, reason: str) -> None:
    """Set the state of a study and say why; a move to the same state with the same reason is none."""
    row = db.row("SELECT state, reason FROM study WHERE study_instance_uid = ?", (study_instance_uid,))
    if row is None or (row["state"], row["reason"]) == (after, reason):
        return
    db.execute(
        "UPDATE study SET state = ?, reason = ? WHERE study_instance_uid = ?", (after, reason, study_instance_uid)
    )
    events.record(
        db, now, "study", study_instance_uid, before=row["state"], after=after, reason=reason, study=study_instance_uid
    )


def record_identity(db: Database, study_instance_uid: str, patient: Patient, order: Order, modality: str) -> None:
    """Keep whose study it is and what was ordered, as the closing found them."""
    db.execute(
        'UPDATE study SET patient = ?, "order" = ?, patient_id = ?, issuer = ?, modality = ?'
        " WHERE study_instance_uid = ?",
        (
            _PATIENT.dump_json(patient).decode(),
            _ORDER.dump_json(order).decode(),
            *(patient.patient_id, patient.issuer, modality, study_instance_uid),
        ),
    )


def record_closing(db: Database, now: Instant, study_instance_uid: str, reason: str, *, revision: int) -> None:
    """The closing has looked at every instance; a `revision` above the study's opens that revision."""
    db.execute(
        "UPDATE study SET open = 0, force_requested = 0, released = 0, early = 0, revision = ?"
        " WHERE study_instance_uid = ?",
        (revision, study_instance_uid),
    )
    # One that was opened early is closed now; of one that was closed before, the first closing's reason stays.
    db.execute(
        "INSERT INTO revision (study_instance_uid, number, closed_at, reason) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET closed_at = excluded.closed_at, reason = reason || '; ' || excluded.reason"
        " WHERE closed_at = ''",
        (study_instance_uid, revision, now.iso, reason),
    )
    events.record(db, now, "revision", revision, after="closed", reason=reason, study=study_instance_uid)


def open_early(db: Database, now: Instant, study_instance_uid: str, reason: str) -> None:
    """Open the first revision for a model that reads before the closing; the study goes on receiving."""
    db.execute("UPDATE study SET early = 1, revision = 1 WHERE study_instance_uid = ?", (study_instance_uid,))
    db.execute(
        "INSERT INTO revision (study_instance_uid, number, closed_at, reason) VALUES (?, 1, '', ?)"
        " ON CONFLICT DO UPDATE SET reason = reason || '; ' || excluded.reason",
        (study_instance_uid, reason),
    )
    events.record(db, now, "revision", 1, after="early", reason=reason, study=study_instance_uid)


def record_prior(db: Database, study_instance_uid: str, reason: str) -> None:
    """Keep why no model reads a study although one could; empty where they do."""
    db.execute("UPDATE study SET prior = ? WHERE study_instance_uid = ?", (reason, study_instance_uid))


def reopen_asked_priors(db: Database, now: Instant) -> None:
    """Have those priors closed anew that are here and that a person has fetched since. Opens its own transaction."""
    found = db.rows(
        "SELECT study_instance_uid FROM study s WHERE open = 0 AND prior != '' AND EXISTS (SELECT 1 FROM retrieval r"
        " WHERE r.study_instance_uid = s.study_instance_uid AND r.purpose = 'asked'"
        " AND r.state IN ('retrieved', 'incomplete'))"
    )
    for row in found:
        uid = row["study_instance_uid"]
        with db.transaction():
            db.execute("UPDATE study SET open = 1 WHERE study_instance_uid = ?", (uid,))
            events.record(db, now, "study", uid, after="asked", reason="a person fetched it", study=uid)


def record_asked(db: Database, study_instance_uid: str) -> None:
    """A person wants the study read whatever its age and wherever it comes from."""
    db.execute("UPDATE study SET asked = 1 WHERE study_instance_uid = ?", (study_instance_uid,))


def revisions(db: Database, study_instance_uid: str) -> list[dict[str, object]]:
    """The revisions of a study, oldest first: number, closed_at (empty while it is open early), reason."""
    rows = db.rows(
        "SELECT number, closed_at, reason FROM revision WHERE study_instance_uid = ? ORDER BY number",
        (study_instance_uid,),
    )
    return [dict(row) for row in rows]


def record_expected_count(db: Database, study_instance_uid: str, count: int) -> None:
    """Keep how many instances an archive says there are."""
    db.execute("UPDATE study SET expected_count = ? WHERE study_instance_uid = ?", (count, study_instance_uid))


def record_released(db: Database, study_instance_uid: str, *, believed: bool) -> None:
    """A person lets a held study go on; `believed` is the patient whom its instances name now."""
    db.execute(
        "UPDATE study SET released = ? WHERE study_instance_uid = ?", (_BELIEVED if believed else 1, study_instance_uid)
    )


def request_closing(db: Database, study_instance_uid: str) -> None:
    """A person wants the study closed now, complete or not."""
    db.execute("UPDATE study SET force_requested = 1, open = 1 WHERE study_instance_uid = ?", (study_instance_uid,))


def series_arrivals(db: Database, study_instance_uid: str) -> dict[str, Instant]:
    """When the last image of each series came, by Series Instance UID."""
    rows = db.rows("SELECT * FROM series_arrival WHERE study_instance_uid = ?", (study_instance_uid,))
    return {row["series_instance_uid"]: _instant(row, "last") for row in rows}


def record_series_arrivals(db: Database, arrivals: Mapping[tuple[str, str], Instant]) -> None:
    """Note when the last image of each (Study, Series Instance UID) came."""
    for (study_instance_uid, series_instance_uid), now in arrivals.items():
        db.execute(
            "INSERT OR REPLACE INTO series_arrival (study_instance_uid, series_instance_uid,"
            " last_wall, last_boot_s, last_boot_id) VALUES (?, ?, ?, ?, ?)",
            (study_instance_uid, series_instance_uid, now.iso, now.boottime_s, now.boot_id),
        )


def open_again(db: Database, now: Instant, study_instance_uid: str, reason: str) -> None:
    """Something has changed that the last closing did not see: the next one comes after another quiet time."""
    moment = (now.iso, now.boottime_s, now.boot_id)
    db.execute(
        "UPDATE study SET last_wall = ?, last_boot_s = ?, last_boot_id = ? WHERE study_instance_uid = ?",
        (*moment, study_instance_uid),
    )
    opened = db.execute(
        "UPDATE study SET open = 1, opened_wall = ?, opened_boot_s = ?, opened_boot_id = ?"
        " WHERE study_instance_uid = ? AND open = 0",
        (*moment, study_instance_uid),
    )
    if opened.rowcount:
        events.record(db, now, "study", study_instance_uid, after="late", reason=reason, study=study_instance_uid)


def touch(db: Database, now: Instant, study_instance_uid: str, *, reopen: bool) -> None:
    """Make the study, or note that something came for it.

    Objects that no model reads neither reopen a closed study nor lengthen the quiet time of an open one.
    """
    moment = (now.iso, now.boottime_s, now.boot_id)
    made = db.execute(
        "INSERT OR IGNORE INTO study (study_instance_uid, state, first_wall, first_boot_s, first_boot_id,"
        " opened_wall, opened_boot_s, opened_boot_id, last_wall, last_boot_s, last_boot_id)"
        " VALUES (?, 'receiving', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (study_instance_uid, *moment, *moment, *moment),
    )
    if made.rowcount:
        events.record(db, now, "study", study_instance_uid, after=StudyState.RECEIVING, study=study_instance_uid)
    elif reopen:
        open_again(db, now, study_instance_uid, "late instances")


def _studies(db: Database, where: str, values: tuple[str, ...] = ()) -> list[StudyRow]:
    return [
        StudyRow(
            study_instance_uid=row["study_instance_uid"],
            state=StudyState(row["state"]),
            reason=row["reason"],
            open=bool(row["open"]),
            patient=_PATIENT.validate_json(row["patient"]),
            order=_ORDER.validate_json(row["order"]),
            modality=row["modality"],
            first_received=_instant(row, "first"),
            opened=_instant(row, "opened"),
            last_received=_instant(row, "last"),
            expected_count=row["expected_count"],
            force_requested=bool(row["force_requested"]),
            revision=row["revision"],
            lane=Lane(row["lane"]),
            score=row["score"],
            sort_key=row["sort_key"],
            reasons=tuple(json.loads(row["reasons"])),
            prior=row["prior"],
            asked=bool(row["asked"]),
            released=bool(row["released"]),
            believed=row["released"] == _BELIEVED,
            early=bool(row["early"]),
            report_state=ReportState(row["report_state"]),
            report_told_by=row["report_told_by"],
        )
        for row in db.rows(f"SELECT * FROM study {where}", values)
    ]


def _instant(row: sqlite3.Row, which: str) -> Instant:
    return Instant(datetime.fromisoformat(row[f"{which}_wall"]), row[f"{which}_boot_s"], row[f"{which}_boot_id"])
