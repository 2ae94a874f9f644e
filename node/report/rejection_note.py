"""Rejection notes of our own (IHE RAD, Imaging Object Change Management): Key Object Selections over what we sent.

A note is no output of a model: it rests on no evidence, and is written from what it names. Built by hand, since
highdicom gives references a purpose, which PS3.16 TID 2010 does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from node import IMPLEMENTATION_VERSION_NAME, __version__
from node.domain.rejection import KEY_OBJECT_SELECTION, RejectionTitle
from node.domain.uid import IMPLEMENTATION_CLASS_UID, derived_uid
from node.report.attributes import MANUFACTURER, MODEL_NAME
from node.report.coding import fitted
from node.store.withdrawal_notes import SentResult

#: After those of every output (see `outputs`), so that hanging protocols leave it alone.
SERIES_NUMBER = 1099
#: Of patient and study, as what is taken back bears them: by these the archive files the note beside it.
PATIENT_AND_STUDY = (
    *("PatientName", "PatientID", "IssuerOfPatientID", "PatientBirthDate", "PatientSex", "PatientAge"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "StudyDescription", "AccessionNumber"),
    *("IssuerOfAccessionNumberSequence", "ReferringPhysicianName", "TimezoneOffsetFromUTC"),
    *("ReferencedRequestSequence", "SpecificCharacterSet"),
)
#: Type 2 in every object (PS3.3 §C.7.1.1, §C.7.2.1): there, perhaps empty.
_TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
#: Objects with pixels are referred to as IMAGE, all others as COMPOSITE (PS3.16 TID 2010).
_WITHOUT_PIXELS = (
    *("1.2.840.10008.5.1.4.1.1.88.", "1.2.840.10008.5.1.4.1.1.11.", "1.2.840.10008.5.1.4.1.1.104."),
    "1.2.840.10008.5.1.4.1.1.481.3",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NoteContent:
    """What a note says."""

    title: RejectionTitle
    #: For whoever reads it.
    reason: str
    #: What it takes back, all of one study at one destination.
    named: Sequence[SentResult]
    #: Bears `PATIENT_AND_STUDY` of what is taken back.
    header: Dataset
    #: When it was decided; aware, in the zone in which it is written down.
    decided_at: datetime


def build(content: NoteContent) -> Dataset:
    """Return the note: the same content, the same bytes."""
    made = Dataset()
    for keyword in PATIENT_AND_STUDY:
        if keyword in content.header:
            made.add(content.header[keyword])
    for keyword in _TYPE_2:
        if keyword not in made:
            setattr(made, keyword, "")
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID = KEY_OBJECT_SELECTION
    made.SOPInstanceUID = _uid(content, "instance")
    _write_series(made, content)
    _write_document(made, content)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    made.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return made


def _write_series(made: Dataset, content: NoteContent) -> None:
    """Key Object Document Series and General Equipment (PS3.3 §C.17.6.1, §C.7.5.1)."""
    made.Modality = "KO"
    made.SeriesInstanceUID = _uid(content, "series")
    made.SeriesNumber = SERIES_NUMBER
    made.SeriesDescription = fitted(f"AI results withdrawn: {content.title.meaning}")
    made.ReferencedPerformedProcedureStepSequence = []
    made.Manufacturer = MANUFACTURER
    made.ManufacturerModelName = MODEL_NAME
    made.SoftwareVersions = __version__
    made.DeviceSerialNumber = "none"


def _write_document(made: Dataset, content: NoteContent) -> None:
    """Key Object Document and SR Document Content (PS3.3 §C.17.6.2, §C.17.3), after PS3.16 TID 2010."""
    made.InstanceNumber = 1
    for moment in ("InstanceCreation", "Series", "Content"):
        setattr(made, f"{moment}Date", f"{content.decided_at:%Y%m%d}")
        setattr(made, f"{moment}Time", f"{content.decided_at:%H%M%S.%f}")
    made.CurrentRequestedProcedureEvidenceSequence = [_evidence(made, content.named)]
    made.ValueType = "CONTAINER"
    made.ConceptNameCodeSequence = [_code(content.title, content.title.meaning)]
    made.ContinuityOfContent = "SEPARATE"
    template = Dataset()
    template.MappingResource, template.TemplateIdentifier = "DCMR", "2010"
    made.ContentTemplateSequence = [template]
    made.ContentSequence = [_description(content.reason), *map(_reference, content.named)]


def _evidence(made: Dataset, named: Sequence[SentResult]) -> Dataset:
    """Exactly what is taken back, by series (PS3.3 §C.17.2.1)."""
    study = Dataset()
    study.StudyInstanceUID = made.StudyInstanceUID
    study.ReferencedSeriesSequence = []
    for uid in dict.fromkeys(each.series_instance_uid for each in named):
        series = Dataset()
        series.SeriesInstanceUID = uid
        series.ReferencedSOPSequence = [_sop(each) for each in named if each.series_instance_uid == uid]
        study.ReferencedSeriesSequence.append(series)
    return study


def _description(reason: str) -> Dataset:
    item = Dataset()
    item.RelationshipType, item.ValueType = "CONTAINS", "TEXT"
    item.ConceptNameCodeSequence = [_code("113012", "Key Object Description")]
    item.TextValue = fitted(f"Results of {MODEL_NAME}: {reason}", 1024)
    return item


def _reference(named: SentResult) -> Dataset:
    item = Dataset()
    item.RelationshipType = "CONTAINS"
    item.ValueType = "COMPOSITE" if named.sop_class_uid.startswith(_WITHOUT_PIXELS) else "IMAGE"
    item.ReferencedSOPSequence = [_sop(named)]
    return item


def _sop(named: SentResult) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = named.sop_class_uid, named.sop_instance_uid
    return item


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = str(value), "DCM", meaning
    return item


def _uid(content: NoteContent, role: str) -> str:
    named = sorted(each.sop_instance_uid for each in content.named)
    return derived_uid("rejection note", role, content.named[0].destination, content.title, *named)
