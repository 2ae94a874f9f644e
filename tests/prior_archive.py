"""What an archive holds of one patient, and of two others who go by the same Patient ID."""

from __future__ import annotations

from pathlib import Path

from pydicom import Dataset, dcmread

from tests.foreign_reports import (
    ABSENT,
    EMBOLISM,
    FINDING,
    FINDINGS,
    IMPRESSION,
    IMPRESSIONS,
    PRESENCE,
    coded,
    measured,
    nodule,
    patient_of,
    pdf,
    report,
    section,
    segmentation,
    text,
    written,
)
from tests.journeys.tiny_model import tiny_head

RIGHT, OTHER_ISSUER, OTHER_BIRTH, CURRENT = (f"1.2.826.0.7.{number}" for number in range(1, 5))
PATIENT_ID = "TINY-20"
GLIOBLASTOMA = ("393563007", "SCT", "Glioblastoma")
_SAME = {"PatientID": PATIENT_ID, "PatientName": "Tiny^Head", "PatientSex": "O"}
OWN = {**_SAME, "IssuerOfPatientID": "HOSPITAL-A", "PatientBirthDate": "19700101"}
#: What each study's report says.
IMPRESSION_OF = {
    RIGHT: "Glioblastoma, resected.",
    OTHER_ISSUER: "Metastases.",
    OTHER_BIRTH: "Aneurysm of the basilar artery.",
}
_PATIENT_OF = {
    RIGHT: OWN,
    OTHER_ISSUER: {**OWN, "IssuerOfPatientID": "HOSPITAL-B"},
    OTHER_BIRTH: {**OWN, "PatientBirthDate": "19551224"},
    CURRENT: OWN,
}
#: What is known of the patient from the right one's report: topic, value, code, standing.
FACTS = {
    ("report", "impression: Glioblastoma, resected.", "", "yes"),
    ("problem", "Glioblastoma", "SCT:393563007", "yes"),
    ("problem", "Pulmonary embolism", "SCT:59282003", "no"),
}


def images_of(folder: Path, study: str, *, date: str = "20250601") -> list[Path]:
    """The images of one of these studies."""
    paths = tiny_head(folder / study, study, patient_id=PATIENT_ID, study_date=date)
    for path in paths:
        patient_of(dataset := dcmread(path), **_PATIENT_OF[study]).save_as(path, enforce_file_format=True)
        assert dataset.PatientID == PATIENT_ID
    return paths


def everything(folder: Path) -> list[Path]:
    """Three studies of old, each with its report; that of the patient with measurements and outlines, too."""
    made = [path for study in IMPRESSION_OF for path in images_of(folder, study)]
    made += [written(folder / study, _report(study)) for study in IMPRESSION_OF]
    for dataset in (
        segmentation(f"{RIGHT}.81", RIGHT),
        measured(f"{RIGHT}.82", RIGHT, nodule("8.5", segmentation=f"{RIGHT}.81")),
        pdf(f"{RIGHT}.83", RIGHT),
    ):
        dataset.StudyDate = "20250601"
        made.append(written(folder / RIGHT, patient_of(dataset, **OWN)))
    return made


def _report(study: str) -> Dataset:
    found = section(FINDINGS, coded(FINDING, EMBOLISM, coded(PRESENCE, ABSENT)), coded(FINDING, GLIOBLASTOMA))
    said = section(IMPRESSIONS, text(IMPRESSION, IMPRESSION_OF[study]))
    made = report(f"{study}.80", study, *([found, said] if study == RIGHT else [said]))
    made.StudyDate = "20250601"
    return patient_of(made, **_PATIENT_OF[study])


def addendum(folder: Path) -> Path:
    """A second report of the right study, which comes later."""
    made = report(f"{RIGHT}.90", RIGHT, text(("55107-7", "LN", "Addendum"), "Recurrence at the margin."))
    made.StudyDate = "20250601"
    return written(folder / "late", patient_of(made, **OWN))
