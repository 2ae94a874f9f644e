"""Patient history: facts of one (Patient ID, issuer), each with its source."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import replace

from node.domain.history import Fact, Standing
from node.domain.patient import Patient
from node.domain.time import Instant
from node.store import identities
from node.store.database import Database

_COLUMNS = "code, scheme, value, unit, source, observed_at, coded, standing, ended_at"


def record(db: Database, now: Instant, patient: Patient, facts: Sequence[Fact], *, study: str) -> None:
    """Keep the facts that a study brings; what the same study said before and no longer says is superseded."""
    where = "study_instance_uid = ? AND patient_id = ? AND issuer = ? AND origin = ''"
    _replace(db, now, patient, facts, where, (study, patient.patient_id, patient.issuer), study=study, origin="")


def replace_told(
    db: Database, now: Instant, patient: Patient, facts: Sequence[Fact], *, origin: str, beside: bool = False
) -> bool:
    """Keep what another system says of a patient in place of what the same `origin` said of them before.

    `patient` is whom the source means, with birth date and sex as it tells them. `origin` names source and question,
    as "fhir HOSPITAL-A Condition" or "hl7 RIS ADT". `beside`: what it told of somebody of another birth date or sex
    under the same ID stays as it is. Returns whether anything changed.
    """
    where = "origin = ? AND patient_id = ? AND issuer = ?"
    values = (origin, patient.patient_id, patient.issuer)
    return _replace(db, now, patient, facts, where, values, study="", origin=origin, beside=beside)


def disown(db: Database, now: Instant, patient: Patient) -> None:
    """What other systems told of (Patient ID, issuer) without a birth date may be of whoever bore the ID before."""
    db.execute(
        "UPDATE history SET superseded_by = id, superseded_at = ? WHERE patient_id = ? AND issuer = ?"
        " AND birth_date = '' AND origin != '' AND superseded_by IS NULL",
        (now.iso, patient.patient_id, patient.issuer),
    )


def facts(db: Database, patient: Patient, *, study: str) -> list[Fact]:
    """What is known about a patient: the study's own facts, and all others where the patient is identified.

    An unidentified patient (no ID, a placeholder) has only what the study itself says. A fact that was told of somebody
    of another birth date or sex is a candidate and not here.
    """
    return facts_of(db, {study: patient})[study]


def facts_of(db: Database, patients: Mapping[str, Patient]) -> dict[str, list[Fact]]:
    """The same of several studies, by their UIDs."""
    known = _known(db, patients)
    return {uid: [fact for fact, doubt in found if not doubt] for uid, found in known.items()}


def candidates(db: Database, patient: Patient, *, study: str) -> list[tuple[Fact, str]]:
    """What may be about another person of the same ID, and is not used, each with what speaks against it."""
    return [(fact, doubt) for fact, doubt in _known(db, {study: patient})[study] if doubt]


def told_by(db: Database, patient: Patient, origin: str) -> list[Fact]:
    """What an origin has told of a patient and still stands, oldest first; nothing of another birth date or sex."""
    rows = db.rows(
        f"SELECT {_COLUMNS}, birth_date, sex FROM history WHERE origin = ? AND patient_id = ? AND issuer = ?"
        " AND superseded_by IS NULL ORDER BY id",
        (origin, patient.patient_id, patient.issuer),
    )
    corrections = identities.settled(db, patient, [patient.patient_id])
    return [_fact(row) for row in rows if not _conflict(row, patient, corrections)]


def patients_told(db: Database, origin: str) -> list[Patient]:
    """Whom an origin has told of, with birth date and sex as it told them, as far as that still stands."""
    rows = db.rows(
        "SELECT DISTINCT patient_id, issuer, birth_date, sex FROM history WHERE origin = ? AND superseded_by IS NULL",
        (origin,),
    )
    return [Patient(**dict(row)) for row in rows]


def times_of(db: Database, patient: Patient, *, study: str) -> list[tuple[Fact, str, str]]:
    """What was ever known about a patient as `facts` has it now: with when it was told, and superseded (or empty)."""
    ids = identities.identifiers_of(db, {study: patient})
    corrections = identities.settled_of(db, {study: patient}, ids).get(study, {})
    rows = db.rows(
        f"SELECT {_COLUMNS}, birth_date, sex, origin, study_instance_uid, recorded_at, superseded_at FROM history"
        " WHERE patient_id IN (SELECT value FROM json_each(?)) AND issuer = ? AND (? OR study_instance_uid = ?)"
        " ORDER BY id",
        (json.dumps(list(ids[study])), patient.issuer, patient.is_identified, study),
    )
    found = [row for row in rows if not _doubt(row, patient, study, corrections)]
    return [(_fact(row), row["recorded_at"], row["superseded_at"]) for row in found]


def _known(db: Database, patients: Mapping[str, Patient]) -> dict[str, list[tuple[Fact, str]]]:
    """Of each study, every fact under any identifier of its patient, and what speaks against it."""
    ids = identities.identifiers_of(db, patients)
    corrections = identities.settled_of(db, patients, ids)
    asked = [[one, each.issuer, each.is_identified, uid] for uid, each in patients.items() for one in ids[uid]]
    rows = db.rows(
        f"SELECT {_COLUMNS}, birth_date, sex, origin, study_instance_uid, asked_for FROM (SELECT value ->> 0 AS whose,"
        " value ->> 1 AS issued_by, value ->> 2 AS identified, value ->> 3 AS asked_for FROM json_each(?))"
        " CROSS JOIN history ON patient_id = whose AND issuer = issued_by"
        " WHERE superseded_by IS NULL AND (identified OR study_instance_uid = asked_for) ORDER BY id",
        (json.dumps(asked),),
    )
    found: dict[str, list[tuple[Fact, str]]] = {uid: [] for uid in patients}
    doubts: dict[tuple[str, str, str, bool], str] = {}
    for row in rows:
        uid = row["asked_for"]
        # A patient may have thousands of facts, nearly all of them told of one birth date and sex.
        key = (uid, row["birth_date"], row["sex"], row["study_instance_uid"] == uid and not row["origin"])
        if key not in doubts:
            doubts[key] = _doubt(row, patients[uid], uid, corrections.get(uid, {}))
        found[uid].append((_fact(row), doubts[key]))
    return found


def _doubt(row: sqlite3.Row, patient: Patient, study: str, corrections: identities.Corrections) -> str:
    """What speaks against a fact's being of this patient; nothing does against what the study itself says."""
    if row["study_instance_uid"] == study and not row["origin"]:
        return ""
    return identities.why_not(patient, replace(patient, birth_date=row["birth_date"], sex=row["sex"]), corrections)


def _conflict(row: sqlite3.Row, patient: Patient, corrections: identities.Corrections) -> bool:
    """Whether a fact was told of somebody of another birth date or sex."""
    for what in ("birth_date", "sex"):
        told, known = (corrections.get((what, each), each) for each in (row[what], getattr(patient, what)))
        if told and known and told != known:
            return True
    return False


def _fact(row: sqlite3.Row) -> Fact:
    return Fact(
        **{name: row[name] for name in _COLUMNS.split(", ") if name != "standing"}, standing=Standing(row["standing"])
    )


def _is_told_by(held: str, now: str) -> bool:
    return now in ("", held)


def _replace(
    db: Database,
    now: Instant,
    patient: Patient,
    facts: Sequence[Fact],
    where: str,
    values: tuple[str, ...],
    *,
    study: str,
    origin: str,
    beside: bool = False,
) -> bool:
    corrections = identities.settled(db, patient, [patient.patient_id]) if beside else {}
    held = {
        _fact(row): (int(row["id"]), (row["birth_date"], row["sex"]))
        for row in db.rows(
            f"SELECT id, {_COLUMNS}, birth_date, sex FROM history WHERE {where} AND superseded_by IS NULL", values
        )
        if not (beside and _conflict(row, patient, corrections))
    }
    changed, newest = False, {}
    for fact in dict.fromkeys(facts):
        known = held.get(fact)
        # Who tells no birth date or sex now takes none back that was told with the fact.
        if known is not None and all(map(_is_told_by, known[1], (patient.birth_date, patient.sex))):
            newest[fact.code] = known[0]
            del held[fact]
            continue
        made = db.execute(
            f"INSERT INTO history (patient_id, issuer, {_COLUMNS}, birth_date, sex, study_instance_uid, origin,"
            " recorded_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(patient.patient_id, patient.issuer),
                *(getattr(fact, name) for name in _COLUMNS.split(", ")),
                *(patient.birth_date, patient.sex, study, origin, now.iso),
            ),
        )
        assert made.lastrowid is not None
        newest[fact.code], changed = made.lastrowid, True
    for fact, (row_id, _) in held.items():
        db.execute(
            "UPDATE history SET superseded_by = ?, superseded_at = ? WHERE id = ?",
            (newest.get(fact.code, row_id), now.iso, row_id),
        )
        changed = True
    return changed
