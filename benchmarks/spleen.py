"""The zoo's spleen network on a CT series that is made up: its weights, the series, and both ways to read it.

`ByMonai` runs what the bundle says with MONAI's own transforms and inferer; `by_matins` is what the node runs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.networks.nets import UNet
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
from scipy import ndimage

from node.domain.finding import Code, Segment
from node.domain.geometry import Grid
from node.domain.model_card import ModelCard
from node.imaging.bundle.plan import plan_of
from node.imaging.engines.planned import Planned
from node.imaging.pipelines import Fitting
from node.imaging.volume import Volume, read_volume
from node.receive.fields import instance_of

SPACING_MM = (4 / 3, 0.78, 0.78)
#: At the network: x, y, z.
NETWORK_MM = (1.5, 1.5, 2.0)
STEPS, _PATCH = 300, 64
_LOW, _HIGH = -57.0, 164.0
_BODY = Code("123037004", "SCT", "Anatomical Structure")
_CODE = Code("78961009", "SCT", "Spleen")

CONFIGURATION: dict[str, Any] = {
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "Orientationd", "keys": "image", "axcodes": "RAS"},
            {"_target_": "Spacingd", "keys": "image", "pixdim": list(NETWORK_MM), "mode": "bilinear"},
            {
                "_target_": "ScaleIntensityRanged", "keys": "image", "a_min": _LOW, "a_max": _HIGH, "b_min": 0,
                "b_max": 1, "clip": True,
            },
            {"_target_": "EnsureTyped", "keys": "image"},
        ],
    },
    "inferer": {"_target_": "SlidingWindowInferer", "roi_size": [96, 96, 96], "sw_batch_size": 4, "overlap": 0.5},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {
                "_target_": "Invertd", "keys": "pred", "transform": "@preprocessing", "orig_keys": "image",
                "nearest_interp": False, "to_tensor": True,
            },
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
        ],
    },
}  # fmt: skip


def network(classes: int = 2, weights: Path | None = None) -> torch.nn.Module:
    """The published architecture: 4.8 million parameters with two classes."""
    torch.manual_seed(0)
    found: torch.nn.Module = UNet(
        3, 1, classes, (16, 32, 64, 128, 256), (2, 2, 2, 2), num_res_units=2, norm="batch"
    ).eval()
    if weights is not None:
        found.load_state_dict(torch.load(weights, weights_only=True))
    return found


def phantom(shape: tuple[int, int, int], spacing_mm: tuple[float, float, float], seed: int) -> tuple[Any, Any]:
    """A body with organs of several densities: (slice, row, column) int16 HU, and where the spleen is."""
    chance = np.random.default_rng(seed)
    extent = np.array(shape) * spacing_mm
    axes = [(np.arange(n) + 0.5) * mm for n, mm in zip(shape, spacing_mm, strict=True)]
    grids = np.meshgrid(*axes, indexing="ij", sparse=True)

    def ellipsoid(centre: Any, radii: Any) -> Any:
        return sum(((g - c) / r) ** 2 for g, c, r in zip(grids, centre, radii, strict=True)) < 1

    values = np.full(shape, -1000, np.float32)
    body = ellipsoid(extent / 2, extent * (2.0, 0.36, 0.44))
    values[body] = -60
    spleen = np.zeros(shape, bool)
    for number in range(14):
        centre = extent * (0.5 + chance.uniform(-0.4, 0.4, 3) * (1, 0.5, 0.6))
        radii = chance.uniform(0.05, 0.14, 3) * extent.max()
        organ = ellipsoid(centre, radii) & body
        values[organ] = 110 if number % 5 == 0 else chance.uniform(-40, 60)
        spleen = (spleen | organ) if number % 5 == 0 else (spleen & ~organ)
    for number in range(shape[0]):
        values[number] += ndimage.gaussian_filter(chance.normal(0, 40, shape[1:]).astype(np.float32), 1.0)
    return np.clip(np.rint(values), -1024, 3000).astype(np.int16), spleen


def fit(file: Path) -> None:
    """Fit the network to phantoms for some minutes, and keep its weights; seeds are fixed."""
    model = network().train()
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, total_steps=STEPS)
    loss_of = torch.nn.CrossEntropyLoss()
    for step in range(STEPS):
        if step % 20 == 0:
            made, spleen = phantom((150, 150, 150), (2.0, 1.5, 1.5), 1000 + step)
            values = np.clip((made.astype(np.float32) - _LOW) / (_HIGH - _LOW), 0, 1)
        chance = np.random.default_rng(step)
        patches, targets = [], []
        for _ in range(2):
            where = tuple(slice(at, at + _PATCH) for at in chance.integers(0, 150 - _PATCH, 3))
            # Network axes: x, y, z in RAS.
            patches.append(values[where].T[::-1, ::-1].copy())
            targets.append(spleen[where].T[::-1, ::-1].copy())
        answer = model(torch.from_numpy(np.stack(patches))[:, None])
        loss = loss_of(answer, torch.from_numpy(np.stack(targets)).long())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 20 == 19:
            print(f"fitting, step {step + 1} of {STEPS}: loss {loss.item():.4f}", flush=True)
    torch.save(model.state_dict(), file)


def write_series(folder: Path, values: NDArray[np.int16]) -> None:
    """Write an axial CT series, one Part 10 file a slice."""
    folder.mkdir(parents=True)
    for number, plane in enumerate(values):
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID = CTImageStorage
        header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID = f"1.2.3.4.{number + 1}"
        header.StudyInstanceUID, header.SeriesInstanceUID, header.Modality = "1.2.3", "1.2.3.4", "CT"
        header.FrameOfReferenceUID, header.InstanceNumber = "1.2.3.9", number + 1
        header.ImagePositionPatient = [0, 0, round(number * SPACING_MM[0], 6)]
        header.ImageOrientationPatient, header.PixelSpacing = [1, 0, 0, 0, 1, 0], list(SPACING_MM[1:])
        header.Rows, header.Columns = plane.shape
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
        header.RescaleSlope, header.RescaleIntercept = 1, 0
        header.PixelData = plane.tobytes()
        header.save_as(folder / f"{number:04}.dcm", enforce_file_format=True)


def read_series(folder: Path) -> tuple[Volume, float]:
    """Read the series; return it and the seconds from frames to one array. Headers are described as it arrives."""
    files = sorted(folder.glob("*.dcm"))
    described = [
        (file, instance_of(dcmread(file, stop_before_pixels=True), issuer="", has_pixels=True)) for file in files
    ]
    started = time.perf_counter()
    volume = read_volume(described)
    return volume, time.perf_counter() - started


def card() -> ModelCard:
    """A card for it."""
    return ModelCard(
        name="spleen", version="1", title="Spleen", purpose="None", intended_use="None", licence="", citation="",
        manufacturer="", pipeline="bundle", weights=(), requires=(), procedure=_CODE,
        segments=(Segment(number=1, label="Spleen", category=_BODY, type=_CODE),),
    )  # fmt: skip


def by_matins(folder: Path, model: torch.nn.Module, device: str, evidence: Path | None, overlap: float) -> Planned:
    """The node's way, with the engine that `evidence` says, else single precision."""
    inferer = {**CONFIGURATION["inferer"], "overlap": overlap}
    fitting = Fitting(card=card(), folder=folder, weights={}, device=device, model_digest="spleen", evidence=evidence)
    return Planned(fitting, plan_of({**CONFIGURATION, "inferer": inferer}), model)


class ByMonai:
    """The bundle's own steps, run by MONAI."""

    def __init__(self, model: torch.nn.Module, device: str, overlap: float) -> None:
        steps = dict(CONFIGURATION)
        steps["preprocessing"] = {
            "_target_": "Compose", "transforms": CONFIGURATION["preprocessing"]["transforms"][1:]
        }  # fmt: skip
        parser = ConfigParser(steps)
        self._before = parser.get_parsed_content("preprocessing")
        self._after = parser.get_parsed_content("postprocessing")
        self._inferer = SlidingWindowInferer((96, 96, 96), 4, overlap)
        self._model, self._device = model.to(device), torch.device(device)

    def read(self, volume: Volume) -> tuple[NDArray[np.uint8], Mapping[str, float]]:
        """Labels, (slice, row, column), and seconds."""
        started = time.perf_counter()
        prepared = self._before({"image": _as_loaded(volume.array, volume.grid)})
        given = prepared["image"][None].to(self._device)
        led = self._now()
        # Its evaluator asks for automatic precision, which MONAI turns on for a GPU alone.
        with torch.no_grad(), torch.autocast("cuda", enabled=self._device.type == "cuda"):
            prepared["pred"] = self._inferer(given, self._model)[0]
        answered = self._now()
        labels = self._after(prepared)["pred"][0].cpu().numpy().astype(np.uint8).T
        timings = {
            "prepare_s": led - started,
            "model_s": answered - led,
            "finish_s": self._now() - answered,
        }
        return labels, timings

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


def _as_loaded(array: NDArray[Any], grid: Grid) -> MetaTensor:
    affine = (np.diag([-1.0, -1.0, 1.0, 1.0]) @ grid.matrix)[:, [2, 1, 0, 3]]
    # As LoadImage gives it: float32, (column, row, slice).
    loaded = torch.from_numpy(np.ascontiguousarray(array.T, dtype=np.float32))
    meta = {"original_channel_dim": "no_channel", "spatial_shape": np.array(loaded.shape), "space": "RAS"}
    return MetaTensor(loaded, affine=torch.from_numpy(affine), meta={**meta, "original_affine": affine})
