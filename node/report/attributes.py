"""Attributes that every output bears alike: who made it, when, how far to trust it; and nothing random.

highdicom stamps the clock and random UIDs into what it builds; `stamp` puts the stored values in their place.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TypedDict

from highdicom import ContributingEquipment
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import UID
from pydicom.valuerep import DT

from node import IMPLEMENTATION_VERSION_NAME, __version__
from node.domain.uid import IMPLEMENTATION_CLASS_UID
from node.report.coding import LO, fitted
from node.report.evidence import Evidence

#: Manufacturer (0008,0070) and Manufacturer's Model Name (0008,1090): by these, too, we know our own again.
MANUFACTURER = "Matins"
MODEL_NAME = "Matins"
#: Attributes of patient and study that viewers show of each instance; the same on all of one study.
_STUDY_ROW = ("IssuerOfPatientID", "PatientAge", "PatientSize", "PatientWeight", "StudyDescription")

#: Content Qualifications, the least first (PS3.3 §C.12.1.1.8 has no order; a mixture is as good as its worst part).
_LEAST_QUALIFIED = ("RESEARCH", "SERVICE", "PRODUCT")


def moment(evidence: Evidence) -> datetime:
    """The finish time in the zone of the sources, if they name one, else in the zone it was given in."""
    offset = str(evidence.source.get("TimezoneOffsetFromUTC", "")).strip()
    if len(offset) != 5 or offset[0] not in "+-" or not offset[1:].isdigit():
        return evidence.finished_at
    minutes = int(offset[1:3]) * 60 + int(offset[3:5])
    zone = timezone(timedelta(minutes=minutes if offset[0] == "+" else -minutes))
    return evidence.finished_at.astimezone(zone)


def series_description(evidence: Evidence, label: str) -> str:
    """The series as a reader sees it: "AI", what it is, which model, how far it is qualified; at most 64 characters.

    Of several models together the titles stand, without their versions.
    """
    titles = [each.card.title for each in evidence.together] or [evidence.card.title]
    version = "" if evidence.together else f" {fitted(evidence.card.version, 16)}"
    tail = f"{version} {qualification(evidence)}"
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
    when = moment(evidence)
    date, time = f"{when:%Y%m%d}", f"{when:%H%M%S.%f}"
    for moment_of in ("InstanceCreation", "Series", "Content"):
        setattr(dataset, f"{moment_of}Date", date)
        setattr(dataset, f"{moment_of}Time", time)
    dataset.SoftwareVersions = [__version__, fitted(f"{evidence.card.name} {evidence.card.version}")]
    dataset.ContentQualification = qualification(evidence)
    dataset.SpecificCharacterSet = evidence.source.SpecificCharacterSet
    for keyword in _STUDY_ROW:
        if keyword in evidence.source:
            dataset.add(evidence.source[keyword])
    if "TimezoneOffsetFromUTC" in evidence.source:
        dataset.add(evidence.source["TimezoneOffsetFromUTC"])
    for item in dataset.ContributingEquipmentSequence:
        # The acquisition keeps the time the scanner gave; every other item is ours.
        if item.PurposeOfReferenceCodeSequence[0].CodeValue != codes.DCM.AcquisitionEquipment.value:
            item.ContributionDateTime = DT(when)
    dimensions = evidence.uid(kind, "dimension organization")
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(keyword, ()):
            item.DimensionOrganizationUID = dimensions
    dataset.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    dataset.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
