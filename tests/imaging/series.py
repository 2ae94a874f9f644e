"""Series made for tests: Part 10 files with known stored values, and what their headers say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, RLELossless

from node.domain.geometry import Grid
from node.domain.study import Instance, Pixels, Plane
from node.receive.fields import instance_of

Slices = list[tuple[Path, Instance]]


@dataclass(frozen=True, kw_only=True)
class Made:
    """How a series is written."""

    bits_allocated: int = 16
    bits_stored: int = 16
    signed: bool = False
    photometric: str = "MONOCHROME2"
    slope: float = 1.0
    intercept: float = 0.0
    syntax: str = ExplicitVRLittleEndian
    spacing: tuple[float, float] = (1.0, 1.0)
    step_mm: float = 1.0
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    orientation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    #: Written before the pixel data, in undefined-length sequences.
    clutter: bool = False
    shift: int = field(default=0)

    @property
    def dtype(self) -> np.dtype[np.integer]:
        return np.dtype(f"{'i' if self.signed else 'u'}{self.bits_allocated // 8}")


def write_series(folder: Path, stored: NDArray[np.integer], made: Made | None = None) -> Slices:
    """Write (slice, row, column) stored values as one file a slice, in order."""
    made = made or Made()
    row, column = np.array(made.orientation[:3]), np.array(made.orientation[3:])
    normal = np.cross(row, column)
    slices = []
    for number, values in enumerate(stored):
        position = tuple(float(part) for part in np.array(made.origin) + number * made.step_mm * normal)
        path = folder / f"{number:04}.dcm"
        write_slice(path, values, made, number, position)
        slices.append((path, described(number, values.shape, made, position)))
    return slices


def described(number: int, shape: tuple[int, ...], made: Made, position: Sequence[float]) -> Instance:
    """What the header of `write_slice` says."""
    return Instance(
        study_instance_uid="1.2.3",
        series_instance_uid="1.2.3.4",
        sop_instance_uid=f"1.2.3.4.{number + 1}",
        sop_class_uid=MRImageStorage,
        transfer_syntax_uid=made.syntax,
        modality="MR",
        frame_of_reference_uid="1.2.3.9",
        plane=Plane(
            position=(position[0], position[1], position[2]), orientation=made.orientation, spacing=made.spacing
        ),  # type: ignore[arg-type]
        pixels=Pixels(
            rows=shape[0],
            columns=shape[1],
            bits_allocated=made.bits_allocated,
            bits_stored=made.bits_stored,
            pixel_representation=int(made.signed),
            photometric_interpretation=made.photometric,
            rescale_slope=made.slope,
            rescale_intercept=made.intercept,
        ),
    )


def write_slice(path: Path, values: NDArray[np.integer], made: Made, number: int, position: Sequence[float]) -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, f"1.2.3.4.{number + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    dataset.Modality = "MR"
    dataset.ImagePositionPatient = [round(part, 9) for part in position]
    dataset.ImageOrientationPatient = [round(part, 9) for part in made.orientation]
    dataset.PixelSpacing = list(made.spacing)
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *values.shape, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = made.photometric, int(made.signed)
    dataset.BitsAllocated, dataset.BitsStored = made.bits_allocated, made.bits_stored
    dataset.HighBit = made.bits_stored - 1 + made.shift
    if made.clutter:
        _clutter(dataset)
    raw = values.astype(made.dtype)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = made.syntax
    if made.syntax == RLELossless:
        dataset.PixelData = raw.tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.compress(RLELossless, generate_instance_uid=False)
    else:
        big = made.syntax == "1.2.840.10008.1.2.2"
        written = raw.astype(raw.dtype.newbyteorder(">" if big else "<")).tobytes()
        dataset.PixelData = written + b"\0" * (len(written) % 2)
        dataset["PixelData"].VR = "OB" if made.bits_allocated == 8 else "OW"
    dataset.save_as(path, enforce_file_format=True)


def _clutter(dataset: Dataset) -> None:
    """Sequences in sequences, of undefined length, and a private one, before the pixel data."""
    inner = Dataset()
    inner.CodeValue, inner.CodingSchemeDesignator, inner.CodeMeaning = "1", "99X", "x" * 60
    middle = Dataset()
    middle.PurposeOfReferenceCodeSequence = DicomSequence([inner, inner])
    middle["PurposeOfReferenceCodeSequence"].is_undefined_length = True
    middle.is_undefined_length_sequence_item = True
    middle.ReferencedSOPInstanceUID = "1.2"
    dataset.SourceImageSequence = DicomSequence([middle, Dataset(), middle])
    dataset["SourceImageSequence"].is_undefined_length = True
    dataset.add_new(0x00290010, "LO", "TESTS")
    dataset.add_new(0x00291001, "UN", b"\xe0\x7f\x10\x00" * 9)


def real_series(folder: Path) -> Slices:
    """A series of real files as the listener would describe it."""
    files = sorted(path for path in folder.iterdir() if path.suffix == ".dcm")
    return [(path, instance_of(dcmread(path, stop_before_pixels=True), issuer="", has_pixels=True)) for path in files]


def changed(slices: Slices, index: int, **changes: object) -> Slices:
    """The series with one instance described otherwise."""
    other = list(slices)
    other[index] = (other[index][0], replace(other[index][1], **changes))  # type: ignore[arg-type]
    return other


def grid_of(shape: tuple[int, int, int], affine: NDArray[np.float64]) -> Grid:
    rows = tuple((float(r[0]), float(r[1]), float(r[2]), float(r[3])) for r in affine)
    return Grid(shape, rows)
