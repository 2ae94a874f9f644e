"""A volume at a coarser spacing: averaged, from 0 to 1, with the place of every voxel kept."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from node.domain.geometry import Grid, to_patient
from node.imaging.volume import Values

Points = NDArray[np.float64]
Matrix = NDArray[np.float64]

#: What is darker or brighter than this share of all values says nothing: air, metal.
_PERCENTILES = (1.0, 99.5)
#: From this share of the range on a voxel counts as body.
BODY = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """A volume at one spacing: (slice, row, column) float32 from 0 to 1, and index → LPS mm."""

    values: NDArray[np.float32]
    affine: Matrix


def level(array: Values, grid: Grid, spacing_mm: float) -> Level:
    """Return a volume averaged to about a spacing; finer than it is it does not become."""
    factors = [max(1, int(spacing_mm / step + 0.25)) for step in grid.spacing_mm]
    factors = [min(factor, size) for factor, size in zip(factors, array.shape, strict=True)]
    sizes = [size // factor for size, factor in zip(array.shape, factors, strict=True)]
    mean = np.zeros(sizes, np.float32)
    for offset in product(*map(range, factors)):
        part = array[tuple(slice(o, o + n * f, f) for o, n, f in zip(offset, sizes, factors, strict=True))]
        mean += part
    mean /= np.float32(np.prod(factors))
    low, high = (float(each) for each in np.percentile(mean, _PERCENTILES))
    values = np.clip((mean - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
    affine = grid.matrix
    affine[:3, 3] = to_patient(affine, (np.array(factors, np.float64) - 1) / 2)
    affine[:3, :3] *= factors
    return Level(values, affine)


def middle(level: Level) -> Points:
    """The middle of the body, LPS mm."""
    index = np.argwhere(level.values > BODY)
    middle = index.mean(axis=0) if len(index) else (np.array(level.values.shape) - 1) / 2
    return to_patient(level.affine, np.asarray(middle, np.float64))


def slopes(level: Level) -> list[NDArray[np.float32]]:
    """How the values change from voxel to voxel, along each axis."""
    return [
        np.gradient(level.values, axis=axis) if size > 1 else np.zeros_like(level.values)
        for axis, size in enumerate(level.values.shape)
    ]


def ends(level: Level) -> tuple[float, float]:
    """Lowest and highest place of the body along the patient, mm."""
    index = np.argwhere(level.values > BODY)
    if not len(index):
        index = np.array([[0, 0, 0], np.array(level.values.shape) - 1])
    along = to_patient(level.affine, index.astype(np.float64))[:, 2]
    return float(along.min()), float(along.max())
