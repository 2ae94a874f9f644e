"""Reports and segmentations as other people's systems write them, for whoever reads them back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    BasicTextSRStorage,
    ChestCADSRStorage,
    Comprehensive3DSRStorage,
    EncapsulatedPDFStorage,
    ExplicitVRLittleEndian,
    SegmentationStorage,
)

Term = tuple[str, str, str]

IMPRESSION = ("121073", "DCM", "Impression")
IMPRESSIONS = ("19005-8", "LN", "Impressions")
FINDINGS = ("121070", "DCM", "Findings")
FINDING = ("121071", "DCM", "Finding")
HISTORY = ("11329-0", "LN", "History")
TITLE = ("18748-4", "LN", "Diagnostic Imaging Report")
GROUP = ("125007", "DCM", "Measurement Group")
MEASUREMENTS = ("126010", "DCM", "Imaging Measurements")
PRESENCE = ("121052", "DCM", "Presence of property")
PRESENT, ABSENT = ("52101004", "SCT", "Present"), ("272519000", "SCT", "Absent")
UNDETERMINED = ("373068000", "SCT", "Undetermined")
EMBOLISM = ("59282003", "SCT", "Pulmonary embolism")
NODULE = ("27925004", "SCT", "Nodule")
DIAMETER = ("81827009", "SCT", "Diameter")
SITE, LATERALITY = ("363698007", "SCT", "Finding Site"), ("272741003", "SCT", "Laterality")
LUNG, LEFT = ("39607008", "SCT", "Lung"), ("7771000", "SCT", "Left")
OBSERVER, DEVICE = ("121005", "DCM", "Observer Type"), ("121007", "DCM", "Device")


def code(term: Term) -> Dataset:
    made = Dataset()
    made.CodeValue, made.CodingSchemeDesignator, made.CodeMeaning = term
    return made


def item(kind: str, name: Term, *children: Dataset, relation: str = "CONTAINS", **values: object) -> Dataset:
    made = Dataset()
    made.RelationshipType, made.ValueType = relation, kind
    made.ConceptNameCodeSequence = [code(name)]
    if kind == "CONTAINER":
        made.ContinuityOfContent = "SEPARATE"
    for keyword, value in values.items():
        setattr(made, keyword, value)
    if children:
        made.ContentSequence = list(children)
    return made


def section(name: Term, *children: Dataset) -> Dataset:
    return item("CONTAINER", name, *children)


def text(name: Term, words: str, *children: Dataset) -> Dataset:
    return item("TEXT", name, *children, TextValue=words)


def coded(name: Term, value: Term, *children: Dataset, relation: str = "CONTAINS") -> Dataset:
    return item("CODE", name, *children, relation=relation, ConceptCodeSequence=[code(value)])


def number(name: Term, value: str, unit: str, *children: Dataset) -> Dataset:
    measured = Dataset()
    measured.NumericValue = value
    measured.MeasurementUnitsCodeSequence = [code((unit, "UCUM", unit))]
    return item("NUM", name, *children, MeasuredValueSequence=[measured])


def uid_item(name: Term, uid: str) -> Dataset:
    return item("UIDREF", name, relation="HAS OBS CONTEXT", UID=uid)


def segment_item(segmentation_uid: str, segment: int) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = SegmentationStorage
    reference.ReferencedSOPInstanceUID = segmentation_uid
    reference.ReferencedSegmentNumber = segment
    name = ("121191", "DCM", "Referenced Segment")
    return item("IMAGE", name, ReferencedSOPSequence=[reference])


def nodule(millimetres: str = "8.5", *, tracking_uid: str = "2.25.77", segmentation: str = "") -> Dataset:
    """A measurement group (PS3.16 TID 1411) of a nodule in the left lung."""
    children = [
        item("TEXT", ("112039", "DCM", "Tracking Identifier"), TextValue="Nodule 1", relation="HAS OBS CONTEXT"),
        uid_item(("112040", "DCM", "Tracking Unique Identifier"), tracking_uid),
        coded(FINDING, NODULE),
        coded(SITE, LUNG, coded(LATERALITY, LEFT, relation="HAS CONCEPT MOD")),
        number(DIAMETER, millimetres, "mm"),
    ]
    if segmentation:
        children.append(segment_item(segmentation, 1))
    return section(GROUP, *children)


def patient_of(dataset: Dataset, **patient: str) -> Dataset:
    known = {
        "PatientID": "P1",
        "IssuerOfPatientID": "A",
        "PatientName": "Doe^Jane",
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
    }
    for keyword, value in (known | patient).items():
        setattr(dataset, keyword, value)
    return dataset


def _object(sop_class_uid: str, uid: str, study: str, modality: str, **changes: str) -> Dataset:
    made = patient_of(Dataset())
    made.SOPClassUID, made.SOPInstanceUID, made.StudyInstanceUID = sop_class_uid, uid, study
    made.SeriesInstanceUID, made.Modality, made.InstanceNumber, made.SeriesNumber = f"{uid}.0", modality, 1, 900
    made.StudyDate, made.StudyTime, made.AccessionNumber, made.StudyID = "20250101", "080000", "", ""
    made.ReferringPhysicianName, made.Manufacturer, made.ManufacturerModelName = "", "Others", "Dictation"
    made.ContentDate, made.ContentTime, made.SpecificCharacterSet = "20250102", "090000", "ISO_IR 192"
    for keyword, value in changes.items():
        setattr(made, keyword, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = sop_class_uid, uid
    return made


def report(
    uid: str,
    study: str,
    *content: Dataset,
    sop_class_uid: str = BasicTextSRStorage,
    completion: str = "COMPLETE",
    verification: str = "VERIFIED",
    **changes: str,
) -> Dataset:
    """A Structured Report with this content."""
    made = _object(sop_class_uid, uid, study, "SR", **changes)
    made.ValueType, made.ContinuityOfContent = "CONTAINER", "SEPARATE"
    made.ConceptNameCodeSequence = [code(TITLE)]
    made.CompletionFlag, made.VerificationFlag = completion, verification
    made.ContentSequence = list(content)
    return made


def measured(uid: str, study: str, *groups: Dataset, **changes: str) -> Dataset:
    """A TID 1500 report by another system's algorithm."""
    observer = coded(OBSERVER, DEVICE, relation="HAS OBS CONTEXT")
    content = (observer, section(MEASUREMENTS, *groups))
    return report(uid, study, *content, sop_class_uid=Comprehensive3DSRStorage, verification="UNVERIFIED", **changes)


def detection(uid: str, study: str, *content: Dataset, **changes: str) -> Dataset:
    """A Chest CAD SR."""
    return report(uid, study, *content, sop_class_uid=ChestCADSRStorage, verification="UNVERIFIED", **changes)


def segmentation(uid: str, study: str, *, segments: Sequence[Term] = (NODULE,), **changes: str) -> Dataset:
    """A Segmentation without frames: what it shows is read without them."""
    made = _object(SegmentationStorage, uid, study, "SEG", **changes)
    made.SeriesDescription, made.SegmentationType = "Nodules", "BINARY"
    made.SegmentSequence = []
    for place, term in enumerate(segments, start=1):
        each = Dataset()
        each.SegmentNumber, each.SegmentLabel = place, term[2]
        each.SegmentAlgorithmType, each.SegmentAlgorithmName = "AUTOMATIC", "OtherNet"
        each.SegmentedPropertyCategoryCodeSequence = [code(("49755003", "SCT", "Morphologically Altered Structure"))]
        each.SegmentedPropertyTypeCodeSequence = [code(term)]
        each.TrackingID, each.TrackingUID = f"{term[2]} {place}", f"2.25.{76 + place}"
        made.SegmentSequence.append(each)
    return made


def masked(uid: str, images: Sequence[Dataset], *masks: NDArray[np.bool_]) -> Dataset:
    """A binary Segmentation on these images, in the order of `masks` (slice, row, column), one a segment."""
    first = images[0]
    made = segmentation(uid, first.StudyInstanceUID, segments=[NODULE, EMBOLISM][: len(masks)])
    for keyword in ("PatientID", "IssuerOfPatientID", "PatientName", "PatientBirthDate", "PatientSex"):
        setattr(made, keyword, first.get(keyword))
    made.FrameOfReferenceUID, made.Rows, made.Columns = first.FrameOfReferenceUID, first.Rows, first.Columns
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 1, 1, 0
    series = Dataset()
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = first.SeriesInstanceUID, []
    for image in images:
        reference = Dataset()
        reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
        series.ReferencedInstanceSequence.append(reference)
    made.ReferencedSeriesSequence = [series]
    shown = [(segment, place) for segment, mask in enumerate(masks) for place in np.flatnonzero(mask.any(axis=(1, 2)))]
    made.NumberOfFrames = len(shown)
    made.PerFrameFunctionalGroupsSequence = [_frame(images[place], segment + 1) for segment, place in shown]
    bits = np.packbits(np.stack([masks[segment][place] for segment, place in shown]), bitorder="little").tobytes()
    made.add_new("PixelData", "OB", bits + bytes(len(bits) % 2))
    return made


def _frame(image: Dataset, segment: int) -> Dataset:
    groups, position, orientation, measures, identified = (Dataset() for _ in range(5))
    position.ImagePositionPatient = image.ImagePositionPatient
    orientation.ImageOrientationPatient = image.ImageOrientationPatient
    measures.PixelSpacing, measures.SliceThickness = image.PixelSpacing, image.SliceThickness
    measures.SpacingBetweenSlices = image.SliceThickness
    identified.ReferencedSegmentNumber = segment
    groups.PlanePositionSequence, groups.PlaneOrientationSequence = [position], [orientation]
    groups.PixelMeasuresSequence, groups.SegmentIdentificationSequence = [measures], [identified]
    return groups


def pdf(uid: str, study: str, **changes: str) -> Dataset:
    """An encapsulated document."""
    made = _object(EncapsulatedPDFStorage, uid, study, "DOC", **changes)
    made.DocumentTitle, made.MIMETypeOfEncapsulatedDocument = "Letter", "application/pdf"
    made.EncapsulatedDocument = b"%PDF-1.4 "
    return made


def written(folder: Path, dataset: Dataset) -> Path:
    """Write one as a Part 10 file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path
