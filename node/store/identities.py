"""Who is whom: identifiers that a hospital system has merged, and demographics that it has corrected.

What stands in the objects stays; this lies over it. Whoever looks up a patient asks `identifiers` first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from node.domain.patient import Patient, doubt, is_another_person
from node.domain.time import Instant
from node.store.database import Database

#: (field, value) that was corrected → the value that it was corrected to.
Corrections: TypeAlias = Mapping[tuple[str, str], str]
#: Of the patient, that a source corrects.
DEMOGRAPHICS = ("name", "birth_date", "sex")

#: Identifiers that are one patient's: everything that hangs together by moves that stand.
_TOGETHER = (
    "WITH RECURSIVE together (asked_for, issuer, patient_id) AS ("
    "SELECT value ->> 0, value ->> 1, value ->> 2 FROM json_each(?)"
    " UNION SELECT t.asked_for, t.issuer, m.survivor_id FROM together t JOIN identity_move m"
    " ON m.issuer = t.issuer AND m.patient_id = t.patient_id AND m.ended_at = ''"
    " UNION SELECT t.asked_for, t.issuer, m.patient_id FROM together t JOIN identity_move m"
    " ON m.issuer = t.issuer AND m.survivor_id = t.patient_id AND m.ended_at = '')"
    " SELECT asked_for, patient_id FROM together"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveRow:
    """One identifier that is another's patient."""

    id: int
    issuer: str
    patient_id: str
    survivor_id: str
    told_by: str
    recorded_at: str


def identifiers(db: Database, patient: Patient) -> list[str]:
    """Every Patient ID of the patient under their issuer, their own first; nobody else's is among them."""
    return identifiers_of(db, {"": patient})[""]


def identifiers_of(db: Database, patients: Mapping[str, Patient]) -> dict[str, list[str]]:
    """The same of several patients, by whatever they are called by."""
    found = {key: [patient.patient_id] for key, patient in patients.items()}
    asked = [
        [key, each.issuer, each.patient_id] for key, each in patients.items() if each.issuer and each.is_identified
    ]
    for row in db.rows(_TOGETHER, (json.dumps(asked),)) if asked else ():
        if row["patient_id"] not in found[row["asked_for"]]:
            found[row["asked_for"]].append(row["patient_id"])
    return found


def survivor(db: Database, patient: Patient) -> str:
    """The Patient ID under which the patient is known today."""
    found, seen = patient.patient_id, {""}
    while found not in seen and (moved := _move_of(db, patient.issuer, found)) is not None:
        seen.add(found)
        found = moved.survivor_id
    return found


def record_move(db: Database, now: Instant, patient: Patient, survivor_id: str, *, told_by: str) -> None:
    """Let an identifier be another one's patient from now on; the caller has seen that it makes no circle."""
    db.execute(
        "INSERT INTO identity_move (issuer, patient_id, survivor_id, told_by, recorded_at) VALUES (?, ?, ?, ?, ?)",
        (patient.issuer, patient.patient_id, survivor_id, told_by, now.iso),
    )


def end_move(db: Database, now: Instant, patient: Patient, survivor_id: str, *, told_by: str) -> bool:
    """Take a move back, if it stands; an empty `survivor_id` is any."""
    ended = db.execute(
        "UPDATE identity_move SET ended_at = ?, ended_by = ? WHERE issuer = ? AND patient_id = ? AND ended_at = ''"
        " AND ? IN ('', survivor_id)",
        (now.iso, told_by, patient.issuer, patient.patient_id, survivor_id),
    )
    return ended.rowcount > 0


def moves(db: Database) -> list[MoveRow]:
    """Every move that stands, oldest first."""
    return _moves(db, "ended_at = '' ORDER BY id", ())


def told(db: Database, patient: Patient) -> Patient | None:
    """Whom a hospital system says that (Patient ID, issuer) means, if one has."""
    row = db.row(
        "SELECT name, birth_date, sex FROM identity_told WHERE issuer = ? AND patient_id = ?",
        (patient.issuer, patient.patient_id),
    )
    return replace(patient, **dict(row)) if row else None


def is_disputed(db: Database, patient: Patient) -> bool:
    """Whether a hospital system says that the patient's identifier means somebody of another name and birth date."""
    meant = told(db, patient)
    return meant is not None and is_another_person(patient, meant)


def record_told(db: Database, now: Instant, patient: Patient, *, told_by: str) -> None:
    """Keep whom an identifier means, in place of what was told before."""
    db.execute(
        "INSERT OR REPLACE INTO identity_told (issuer, patient_id, name, birth_date, sex, told_by, recorded_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(patient.issuer, patient.patient_id, patient.name, patient.birth_date, patient.sex),
            *(told_by, now.iso),
        ),
    )


def record_former(db: Database, patient: Patient, what: str, value: str) -> None:
    """Keep a birth date or sex that was corrected: what was told under it is the same patient's."""
    db.execute("INSERT OR IGNORE INTO identity_former (issuer, patient_id, what, value) VALUES (?, ?, ?, ?)",
               (patient.issuer, patient.patient_id, what, value))  # fmt: skip


def forget_former(db: Database, patient: Patient) -> None:
    """An identifier means somebody else now: what was corrected of whoever bore it before says nothing of them."""
    db.execute("DELETE FROM identity_former WHERE issuer = ? AND patient_id = ?", (patient.issuer, patient.patient_id))


def end_moves(db: Database, now: Instant, patient: Patient, *, told_by: str) -> bool:
    """Take every merge of an identifier back, with whomever; whether there was one."""
    ended = db.execute(
        "UPDATE identity_move SET ended_at = ?, ended_by = ? WHERE issuer = ? AND ? IN (patient_id, survivor_id)"
        " AND ended_at = ''",
        (now.iso, told_by, patient.issuer, patient.patient_id),
    )
    return ended.rowcount > 0


def settled(db: Database, patient: Patient, patient_ids: Sequence[str]) -> Corrections:
    """What was corrected of these IDs of the patient's issuer."""
    return settled_of(db, {"": patient}, {"": patient_ids}).get("", {})


def settled_of(
    db: Database, patients: Mapping[str, Patient], patient_ids: Mapping[str, Sequence[str]]
) -> dict[str, Corrections]:
    """The same of several patients, by whatever they are called by; without those of whom nothing was."""
    asked = [[key, each.issuer, one] for key, each in patients.items() if each.issuer for one in patient_ids[key]]
    rows = db.rows(
        "SELECT a.value ->> 0 AS asked_for, f.what, f.value, t.birth_date, t.sex FROM json_each(?) a"
        " CROSS JOIN identity_former f ON f.issuer = a.value ->> 1 AND f.patient_id = a.value ->> 2"
        " JOIN identity_told t ON t.issuer = f.issuer AND t.patient_id = f.patient_id",
        (json.dumps(asked),),
    )
    found: dict[str, dict[tuple[str, str], str]] = {}
    for row in rows:
        # Where what it was corrected to was deleted since, nobody knows what is right: the two differ.
        if row[row["what"]]:
            found.setdefault(row["asked_for"], {})[row["what"], row["value"]] = row[row["what"]]
    return dict(found)


def why_not(patient: Patient, meant: Patient, corrections: Corrections) -> str:
    """Say what speaks against that `meant`, under one of the patient's identifiers, is the patient; or nothing.

    `corrections`: as `settled` tells them.
    """
    one, other = (
        replace(
            each,
            birth_date=corrections.get(("birth_date", each.birth_date), each.birth_date),
            sex=corrections.get(("sex", each.sex), each.sex),
        )
        for each in (patient, meant)
    )
    return doubt(replace(other, patient_id=patient.patient_id, issuer=patient.issuer), one) or ""


def difference(db: Database, patient: Patient, other: Patient) -> str:
    """Say why `other` is not the patient, or may not be, by all that is known of who is whom; or nothing.

    For priors and sibling studies, in place of `domain.patient.conflict`: an ID that was merged is no difference.
    """
    ids = identifiers(db, patient)
    if patient.issuer != other.issuer or other.patient_id not in ids:
        return doubt(patient, other) or "Issuer of Patient ID is known of one side alone"
    return why_not(patient, other, settled(db, patient, ids))


def demographics_of_studies(db: Database, patient: Patient) -> list[Patient]:
    """Whom the studies name that came under (Patient ID, issuer)."""
    rows = db.rows(
        "SELECT DISTINCT coalesce(patient ->> 'name', '') AS name, coalesce(patient ->> 'sex', '') AS sex,"
        " coalesce(patient ->> 'birth_date', '') AS birth_date FROM study WHERE patient_id = ? AND issuer = ?",
        (patient.patient_id, patient.issuer),
    )
    return [replace(patient, **dict(row)) for row in rows]


def is_news(db: Database, origin: str, patient: Patient, told_at: str) -> bool:
    """Whether what a source said then is not older than what it said last of the patient; kept as the latest if so.

    `told_at`: ISO 8601 UTC; empty where that is not known, and then it is news.
    """
    if not told_at:
        return True
    kept = db.execute(
        "INSERT INTO telling (origin, issuer, patient_id, told_at) VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET told_at = excluded.told_at WHERE excluded.told_at >= told_at",
        (origin, patient.issuer, patient.patient_id, told_at),
    )
    return kept.rowcount > 0


def _move_of(db: Database, issuer: str, patient_id: str) -> MoveRow | None:
    found = _moves(db, "ended_at = '' AND issuer = ? AND patient_id = ?", (issuer, patient_id))
    return found[0] if found else None


def _moves(db: Database, where: str, values: tuple[str, ...]) -> list[MoveRow]:
    columns = "id, issuer, patient_id, survivor_id, told_by, recorded_at"
    return [MoveRow(**dict(row)) for row in db.rows(f"SELECT {columns} FROM identity_move WHERE {where}", values)]
