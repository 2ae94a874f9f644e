"""Versions: what was held under a SOP Instance UID before, whom it named, and who else sent the same."""

from __future__ import annotations

import json
from functools import lru_cache

from pydantic import TypeAdapter

from node.domain.patient import Patient
from node.store.database import Database

_PATIENT = TypeAdapter(Patient)

#: A current version that is the same image of the same patient as the row `i`.
_SAME = (
    "SELECT 1 FROM instance c WHERE c.sop_instance_uid = i.sop_instance_uid AND c.current = 1 AND c.rejected = ''"
    " AND c.state = 'described' AND c.content_digest = i.content_digest"
    " AND json_extract(nullif(c.description, ''), '$.patient') IS json_extract(nullif(i.description, ''), '$.patient')"
)


@lru_cache(256)
def patient_of(text: str | None) -> Patient:
    """The patient as a description has it; nobody where it has none."""
    return _PATIENT.validate_json(text) if text else Patient()


def earlier_patients(db: Database, study_instance_uid: str) -> list[Patient]:
    """Whom earlier versions of a study's current images named; ours and rejected ones left out."""
    rows = db.rows(
        "SELECT DISTINCT json_extract(nullif(v.description, ''), '$.patient') AS patient FROM instance i"
        " JOIN instance v ON v.sop_instance_uid = i.sop_instance_uid AND v.current = 0"
        " WHERE i.study_instance_uid = ? AND i.current = 1 AND i.image = 1 AND i.ours = 0 AND i.rejected = ''"
        " AND v.state = 'described' AND v.rejected = '' ORDER BY v.id",
        (study_instance_uid,),
    )
    return [patient_of(row["patient"]) for row in rows]


def moved_away(db: Database, study_instance_uid: str) -> int:
    """How many images of a study are current in another one, though it has never closed, or results rest on them."""
    row = db.row(
        "SELECT count(DISTINCT i.sop_instance_uid) AS number FROM instance i JOIN instance c"
        " ON c.sop_instance_uid = i.sop_instance_uid AND c.current = 1 AND c.study_instance_uid != i.study_instance_uid"
        " JOIN study s ON s.study_instance_uid = i.study_instance_uid"
        " WHERE i.study_instance_uid = ? AND i.current = 0 AND i.image = 1 AND i.ours = 0 AND i.rejected = ''"
        " AND (s.revision = 0 OR EXISTS (SELECT 1 FROM outcome_input u JOIN outcome o ON o.id = u.outcome_id"
        " WHERE u.instance_id = i.id AND o.state != 'superseded'))",
        (study_instance_uid,),
    )
    return int(row["number"]) if row else 0


def input_patients(db: Database, outcome_id: int) -> list[Patient]:
    """Whom the instances name that an outcome rests on."""
    rows = db.rows(
        "SELECT DISTINCT json_extract(nullif(description, ''), '$.patient') AS patient FROM outcome_input"
        " JOIN instance ON instance.id = instance_id WHERE outcome_id = ?",
        (outcome_id,),
    )
    return [patient_of(row["patient"]) for row in rows]


def has_stale_input(db: Database, outcome_id: int) -> bool:
    """Whether an input has been rejected, or has a newer version that is not known to be the same image."""
    row = db.row(
        "SELECT 1 FROM outcome_input JOIN instance i ON i.id = instance_id WHERE outcome_id = ?"
        f" AND (i.rejected != '' OR (i.current = 0 AND NOT EXISTS ({_SAME}))) LIMIT 1",
        (outcome_id,),
    )
    return row is not None


def input_sources(db: Database, outcome_id: int) -> list[frozenset[str]]:
    """For each input of an outcome the names of the peers that sent this very image, in whatever encoding."""
    rows = db.rows(
        "SELECT DISTINCT names FROM (SELECT json_group_array(DISTINCT v.source) AS names FROM outcome_input"
        " JOIN instance i ON i.id = instance_id JOIN instance v ON v.sop_instance_uid = i.sop_instance_uid"
        " AND (v.id = i.id OR (v.state = 'described' AND v.content_digest = i.content_digest))"
        " WHERE outcome_id = ? GROUP BY i.id)",
        (outcome_id,),
    )
    return list(dict.fromkeys(frozenset(json.loads(row["names"])) for row in rows))


def study_sources(db: Database, study_instance_uid: str) -> list[frozenset[str]]:
    """For each image of a study, not ours, the names of the peers that sent it, in whatever form."""
    rows = db.rows(
        "SELECT DISTINCT names FROM (SELECT json_group_array(DISTINCT source) AS names FROM instance"
        " WHERE study_instance_uid = ? AND NOT ours GROUP BY sop_instance_uid)",
        (study_instance_uid,),
    )
    return list(dict.fromkeys(frozenset(json.loads(row["names"])) for row in rows))
