"""Classic MR Image Storage slices (PS3.3 §A.4) of voxels that lie on a known grid."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from node.demo.template import Image
from node.domain.uid import derived_uid

_IMPLEMENTATION_CLASS_UID = derived_uid("implementation", "matins-demo")
_BITS_STORED = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquisition:
    """How a series pretends to have been acquired (PS3.3 §C.8.3.1)."""

    series_description: str
    protocol_name: str
    scanning_sequence: str
    sequence_variant: str
    sequence_name: str
    mr_acquisition_type: str
    repetition_time_ms: float
    echo_time_ms: float
    inversion_time_ms: float | None = None
    flip_angle_degrees: float
    echo_train_length: int
    slice_thickness_mm: float


def series(study: Dataset, number: int, acquisition: Acquisition, stacks: Sequence[Image]) -> list[Dataset]:
    """Return the instances of one series, in the order of `stacks` and of the slices in each.

    study: the attributes of patient, study and order, which every instance carries.
    number: Series Number; the UIDs derive from it and the Study Instance UID.
    stacks: images whose voxels hold 0–4095; several for a localizer.
    """
    series_uid = derived_uid(study.StudyInstanceUID, number)
    template = _series_header(study, number, series_uid, acquisition)
    planes = [(image, index) for image in stacks for index in range(image.voxels.shape[0])]
    return [
        _instance(template, derived_uid(series_uid, instance), instance, image, index)
        for instance, (image, index) in enumerate(planes, start=1)
    ]


def interleaved(instances: Sequence[Dataset]) -> list[Dataset]:
    """Return the instances as an interleaved acquisition sends them: every other slice, then the rest."""
    return [*instances[::2], *instances[1::2]]


def _series_header(study: Dataset, number: int, series_uid: str, acquisition: Acquisition) -> Dataset:
    header = _copied(study)
    header.SOPClassUID = MRImageStorage
    header.Modality = "MR"
    header.SeriesInstanceUID = series_uid
    header.SeriesNumber = number
    header.SeriesDescription = acquisition.series_description
    header.ProtocolName = acquisition.protocol_name
    header.BodyPartExamined = "BRAIN"
    header.PatientPosition = "HFS"
    header.SeriesDate, header.SeriesTime = study.StudyDate, study.StudyTime
    header.AcquisitionDate, header.AcquisitionTime = study.StudyDate, study.StudyTime
    header.ContentDate, header.ContentTime = study.StudyDate, study.StudyTime
    header.FrameOfReferenceUID = derived_uid(study.StudyInstanceUID, "frame-of-reference")
    header.PositionReferenceIndicator = ""
    header.Manufacturer = "Matins demo"
    header.ManufacturerModelName = "Template MR"
    header.InstitutionName = "Demo Hospital (made up)"
    header.StationName = "DEMO-SCANNER"
    header.SoftwareVersions = "1"
    header.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    header.ImageComments = "Simulated from the MNI152 template (skull removed); no patient"
    header.ScanningSequence = acquisition.scanning_sequence.split("\\")
    header.SequenceVariant = acquisition.sequence_variant.split("\\")
    header.ScanOptions = ""
    header.SequenceName = acquisition.sequence_name
    header.MRAcquisitionType = acquisition.mr_acquisition_type
    header.MagneticFieldStrength = 3
    header.RepetitionTime = acquisition.repetition_time_ms
    header.EchoTime = acquisition.echo_time_ms
    if acquisition.inversion_time_ms is not None:
        header.InversionTime = acquisition.inversion_time_ms
    header.FlipAngle = acquisition.flip_angle_degrees
    header.EchoTrainLength = acquisition.echo_train_length
    header.SliceThickness = acquisition.slice_thickness_mm
    header.SamplesPerPixel = 1
    header.PhotometricInterpretation = "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, _BITS_STORED, _BITS_STORED - 1
    header.PixelRepresentation = 0
    header.WindowCenter, header.WindowWidth = 2048, 4096
    return header


def _instance(header: Dataset, uid: str, number: int, image: Image, index: int) -> Dataset:
    affine = image.affine + 0.0  # no −0
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    row, column = affine[:3, 2] / spacing[2], affine[:3, 1] / spacing[1]
    position = affine[:3, 3] + index * affine[:3, 0]
    plane = image.voxels[index]
    instance = _copied(header)
    instance.SOPInstanceUID = uid
    instance.InstanceNumber = number
    instance.AcquisitionNumber = 1
    instance.ImagePositionPatient = _decimals(position)
    instance.ImageOrientationPatient = _decimals([*row, *column])
    instance.SliceLocation = _decimals([float(position @ np.cross(row, column))])[0]
    instance.PixelSpacing = _decimals([spacing[1], spacing[2]])
    if image.voxels.shape[0] > 1:
        instance.SpacingBetweenSlices = _decimals([spacing[0]])[0]
    instance.Rows, instance.Columns = plane.shape
    instance.PixelData = np.ascontiguousarray(plane, "<u2").tobytes()
    instance.file_meta = _file_meta(uid)
    return instance


def _copied(original: Dataset) -> Dataset:
    """A data set with elements of its own: copy.copy() would share them."""
    result = Dataset()
    result.update(original)
    return result


def _decimals(values: Iterable[float]) -> list[str]:
    """Decimal Strings of at most 16 characters (PS3.5 §6.2), without −0."""
    return [f"{round(float(value), 9) + 0.0:.9g}" for value in values]


def _file_meta(uid: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = UID(uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(_IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = "MATINS_DEMO"
    return meta
