"""Attributes that every output bears alike: who made it, when, how far to trust it; and nothing random.

highdicom stamps the clock and random UIDs into what it builds; `stamp` puts the stored values in their place.
"""

from __future__ import annotations

from typing import TypedDict

from highdicom import ContributingEquipment
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID
from pydicom.valuerep import DT, PersonName

from node import IMPLEMENTATION_VERSION_NAME, __version__
from node.domain.uid import IMPLEMENTATION_CLASS_UID
from node.report.coding import LO, fitted
from node.report.documents.correction import correct
from node.report.documents.requests import referenced_requests
from node.report.evidence import Evidence
from node.report.zone import moment, offset, written

__all__ = [
    "MANUFACTURER",
    "MODEL_NAME",
    "Equipment",
    "equipment",
    "model_equipment",
    "moment",
    "qualification",
    "serial_number",
    "series_description",
    "stamp",
    "vendor",
]

#: Manufacturer (0008,0070) and Manufacturer's Model Name (0008,1090): by these, too, we know our own again.
MANUFACTURER = "Matins"
MODEL_NAME = "Matins"
#: Attributes of patient and study that viewers show of each instance; the same on all of one study.
_STUDY_ROW = (
    *("IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "OtherPatientIDsSequence"),
    *("PatientAge", "PatientSize", "PatientWeight", "StudyDescription", "IssuerOfAccessionNumberSequence"),
)
#: SOP Classes of structured reports and key objects: they say which requests they fulfil (PS3.3 §C.17.2, §C.17.6.2).
_DOCUMENTS = "1.2.840.10008.5.1.4.1.1.88."

#: Content Qualifications, the least first (PS3.3 §C.8.13.2.1.1 has no order; a mixture is as good as its worst part).
_LEAST_QUALIFIED = ("RESEARCH", "SERVICE", "PRODUCT")


def series_description(evidence: Evidence, label: str) -> str:
    """The series as a reader sees it: "AI", what it is, which model, how far it is qualified; at most 64 characters.

    Of several models together the titles stand, without their versions; of a study that changed, its revision.
    """
    titles = [each.card.title for each in evidence.together] or [evidence.card.title]
    version = "" if evidence.together else f" {fitted(evidence.card.version, 16)}"
    revision = f" rev {evidence.revision}" if evidence.revision > 1 else ""
    tail = f"{revision}{version} {qualification(evidence)}"
    return fitted(f"AI {label} {' + '.join(titles)}", LO - len(tail)) + tail


def qualification(evidence: Evidence) -> str:
    """Content Qualification (0018,9004): of several models together that of the least qualified."""
    found = {each.card.content_qualification for each in evidence.together or (evidence,)}
    return next(each for each in _LEAST_QUALIFIED if each in found)


class Equipment(TypedDict):
    """Keywords of a highdicom constructor for General Equipment (PS3.3 §C.7.5.1)."""

    manufacturer: str
    manufacturer_model_name: str
    software_versions: str
    device_serial_number: str


class PatientAndStudy(TypedDict):
    """Keywords of a highdicom constructor for Patient and General Study (PS3.3 §C.7.1.1, §C.7.2.1)."""

    patient_id: str
    patient_name: PersonName
    patient_birth_date: str
    patient_sex: str
    accession_number: str
    study_instance_uid: str
    study_id: str
    study_date: str
    study_time: str
    referring_physician_name: PersonName


def patient_and_study(evidence: Evidence) -> PatientAndStudy:
    """Whose study it is, as the sources say."""
    source = evidence.source
    return PatientAndStudy(
        patient_id=source.PatientID,
        patient_name=source.PatientName,
        patient_birth_date=source.PatientBirthDate,
        patient_sex=source.PatientSex,
        accession_number=source.AccessionNumber,
        study_instance_uid=source.StudyInstanceUID,
        study_id=source.StudyID,
        study_date=source.StudyDate,
        study_time=source.StudyTime,
        referring_physician_name=source.ReferringPhysicianName,
    )


def equipment(evidence: Evidence) -> Equipment:
    """Ourselves as the equipment that made the object."""
    return Equipment(
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=__version__,
        device_serial_number=serial_number(evidence),
    )


def serial_number(evidence: Evidence) -> str:
    """The start of the model's digest: what stands in for a serial number of software."""
    return evidence.model_digest.removeprefix("sha256:")[:16]


def vendor(evidence: Evidence) -> str:
    """Who made the model, as a text that is never empty: type 1 where it is written (PS3.3 §C.12.1)."""
    return fitted(evidence.card.manufacturer) or "unknown"


def model_equipment(evidence: Evidence) -> ContributingEquipment:
    """The model as the equipment that processed the images (PS3.3 §C.12.1)."""
    card = evidence.card
    return ContributingEquipment(
        manufacturer=vendor(evidence),
        manufacturer_model_name=fitted(card.name),
        software_versions=fitted(card.version),
        device_serial_number=serial_number(evidence),
        purpose_of_reference=codes.DCM.ProcessingEquipment,
        contribution_datetime=moment(evidence),
        contribution_description=fitted(f"{card.title}: {card.purpose}", 1024),
    )


def stamp(dataset: Dataset, evidence: Evidence, kind: str) -> None:
    """Write what all outputs share over what highdicom wrote, in place."""
    when, zone = moment(evidence), offset(evidence)
    for moment_of in ("InstanceCreation", "Series", "Content"):
        setattr(dataset, f"{moment_of}Date", f"{when:%Y%m%d}")
        setattr(dataset, f"{moment_of}Time", f"{when:%H%M%S.%f}")
    dataset.SoftwareVersions = [__version__, fitted(f"{evidence.card.name} {evidence.card.version}")]
    dataset.ContentQualification = qualification(evidence)
    dataset.SpecificCharacterSet = evidence.source.SpecificCharacterSet
    for keyword in _STUDY_ROW:
        if keyword in evidence.source:
            dataset.add(evidence.source[keyword])
    dataset.pop("TimezoneOffsetFromUTC", None)
    if zone is not None:
        dataset.TimezoneOffsetFromUTC = written(zone)
    for item in dataset.ContributingEquipmentSequence:
        # The acquisition keeps the time the scanner gave; every other item is ours.
        if item.PurposeOfReferenceCodeSequence[0].CodeValue != codes.DCM.AcquisitionEquipment.value:
            item.ContributionDateTime = DT(when)
    dimensions = evidence.uid(kind, "dimension organization")
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(keyword, ()):
            item.DimensionOrganizationUID = dimensions
    if evidence.card.udi:
        dataset.UDISequence = [_device(evidence)]
    _state_requests(dataset, evidence)
    correct(dataset, evidence)
    dataset.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME


def _device(evidence: Evidence) -> Dataset:
    """An item of UDI Sequence (0018,100A): the model as the regulated device that it is."""
    item = Dataset()
    item.UniqueDeviceIdentifier = evidence.card.udi
    item.DeviceDescription = fitted(f"{evidence.card.title} {evidence.card.version}")
    return item


def _state_requests(dataset: Dataset, evidence: Evidence) -> None:
    """Say which requests the object fulfils: a document in its own sequence, all else as the source's series does."""
    if str(dataset.SOPClassUID).startswith(_DOCUMENTS):
        requests = referenced_requests(evidence)
        if requests:
            dataset.ReferencedRequestSequence = requests
    elif evidence.source.get("RequestAttributesSequence"):
        dataset.add(evidence.source["RequestAttributesSequence"])
