"""The reading list: the place of each study, a person's word on it, and how far the radiologist is with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from node.domain.patient import Patient
from node.domain.pin import Pin
from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.domain.time import Instant
from node.store import identities
from node.store.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a study stands, as the table has it."""

    study_instance_uid: str
    lane: Lane
    #: −1 above all (pinned), 0 to 2 the lanes, 3 below all (vetoed).
    band: int
    score: float
    sort_key: float
    #: [{rule, points, because}] as JSON.
    reasons: str
    #: When it joined the list, on the scale of `store.waiting`; `None` until it is ranked.
    queued_s: float | None
    #: For how many minutes after it joined others of its lane can overtake it; `None` where nothing bounds that.
    overtakable_min: float | None
    #: Why it is marked as waiting for too long; empty where it is not.
    waits_too_long: str = ""
    pin: Pin | None = None


_RANK = "lane, lane_order, score, sort_key, reasons, queued_s, overtakable_min"


def places(db: Database, uids: Sequence[str]) -> dict[str, Place]:
    """The places of these studies, by UID."""
    rows = db.rows(
        "SELECT study.study_instance_uid, study.lane, lane_order AS band, score, sort_key, reasons, queued_s,"
        " overtakable_min, waits_too_long, pinned_by, pinned_at, pinned_s, why, pin.lane AS pinned_to FROM study"
        " LEFT JOIN pin USING (study_instance_uid) WHERE study_instance_uid IN (SELECT value FROM json_each(?))",
        (json.dumps(list(uids)),),
    )
    found = {}
    for row in rows:
        told = {key: row[key] for key in Place.__slots__ if key not in ("lane", "pin")}
        pin = None
        if row["pinned_by"] is not None:
            pin = Pin(
                lane=Lane(row["pinned_to"]) if row["pinned_to"] else None,
                by=row["pinned_by"],
                at=datetime.fromisoformat(row["pinned_at"]),
                at_s=row["pinned_s"],
                why=row["why"],
            )
        found[row["study_instance_uid"]] = Place(**told, lane=Lane(row["lane"]), pin=pin)
    return found


def record_ranks(db: Database, ranked: Sequence[Place]) -> None:
    """Keep the places of studies in the worklist, with the reasons."""
    db.execute_each(
        f"UPDATE study SET ({_RANK}) = (?, ?, ?, ?, ?, ?, ?) WHERE study_instance_uid = ?",
        [
            (
                *(each.lane, each.band, each.score, each.sort_key, each.reasons, each.queued_s, each.overtakable_min),
                each.study_instance_uid,
            )
            for each in ranked
        ],
    )


def unread(db: Database) -> list[str]:
    """UIDs of every study that has been closed and no final report is known of, in reading order."""
    rows = db.rows(
        "SELECT study_instance_uid FROM study WHERE report_state != 'final' AND revision > 0"
        " ORDER BY lane_order, sort_key DESC, queued_s, study_instance_uid"
    )
    return [row["study_instance_uid"] for row in rows]


def unread_of_patient(db: Database, patient: Patient) -> list[str]:
    """UIDs of the patient's studies, under any of their IDs, that wait for a radiologist, oldest first."""
    rows = db.rows(
        "SELECT study_instance_uid FROM study WHERE patient_id IN (SELECT value FROM json_each(?)) AND issuer = ?"
        " AND report_state != 'final' ORDER BY first_wall",
        (json.dumps(identities.identifiers(db, patient)), patient.issuer),
    )
    return [row["study_instance_uid"] for row in rows]


def record_report_state(
    db: Database, now: Instant, study_instance_uid: str, state: ReportState, *, told_by: str
) -> None:
    """Keep how far the radiologist's report is, and who told it."""
    db.execute(
        "UPDATE study SET report_state = ?, report_told_by = ?, report_told_at = ? WHERE study_instance_uid = ?",
        (state, told_by, now.iso, study_instance_uid),
    )


def record_pin(db: Database, study_instance_uid: str, pin: Pin) -> None:
    """Keep a person's word on the place of a study; a later word takes the place of the earlier."""
    db.execute(
        "INSERT OR REPLACE INTO pin (study_instance_uid, lane, pinned_by, pinned_at, pinned_s, why)"
        " VALUES (?, ?, ?, ?, ?, ?)",
        (study_instance_uid, pin.lane or "", pin.by, pin.at.isoformat(), pin.at_s, pin.why),
    )


def remove_pin(db: Database, study_instance_uid: str) -> None:
    """Nobody says any more where the study stands."""
    db.execute("DELETE FROM pin WHERE study_instance_uid = ?", (study_instance_uid,))
