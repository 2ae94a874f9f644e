"""What a recipe leaves out, derived from the data set: spacing, windows, depth and width of the network, the schedule.

The rules for volumes follow nnU-Net's (Isensee et al., Nat Methods 2021;18:203): the median spacing, windows as large
as the budget allows in the shape of the median case, and a halving along an axis as long as enough of it is left.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np

from node.domain.geometry import Grid
from node.domain.preparation import Architecture, Fit, Preparation, Values
from node.imaging.nifti import ras_affine
from node.learn.case import Dataset
from node.learn.dataset.sheet import Intensities, Sheet

#: Cases whose geometry is looked at.
_LOOKED_AT = 40
#: Voxels of a window: what four of them take in a training has to fit into a few GiB.
_BUDGET = 96**3
#: An axis is halved as long as this many voxels are left of it.
_LEFT = 4
_WIDTHS = (16, 32, 64, 128, 256, 320)
#: An axis whose spacing is this many times the finest one keeps its slices for the first levels.
_COARSE = 2.0
#: Images up to this side are given to a network as they are; larger ones become `_SIDE`.
_SMALL, _SIDE = 64, 224
#: Values below it are Hounsfield units of air: nothing else has such.
AIR = -500.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """The median case, along the axes R, A, S."""

    spacing_mm: tuple[float, float, float]
    #: Voxels at that spacing.
    size: tuple[int, int, int]


def geometry_of(dataset: Dataset) -> Geometry:
    """Look at the grids of some cases, evenly taken."""
    step = max(1, len(dataset.cases) // _LOOKED_AT)
    grids = [volume.grid for case in dataset.cases[::step] if (volume := dataset.read(case).volume) is not None]
    spacings = np.array([_along(grid)[0] for grid in grids])
    extents = np.array([_along(grid)[1] for grid in grids])
    spacing = np.median(spacings, axis=0)
    size = np.maximum(1, np.round(np.median(extents, axis=0) / spacing)).astype(int)
    return Geometry(
        spacing_mm=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        size=(int(size[0]), int(size[1]), int(size[2])),
    )


def windows(geometry: Geometry, levels: Sequence[Sequence[int]]) -> tuple[int, int, int]:
    """The size of a window in the shape of the median case, within the budget, that the levels divide."""
    size = np.array(geometry.size, dtype=float)
    size *= min(1.0, (_BUDGET / size.prod()) ** (1 / 3))
    divisors = np.prod(np.array(levels), axis=0) if len(levels) else np.ones(3)
    fitted = np.maximum(1, np.ceil(size / divisors - 1e-9)) * divisors
    return (int(fitted[0]), int(fitted[1]), int(fitted[2]))


def levels_of(geometry: Geometry) -> list[tuple[int, int, int]]:
    """By how much each level of a U-Net shrinks each axis; coarse axes begin later."""
    size, spacing = np.array(geometry.size, dtype=float), np.array(geometry.spacing_mm)
    found: list[tuple[int, int, int]] = []
    while len(found) < len(_WIDTHS) - 1:
        halved = (size / 2 >= _LEFT) & (spacing < _COARSE * spacing.min())
        if not halved.any():
            break
        strides = np.where(halved, 2, 1)
        size, spacing = size / strides, spacing * strides
        found.append((int(strides[0]), int(strides[1]), int(strides[2])))
    return found or [(1, 1, 1)]


def of_volumes(dataset: Dataset, sheet: Sheet) -> tuple[Preparation, Architecture]:
    """Preparation and network of a segmentation of volumes."""
    geometry = geometry_of(dataset)
    levels = levels_of(geometry)
    preparation = _valued(sheet, spacing_mm=geometry.spacing_mm, patch=windows(geometry, levels), overlap=0.5)
    arguments = {
        "spatial_dims": 3,
        "in_channels": 1,
        "out_channels": len(dataset.classes) + 1,
        "channels": list(_WIDTHS[: len(levels) + 1]),
        "strides": [list(each) for each in levels],
        "num_res_units": 2,
    }
    return preparation, Architecture(name="UNet", arguments=arguments)


def of_images(dataset: Dataset, sheet: Sheet) -> tuple[Preparation, Architecture]:
    """Preparation and network of a classification of images."""
    side = max(each.median for each in sheet.size)
    small = side <= _SMALL
    size = tuple(round(each.median) for each in sheet.size[-2:]) if small else (_SIDE, _SIDE)
    arguments: dict[str, Any] = {"spatial_dims": 2, "n_input_channels": 1, "num_classes": len(dataset.classes)}
    if not small:
        preparation = Preparation(size=size, values=Values.ZSCORE)
        return preparation, Architecture(name="resnet18", arguments=arguments)
    arguments |= {"block": "basic", "layers": [1, 1, 1, 1], "block_inplanes": [16, 32, 64, 128]}
    stem = {"conv1_t_size": 3, "conv1_t_stride": 1, "no_max_pool": True}
    return Preparation(size=size, values=Values.ZSCORE), Architecture(name="ResNet", arguments=arguments | stem)


def of_classified_volumes(dataset: Dataset, sheet: Sheet) -> tuple[Preparation, Architecture]:
    """Preparation and network of a classification of volumes: the median case, at most 64 voxels a side."""
    geometry = geometry_of(dataset)
    shrunk = max(1.0, max(geometry.size) / _SMALL)
    spacing = tuple(each * shrunk for each in geometry.spacing_mm)
    size = tuple(max(8, round(each / shrunk)) for each in geometry.size)
    preparation = _valued(sheet, spacing_mm=spacing, size=size, fit=Fit.CROP)
    arguments = {"spatial_dims": 3, "n_input_channels": 1, "num_classes": len(dataset.classes)}
    return preparation, Architecture(name="resnet18", arguments=arguments)


def _valued(sheet: Sheet, **more: Any) -> Preparation:
    """Hounsfield units are windowed to what the labels lie in; everything else has mean 0 and deviation 1."""
    if sheet.intensities[0].percentiles["0.5"] > AIR:
        return Preparation(values=Values.ZSCORE, **more)
    inside = [each.intensities[0] for each in sheet.labels] or [sheet.intensities[0]]
    return Preparation(values=Values.WINDOW, window=_window(inside), **more)


def _window(inside: Sequence[Intensities]) -> tuple[float, float]:
    low = min(each.percentiles["0.5"] for each in inside)
    high = max(each.percentiles["99.5"] for each in inside)
    return (float(math.floor(low)), float(math.ceil(max(high, low + 1))))


def _along(grid: Grid) -> tuple[list[float], list[float]]:
    """Spacing and extent in mm along the axes R, A, S; an oblique axis counts as that which it is nearest to."""
    affine = ras_affine(np.array(grid.matrix, dtype=np.float64))
    orientation = nibabel.io_orientation(affine)  # type: ignore[no-untyped-call]
    slices, rows, columns = grid.shape
    counts = (columns, rows, slices)
    spacing_mm = tuple(reversed(grid.spacing_mm))
    along = {int(axis): place for place, (axis, _) in enumerate(orientation)}
    spacing = [float(spacing_mm[along[axis]]) for axis in range(3)]
    return spacing, [spacing[axis] * counts[along[axis]] for axis in range(3)]
