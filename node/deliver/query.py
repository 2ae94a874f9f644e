"""Questions to a destination by C-FIND, Study Root (PS3.4 §C.6.2): does it hold an object, as whom a study is filed.

Unique keys only, each a whole UID: never an empty one, never a wildcard. An answer counts if it is to what was asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import dcmread
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind  # type: ignore[attr-defined]

from node.config import DeliverSettings, Peer
from node.deliver.carriage import Lost
from node.deliver.dialogue import MALFORMED, Dialogue, NotOffered, Unanswered, dialogue, text_of
from node.domain.patient import UNDECODABLE, Patient
from node.domain.reconciliation import Filed
from node.domain.uid import is_usable_uid
from node.errors import Failed

FIND = str(StudyRootQueryRetrieveInformationModelFind)
#: PS3.4 Table C.4-1: the identifier does not match the SOP Class; unable to process (0xCxxx).
_NOT_THIS_LEVEL = 0xA900
_CANNOT_PROCESS = 0xC000
#: A unique key has one answer.
_MOST_ANSWERS = 20
#: Return keys of a study (PS3.4 §C.2.2.1.3), beside its UID.
_FILED_KEYWORDS = (
    *("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    "AccessionNumber",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one instance belongs: its unique keys."""

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str


def place_of(path: Path) -> Place:
    """Read the unique keys of a stored result.

    Raises:
        Failed: the file is gone, or is no Part 10 file.
    """
    keywords = ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"]
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=list(keywords))
        place = Place(
            study_instance_uid=str(header.StudyInstanceUID),
            series_instance_uid=str(header.SeriesInstanceUID),
            sop_instance_uid=str(header.SOPInstanceUID),
        )
    except (OSError, InvalidDicomError, *MALFORMED) as error:
        raise Failed(f"the stored file {path.name} does not say where it belongs") from error
    if not all(map(is_usable_uid, (place.study_instance_uid, place.series_instance_uid, place.sop_instance_uid))):
        raise Failed(f"the stored file {path.name} has no sound UIDs")
    return place


def is_held(peer: Peer, our_ae_title: str, settings: DeliverSettings, place: Place) -> bool | None:
    """Whether a destination has this very SOP Instance; `None` where it answers no such questions.

    Raises:
        Unreachable: nobody answers, or the association is rejected.
        Transient: it gives no answer now.
    """
    try:
        with dialogue(peer, our_ae_title, settings, [FIND]) as asked:
            [held] = held_of(asked, [place], limit_s=settings.dimse_s)
            return held
    except NotOffered:
        return None


def held_of(asked: Dialogue, places: Sequence[Place], *, limit_s: float) -> list[bool | None]:
    """For each instance, whether the destination has it; `None` where it answers no such question.

    Raises:
        NotOffered: it offers no queries.
        Transient: it gives no answer now.
    """
    return [_is_held(asked, place, limit_s) for place in places]


def _is_held(asked: Dialogue, place: Place, limit_s: float) -> bool | None:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "IMAGE"
    identifier.StudyInstanceUID = place.study_instance_uid
    identifier.SeriesInstanceUID = place.series_instance_uid
    identifier.SOPInstanceUID = place.sop_instance_uid
    try:
        answers = asked.find(FIND, identifier, most=_MOST_ANSWERS, limit_s=limit_s)
    except Unanswered as error:
        # Not every archive answers below the study.
        if error.status == _NOT_THIS_LEVEL or error.status & 0xF000 == _CANNOT_PROCESS:
            return None
        raise
    return any(_is_about(answer, place) for answer in answers)


def _is_about(answer: Dataset, place: Place) -> bool:
    study = text_of(answer, "StudyInstanceUID") or place.study_instance_uid
    return (text_of(answer, "SOPInstanceUID"), study) == (place.sop_instance_uid, place.study_instance_uid)


def filed_as(peer: Peer, our_ae_title: str, settings: DeliverSettings, study_instance_uid: str) -> tuple[Filed, ...]:
    """As whom a destination files a study: empty where it does not have it; more than one where it contradicts itself.

    Raises:
        NotOffered: it offers no queries.
        Unreachable: nobody answers, or the association is rejected.
        Transient: it gives no answer now.
    """
    if not is_usable_uid(study_instance_uid):
        raise Failed("the Study Instance UID is no whole UID")
    identifier = Dataset()
    identifier.QueryRetrieveLevel = "STUDY"
    for keyword in _FILED_KEYWORDS:
        setattr(identifier, keyword, None)
    identifier.StudyInstanceUID = study_instance_uid
    with dialogue(peer, our_ae_title, settings, [FIND]) as asked:
        answers = asked.find(FIND, identifier, most=_MOST_ANSWERS, limit_s=settings.dimse_s)
    about_it = [each for each in answers if text_of(each, "StudyInstanceUID") == study_instance_uid]
    if answers and not about_it:
        raise Lost(f"{peer.name} answers with other studies than the one asked for; nothing of it is believed")
    return tuple(dict.fromkeys(_filed(each, peer.issuer) for each in about_it))


def _filed(answer: Dataset, issuer: str) -> Filed:
    texts = {keyword: _sound(text_of(answer, keyword)) for keyword in _FILED_KEYWORDS}
    patient = Patient(
        patient_id=texts["PatientID"],
        issuer=texts["IssuerOfPatientID"] or issuer,
        name=texts["PatientName"],
        birth_date=texts["PatientBirthDate"],
        sex=texts["PatientSex"],
    )
    return Filed(patient=patient, accession_number=texts["AccessionNumber"])


def _sound(text: str) -> str:
    """A value that may be written into our objects; what was not decoded as it was meant counts as not told."""
    return "" if UNDECODABLE in text or not text.isprintable() else text
