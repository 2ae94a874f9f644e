"""Multi-frame images with functional groups, small, as scanners and converters write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    LegacyConvertedEnhancedMRImageStorage,
    RLELossless,
)

from node.domain.uid import derived_uid

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
CORONAL = (1.0, 0.0, 0.0, 0.0, 0.0, -1.0)


@dataclass(frozen=True, kw_only=True)
class FrameMade:
    """One frame: where it lies and what sets it apart."""

    position: tuple[float, ...] | None
    orientation: tuple[float, ...] = AXIAL
    temporal_position: int | None = None
    echo_time_ms: float | None = None
    b_value: float | None = None
    rescale: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class MultiFrame:
    """How a multi-frame image is made; frames may come in any order."""

    sop_class_uid: str = EnhancedMRImageStorage
    frames: tuple[FrameMade, ...]
    rows: int = 24
    columns: int = 20
    spacing: tuple[float, float] = (1.0, 1.0)
    #: What all frames share is said in the shared groups, else in each frame's.
    shares: bool = True
    undefined_length: bool = False
    syntax: str = ExplicitVRLittleEndian
    number: int = 1
    #: Keyword → value at the top level; `None` removes the attribute.
    header: dict[str, object] = field(default_factory=dict)


def stack_of(
    slices: int, *, step_mm: float = 3.0, orientation: tuple[float, ...] = AXIAL, **said: object
) -> tuple[FrameMade, ...]:
    """Frames one beside the other along their normal."""
    normal = np.cross(orientation[:3], orientation[3:])
    origin = np.array((-31.25, 12.5, -7.75))
    return tuple(
        FrameMade(position=tuple((origin + number * step_mm * normal).tolist()), orientation=orientation, **said)  # type: ignore[arg-type]
        for number in range(slices)
    )


def values_of(made: MultiFrame) -> NDArray[np.uint16]:
    """Stored values: (frame, row, column), different in every frame."""
    shape = (len(made.frames), made.rows, made.columns)
    return np.random.default_rng(5).integers(0, 3000, shape).astype(np.uint16)


def dataset_of(made: MultiFrame) -> Dataset:
    """The image with its functional groups and pixels."""
    dataset = _header(made)
    per_frame = []
    shared = Dataset()
    if made.shares:
        shared.update(_alike(made.frames[0], made))
    for number, frame in enumerate(made.frames, start=1):
        groups = _own(frame, number)
        if not made.shares or frame.orientation != made.frames[0].orientation:
            groups.update(_alike(frame, made))
        per_frame.append(groups)
    if made.frames[0].orientation != made.frames[-1].orientation:
        shared.pop("PlaneOrientationSequence", None)
        per_frame = [_with(groups, _alike(frame, made)) for groups, frame in zip(per_frame, made.frames, strict=True)]
    dataset.SharedFunctionalGroupsSequence = DicomSequence([shared])
    dataset.PerFrameFunctionalGroupsSequence = DicomSequence(per_frame)
    if made.undefined_length:
        _open_ended(dataset)
    dataset.PixelData = values_of(made).tobytes()
    dataset["PixelData"].VR = "OW"
    if made.syntax == RLELossless:
        dataset.compress(RLELossless, generate_instance_uid=False)
    return dataset


def write(path: Path, made: MultiFrame) -> Path:
    """Write the image as a Part 10 file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset_of(made).save_as(path, enforce_file_format=True)
    return path


def enhanced_ct(slices: int = 7, **changes: object) -> MultiFrame:
    """An Enhanced CT whose rescale is shared."""
    frames = tuple(replace(frame, rescale=(1.0, -1024.0)) for frame in stack_of(slices))
    return replace(MultiFrame(sop_class_uid=EnhancedCTImageStorage, frames=frames), **changes)  # type: ignore[arg-type]


def legacy_mr(slices: int = 7, **changes: object) -> MultiFrame:
    """A Legacy Converted Enhanced MR: what has no group of its own is kept unassigned."""
    made = MultiFrame(sop_class_uid=LegacyConvertedEnhancedMRImageStorage, frames=stack_of(slices), shares=False)
    return replace(made, **changes)  # type: ignore[arg-type]


def _header(made: MultiFrame) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    values: dict[str, object] = {
        "SpecificCharacterSet": "ISO_IR 100",
        "SOPClassUID": made.sop_class_uid,
        "SOPInstanceUID": derived_uid("test multi-frame", made.number),
        "StudyInstanceUID": derived_uid("test study"),
        "SeriesInstanceUID": derived_uid("test series"),
        "FrameOfReferenceUID": derived_uid("test frame"),
        "ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"],
        "Modality": "CT" if made.sop_class_uid == EnhancedCTImageStorage else "MR",
        "Manufacturer": "ACME",
        "PatientName": "Test^Person",
        "PatientID": "T-1",
        "PatientBirthDate": "19700101",
        "PatientSex": "F",
        "StudyDate": "20261120",
        "StudyTime": "231500",
        "StudyID": "7",
        "AccessionNumber": "A-1",
        "ReferringPhysicianName": "",
        "SeriesNumber": 4,
        "InstanceNumber": made.number,
        "ContentDate": "20261120",
        "ContentTime": "231500",
        "PositionReferenceIndicator": "",
        "NumberOfFrames": len(made.frames),
        "Rows": made.rows,
        "Columns": made.columns,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
    }
    for keyword, value in (values | made.header).items():
        if value is not None:
            setattr(dataset, keyword, value)
    return dataset


def _alike(frame: FrameMade, made: MultiFrame) -> Dataset:
    groups = Dataset()
    groups.PlaneOrientationSequence = _one(ImageOrientationPatient=[float(f"{v:.10g}") for v in frame.orientation])
    groups.PixelMeasuresSequence = _one(PixelSpacing=list(made.spacing), SliceThickness=3)
    if made.sop_class_uid == LegacyConvertedEnhancedMRImageStorage:
        groups.UnassignedPerFrameConvertedAttributesSequence = _one(EchoTime=2.5, ScanningSequence=["GR"])
    return groups


def _own(frame: FrameMade, number: int) -> Dataset:
    groups = Dataset()
    content: dict[str, object] = {"StackID": "1", "InStackPositionNumber": number, "DimensionIndexValues": [1, number]}
    if frame.temporal_position is not None:
        content["TemporalPositionIndex"] = frame.temporal_position
    groups.FrameContentSequence = _one(**content)
    if frame.position is not None:
        groups.PlanePositionSequence = _one(ImagePositionPatient=[float(f"{v:.8g}") for v in frame.position])
    if frame.echo_time_ms is not None:
        groups.MREchoSequence = _one(EffectiveEchoTime=frame.echo_time_ms)
    if frame.b_value is not None:
        groups.MRDiffusionSequence = _one(DiffusionBValue=frame.b_value)
    if frame.rescale is not None:
        slope, intercept = frame.rescale
        groups.PixelValueTransformationSequence = _one(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")
    return groups


def _with(groups: Dataset, more: Dataset) -> Dataset:
    groups.update(more)
    return groups


def _one(**values: object) -> DicomSequence:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return DicomSequence([item])


def _open_ended(dataset: Dataset) -> None:
    """Write every sequence and item below with undefined length."""
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            items: Sequence[Dataset] = element.value
            for item in items:
                item.is_undefined_length_sequence_item = True
                _open_ended(item)
