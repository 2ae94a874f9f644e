"""Which Unified Procedure Steps a peer may know of, and what it sees of them.

Those to read a study are for the readers that its sources name, all others for performers. Whoever completes a step to
read a study takes the study off the list: only who was said to read does so.
"""

from __future__ import annotations

from dataclasses import replace

from node.config import Peer, Settings
from node.domain.dicom_json import Attributes, element
from node.domain.study import StudyState
from node.domain.ups import PERFORMER, READER, REQUESTER, UpsState
from node.domain.ups_attributes import (
    BIRTH_DATE,
    COMMENTS,
    INPUT,
    ISSUER_OF_PATIENT_ID,
    PATIENT_ID,
    PATIENT_NAME,
    READINESS,
    REFERENCED_REQUEST,
    SEX,
)
from node.store import identities, studies
from node.store.database import Database
from node.store.studies import StudyRow
from node.store.ups import UpsRow
from node.workflow.hearers import hearers

#: What takes the place of whatever says who the patient is, where the images are, and why they are urgent.
_NOBODY: Attributes = {
    PATIENT_NAME: element("PN"),
    PATIENT_ID: element("LO"),
    ISSUER_OF_PATIENT_ID: element("LO"),
    BIRTH_DATE: element("DA"),
    SEX: element("CS"),
    REFERENCED_REQUEST: element("SQ"),
    INPUT: element("SQ"),
    COMMENTS: element("LT"),
    READINESS: element("CS", "UNAVAILABLE"),
}


def as_seen(db: Database, settings: Settings, peer: Peer, row: UpsRow) -> UpsRow | None:
    """A step as a peer may see it; `None` where it may not know of it.

    A step to read a study whose patient is in doubt is nobody's to see before it is claimed, and names nobody after.
    """
    if not row.number:
        knows = bool({PERFORMER, REQUESTER} & set(peer.roles))
        return row if knows and (not peer.issuer or peer.issuer == row.issuer or row.source == peer.name) else None
    study = studies.study(db, row.study_instance_uid) if READER in peer.roles else None
    if study is None or (peer.issuer and peer.issuer != study.patient.issuer):
        return None
    if peer.name not in hearers(db, settings, study.study_instance_uid):
        return None
    if not is_in_doubt(db, study):
        return row
    return None if row.state is UpsState.SCHEDULED else replace(row, attributes=row.attributes | _NOBODY)


def is_in_doubt(db: Database, study: StudyRow) -> bool:
    """Whether a study waits for a person to say whose it is, or a hospital system says that the ID is another's."""
    return study.state is StudyState.HELD or identities.is_disputed(db, study.patient)
