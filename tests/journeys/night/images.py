"""The images of a made-up night: a bright ball in MR, one grey in CT and X-ray, and reports of earlier studies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import BasicTextSRStorage, ExplicitVRLittleEndian

from tests.journeys import scans
from tests.journeys.night.plan import HERE, Person, Study
from tests.journeys.tiny_model import tiny_head

_CT_SLICES, _AIR = 6, 1024
#: Told facts of a header → keyword; the reason for the request has a place in a sequence, too.
_KEYWORDS = {
    "reason_for_request": "ReasonForTheRequestedProcedure",
    "additional_history": "AdditionalPatientHistory",
    "patient_location": "CurrentPatientLocation",
}


def images_of(folder: Path, study: Study) -> list[Path]:
    """Write what the scanner sends of a study."""
    paths = _pixels(folder / study.uid, study.uid, study.kind, study.radius_mm, study.grey)
    for path in paths:
        dataset = dcmread(path)
        _name(dataset, study.person, date=study.date, accession=study.accession, description=study.description)
        dataset.BodyPartExamined, dataset.PatientAge = study.part, study.age
        if study.priority:
            dataset.RequestedProcedurePriority = study.priority
        for told in study.header:
            setattr(dataset, _KEYWORDS[told.code], told.value)
        dataset.save_as(path, enforce_file_format=True)
    return paths


def archived(folder: Path, study: Study, uid: str, *, born: str = "") -> list[Path]:
    """Write a study that the archive holds of the patient, with a report; `born`: of somebody else."""
    paths = _pixels(folder / uid, uid, study.kind, study.radius_mm, 5)[:4]
    report = _report(uid)
    for path in paths:
        dataset = dcmread(path)
        _name(dataset, study.person, date="20250601", accession="", description=study.description)
        dataset.PatientBirthDate = born or study.person.birth_date
        dataset.save_as(path, enforce_file_format=True)
    _name(report, study.person, date="20250601", accession="", description=study.description)
    report.PatientBirthDate = born or study.person.birth_date
    paths.append(folder / uid / "report.dcm")
    report.save_as(paths[-1], enforce_file_format=True)
    return paths


def _pixels(folder: Path, uid: str, kind: str, radius_mm: float, grey: int) -> list[Path]:
    if kind == "MR":
        return tiny_head(folder, uid, radius=radius_mm, slices=14, seed=sum(map(ord, uid)))
    if kind == "CT":
        return scans.volume(folder, uid, "CT", np.full((_CT_SLICES, 16, 16), _AIR + grey, np.int16))
    return [scans.xray(folder, uid, np.full((32, 32), grey, np.int16))]


def _name(dataset: Dataset, person: Person, *, date: str, accession: str, description: str) -> None:
    dataset.PatientID, dataset.PatientName = person.id, person.name
    dataset.PatientBirthDate, dataset.PatientSex = person.birth_date, person.sex
    if person.issuer != HERE:
        dataset.IssuerOfPatientID = person.issuer
    dataset.StudyDate, dataset.AccessionNumber, dataset.StudyDescription = date, accession, description


def _report(uid: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = BasicTextSRStorage, f"{uid}.99.1"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.Modality = uid, f"{uid}.99", "SR"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.StudyID = 99, 1, "1"
    dataset.StudyTime = dataset.ContentTime = "010203"
    dataset.ContentDate, dataset.ReferringPhysicianName, dataset.Manufacturer = "20250601", "", "tests"
    dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
    dataset.ValueType, dataset.ContinuityOfContent = "CONTAINER", "SEPARATE"
    dataset.ConceptNameCodeSequence = [_code("18748-4", "LN", "Diagnostic imaging study")]
    text = Dataset()
    text.RelationshipType, text.ValueType, text.TextValue = "CONTAINS", "TEXT", "Nothing of note."
    text.ConceptNameCodeSequence = [_code("19005-8", "LN", "Impression")]
    dataset.ContentSequence = [text]
    dataset.PerformedProcedureCodeSequence = dataset.ReferencedPerformedProcedureStepSequence = []
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = value, scheme, meaning
    return made


def uids(paths: Sequence[Path]) -> set[str]:
    """Study Instance UIDs of files."""
    return {str(dcmread(path, stop_before_pixels=True).StudyInstanceUID) for path in paths}
