"""Other studies of the same patient, beyond doubt: earlier ones, and later ones."""

from __future__ import annotations

from datetime import datetime

from node.domain.patient import same_name
from node.domain.study import StudyState
from node.store import identities, studies
from node.store.database import Database
from node.store.studies import StudyRow

#: Of a patient with more studies here the latest arrived are looked at.
_MOST_STUDIES = 100


def earlier(db: Database, study: StudyRow) -> list[StudyRow]:
    """Studies of the patient that were made on an earlier day, the latest first."""
    made = day_of(study)
    found = [each for each in _others(db, study) if made and day_of(each) and day_of(each) < made]
    return sorted(found, key=lambda each: (day_of(each), each.study_instance_uid), reverse=True)


def later(db: Database, study: StudyRow) -> list[StudyRow]:
    """Studies of the patient that were made on a later day, the earliest first."""
    made = day_of(study)
    found = [each for each in _others(db, study) if made and day_of(each) > made]
    return sorted(found, key=lambda each: (day_of(each), each.study_instance_uid))


def is_of_same_patient(db: Database, study: StudyRow, other: StudyRow) -> bool:
    """Whether two studies are of one patient beyond doubt.

    The patient is identified, issuers are the same, the identifiers are or were merged, birth date, sex and name do not
    conflict, and no study of the two is held. All else is a candidate at most, and is not compared.
    """
    if StudyState.HELD in (study.state, other.state) or not study.patient.is_identified:
        return False
    if study.patient.issuer != other.patient.issuer or not other.patient.is_identified:
        return False
    known = identities.identifiers(db, study.patient)
    if other.patient.patient_id not in known:
        return False
    if identities.why_not(study.patient, other.patient, identities.settled(db, study.patient, known)):
        return False
    return same_name(study.patient.name, other.patient.name) is not False


def day_of(study: StudyRow) -> str:
    """Study Date (0008,0020) as ISO 8601; empty where it is none."""
    try:
        return datetime.strptime(study.order.study_date.strip(), "%Y%m%d").date().isoformat()  # noqa: DTZ007
    except ValueError:
        return ""


def _others(db: Database, study: StudyRow) -> list[StudyRow]:
    if not study.patient.is_identified or study.state is StudyState.HELD:
        return []
    known = identities.identifiers(db, study.patient)
    held = [
        row
        for each in known
        for row in studies.matching(db, uids=(), accession_number="", patient_id=each, limit=_MOST_STUDIES)
    ]
    uid = study.study_instance_uid
    return [each for each in held if each.study_instance_uid != uid and is_of_same_patient(db, study, each)]
