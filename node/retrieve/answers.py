"""What an archive answered, read with suspicion: UIDs have the form of UIDs, texts are short and of one line."""

from __future__ import annotations

import unicodedata

from pydicom import Dataset
from pydicom.multival import MultiValue

from node.domain.patient import Patient
from node.domain.uid import is_usable_uid, is_valid_uid
from node.retrieve.found import MALFORMED, FoundInstance, FoundSeries, FoundStudy

#: Longest text that is kept of any attribute, characters (LO has 64, a person's name 3 × 64; PS3.5 §6.2).
_LONGEST_TEXT = 200
_MOST_VALUES = 50
#: Numbers of instances are an IS (PS3.5 §6.2); no study has more than this.
_MOST_INSTANCES = 10_000_000


def study_of(answer: Dataset) -> FoundStudy | None:
    """Read one answer at STUDY level; `None` without a sound Study Instance UID."""
    uid = text_of(answer, "StudyInstanceUID")
    if not is_usable_uid(uid):
        return None
    return FoundStudy(
        study_instance_uid=uid,
        patient=patient_of(answer),
        accession_number=text_of(answer, "AccessionNumber"),
        study_date=text_of(answer, "StudyDate"),
        study_time=text_of(answer, "StudyTime"),
        study_description=text_of(answer, "StudyDescription"),
        modalities=texts_of(answer, "ModalitiesInStudy"),
        instances=instances_of(answer),
    )


def patient_of(answer: Dataset) -> Patient:
    """Whom an answer is about, as it tells."""
    return Patient(
        patient_id=text_of(answer, "PatientID"),
        issuer=text_of(answer, "IssuerOfPatientID"),
        name=text_of(answer, "PatientName"),
        birth_date=text_of(answer, "PatientBirthDate"),
        sex=text_of(answer, "PatientSex"),
    )


def series_of(answer: Dataset, study_instance_uid: str) -> FoundSeries | None:
    """Read one answer at SERIES level; `None` if it is no sound series of that study."""
    uid = text_of(answer, "SeriesInstanceUID")
    if not is_in_study(answer, study_instance_uid) or not is_usable_uid(uid):
        return None
    return FoundSeries(
        series_instance_uid=uid, modality=text_of(answer, "Modality"), body_part=text_of(answer, "BodyPartExamined")
    )


def instance_of(
    answer: Dataset, study_instance_uid: str, series_instance_uid: str = "", modality: str = ""
) -> FoundInstance | None:
    """Read one answer at IMAGE level; `None` if it is no sound instance of that study and series.

    UIDs of the levels above may be left out where the query named them.
    """
    series = text_of(answer, "SeriesInstanceUID") or series_instance_uid
    uid, sop_class = text_of(answer, "SOPInstanceUID"), text_of(answer, "SOPClassUID")
    if not is_in_study(answer, study_instance_uid) or not (is_usable_uid(series) and is_usable_uid(uid)):
        return None
    if series_instance_uid and series != series_instance_uid:
        return None
    sop_class = sop_class if is_valid_uid(sop_class) else ""
    modality = modality or text_of(answer, "Modality")
    return FoundInstance(series_instance_uid=series, sop_instance_uid=uid, sop_class_uid=sop_class, modality=modality)


def is_in_study(answer: Dataset, study_instance_uid: str) -> bool:
    """Whether nothing in the answer says that it is about another study."""
    return text_of(answer, "StudyInstanceUID") in ("", study_instance_uid)


def instances_of(answer: Dataset) -> int | None:
    """Number of Study Related Instances (0020,1208), where it is told and believable."""
    text = text_of(answer, "NumberOfStudyRelatedInstances")
    if not (text.isascii() and text.isdigit() and len(text) <= 12):
        return None
    return int(text) if 0 < int(text) <= _MOST_INSTANCES else None


def text_of(answer: Dataset, keyword: str) -> str:
    """The first value as text without what does not print, shortened; empty where there is none."""
    found = texts_of(answer, keyword)
    return found[0] if found else ""


def texts_of(answer: Dataset, keyword: str) -> tuple[str, ...]:
    """All values as text; empty where there is none, or none that can be read."""
    try:
        value = answer.get(keyword)
        if value is None:
            return ()
        values = list(value)[:_MOST_VALUES] if isinstance(value, MultiValue | list | tuple) else [value]
        texts = tuple(_plain(str(each)) for each in values)
    except MALFORMED:
        return ()
    return tuple(text for text in texts if text)


def _plain(text: str) -> str:
    shown = "".join(mark for mark in text[: 4 * _LONGEST_TEXT] if unicodedata.category(mark)[0] != "C")
    return shown.strip()[:_LONGEST_TEXT]
