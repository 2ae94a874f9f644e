"""Small CT, MR and X-ray series as scanners write them, for journeys through the whole node."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    MRImageStorage,
    UltrasoundImageStorage,
)
from scipy import ndimage

Pixels = NDArray[np.integer]
_CLASSES = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "DX": DigitalXRayImageStorageForPresentation,
    "US": UltrasoundImageStorage,
}
#: Of slices, in mm: between slices, rows, columns.
SPACING = (3.0, 1.5, 1.5)


def texture(shape: tuple[int, ...], seed: int, low: int, high: int) -> Pixels:
    """Smooth random values: something to see at every place."""
    values = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.0)
    return (low + (values - values.min()) / np.ptp(values) * (high - low)).astype(np.int16)


def volume(folder: Path, study: str, modality: str, values: Pixels, *, number: int = 1, name: str = "") -> list[Path]:
    """Write an axial series of a study, one frame of reference a study; return its files."""
    paths = []
    for place, each in enumerate(values):
        dataset = _image(study, modality, each, number=number, instance=place + 1, name=name)
        dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = f"{study}.9", ""
        dataset.ImagePositionPatient = [-30.0, -30.0, SPACING[0] * place]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing, dataset.SliceThickness = list(SPACING[1:]), SPACING[0]
        paths.append(_saved(folder, dataset))
    return paths


def xray(folder: Path, study: str, values: Pixels) -> Path:
    """Write one image that lies nowhere in space."""
    dataset = _image(study, "DX", values, number=1, instance=1, name="Chest")
    dataset.PresentationIntentType, dataset.ImagerPixelSpacing = "FOR PRESENTATION", [0.2, 0.2]
    return _saved(folder, dataset)


def ultrasound(folder: Path, study: str, values: Pixels, body_part: str) -> Path:
    """Write one image of 8 bits."""
    dataset = _image(study, "US", values, number=1, instance=1, name="")
    del dataset.RescaleSlope, dataset.RescaleIntercept
    dataset.ImageType, dataset.BodyPartExamined = ["ORIGINAL", "PRIMARY"], body_part
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = values.astype(np.uint8).tobytes()
    return _saved(folder, dataset)


def _image(study: str, modality: str, values: Pixels, *, number: int, instance: int, name: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = _CLASSES[modality], f"{study}.{number}.{instance}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.{number}"
    dataset.PatientID, dataset.PatientName = f"P{study[-3:].replace('.', '')}", "Test^Person"
    dataset.PatientBirthDate, dataset.PatientSex = "19700101", "O"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20260101", "010203", "1", "A1"
    dataset.ReferringPhysicianName, dataset.Manufacturer = "", "tests"
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = modality, number, instance
    dataset.SeriesDescription, dataset.ImageType = name, ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024 if modality == "CT" else 0
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = *values.shape, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData = values.astype(np.uint16).tobytes()
    return dataset


def _saved(folder: Path, dataset: Dataset) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = folder / f"{dataset.SOPInstanceUID}.dcm"
    dataset.save_as(path, enforce_file_format=True)
    return path


def four_series(folder: Path, study: str, names: Sequence[str]) -> dict[str, list[Path]]:
    """An MR study of several series on one grid: description → files."""
    return {
        name: volume(folder, study, "MR", texture((10, 32, 32), place, 0, 900), number=place, name=name)
        for place, name in enumerate(names, 1)
    }
