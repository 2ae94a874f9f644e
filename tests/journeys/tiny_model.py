"""A model that answers in milliseconds: bright is organ. And heads to go with it."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

from node.catalogue import trust

_CARD = """
name = "tiny"
version = "1"
title = "Bright ball"
purpose = "tests"
intended_use = "tests"
licence = "Apache-2.0"
citation = "none"
manufacturer = "none"
pipeline = "coarse-to-fine"
time_limit_s = 60.0
procedure = { value = "25056-3", scheme = "LN", meaning = "MRI unspecified body region" }
weights = [{ role = "coarse", source = "file:net.pt" }, { role = "fine", source = "file:net.pt" }]

[parameters]
coarse_size = 16
fine_size = 32
low_percentile = 0.0
high_percentile = 100.0
intensity_mean = 0.0
intensity_deviation = 1.0
channel = 1
coarse_threshold = 0.5
threshold = 0.5
margin = 0.1

[[requires]]
field = "modality"
one_of = ["MR"]
because = "the modality is {value}"
when_missing = "refuse"

[[segments]]
number = 1
label = "Brain"
category = { value = "91723000", scheme = "SCT", meaning = "Anatomical Structure" }
type = { value = "12738006", scheme = "SCT", meaning = "Brain" }

[[volumes]]
segment_number = 1
"""


class _Bright(torch.nn.Module):
    def forward(self, cube: torch.Tensor) -> torch.Tensor:
        bright = torch.sigmoid(8.0 * (cube - 0.5))
        return torch.cat([1.0 - bright, bright], dim=1)


def tiny_model_folder(folder: Path, *, more: str = "") -> Path:
    """A models folder with the one model in it, trusted; `more` is added to its card."""
    (folder / "tiny").mkdir(parents=True)
    (folder / "tiny" / "model.toml").write_text(_CARD + more)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=DeprecationWarning)  # TorchScript is what cards name today
        torch.jit.script(_Bright()).save(folder / "tiny" / "net.pt")
    trust(folder, "tiny", folder / "models.lock")
    return folder


def tiny_head(
    folder: Path,
    study: str,
    *,
    slices: int = 12,
    seed: int = 0,
    patient_id: str = "TINY-1",
    radius: float = 10.0,
    study_date: str = "20260101",
) -> list[Path]:
    """Write an axial MR series with a bright ball of a radius in mm; return its files."""
    folder.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed)
    z, y, x = np.meshgrid(np.arange(slices) - slices / 2, np.arange(32) - 16, np.arange(32) - 16, indexing="ij")
    ball = np.where((2 * z) ** 2 + y**2 + x**2 < radius**2, 900, 100) + noise.integers(0, 20, (slices, 32, 32))
    paths = []
    for number in range(slices):
        dataset = _slice(study, number, ball[number].astype(np.uint16), patient_id)
        dataset.StudyDate = study_date
        path = folder / f"{study}-{number:03}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths


def _slice(study: str, number: int, pixels: np.ndarray, patient_id: str) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = f"{study}.1.{number + 1}"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, f"{study}.1"
    dataset.PatientID, dataset.PatientName = patient_id, "Tiny^Head"
    dataset.PatientBirthDate, dataset.PatientSex = "19700101", "O"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20260101", "010203", "1", "A1"
    dataset.Modality, dataset.SeriesNumber, dataset.InstanceNumber = "MR", 1, number + 1
    dataset.ReferringPhysicianName, dataset.Manufacturer = "", "tests"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "NONE", ""
    dataset.MRAcquisitionType, dataset.EchoTime, dataset.EchoTrainLength = "3D", "3.0", 1
    dataset.RepetitionTime = "8.0"
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = f"{study}.9", ""
    dataset.ImagePositionPatient = [-16.0, -16.0, 2.0 * number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [1, 1], 2
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 32, 32, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData = pixels.tobytes()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset
