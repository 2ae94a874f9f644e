"""Earlier studies under the identifiers of patients, for many studies at once."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import TypeAdapter

from node.domain.patient import Patient
from node.store.database import Database

_PATIENT = TypeAdapter(Patient)
_DATE = "coalesce(json_extract(s.\"order\", '$.study_date'), '')"


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierStudy:
    """A study of an earlier day under one of the identifiers that were asked for; whose it is, is for the caller."""

    #: The study that it is earlier than.
    asked_for: str
    study_instance_uid: str
    patient: Patient
    modality: str
    #: YYYYMMDD.
    study_date: str


def of(db: Database, asked: Iterable[tuple[str, str, str, str]]) -> list[EarlierStudy]:
    """The earlier ones of (study, Patient ID, issuer, YYYYMMDD) each, the latest first; none that is held."""
    rows = db.rows(
        f"SELECT a.value ->> 0 AS asked_for, s.study_instance_uid, s.patient, s.modality, {_DATE} AS study_date"
        " FROM json_each(?) a CROSS JOIN study s ON s.patient_id = a.value ->> 1 AND s.issuer = a.value ->> 2"
        f" WHERE s.state != 'held' AND {_DATE} != '' AND {_DATE} < a.value ->> 3 ORDER BY {_DATE} DESC",
        (json.dumps(list(asked)),),
    )
    return [
        EarlierStudy(
            asked_for=row["asked_for"],
            study_instance_uid=row["study_instance_uid"],
            patient=_PATIENT.validate_json(row["patient"]),
            modality=row["modality"],
            study_date=row["study_date"],
        )
        for row in rows
    ]
