"""Anchors of a detector, from the sizes of the true boxes on what the network is given."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
#: Shapes at each place.
_SHAPES = 3
#: Levels of the pyramid, each twice as coarse as the one before.
_LEAST_LEVELS, _MOST_LEVELS = 2, 4
#: Boxes below this percentile, or above the other one, have the anchors of those next to them.
_SMALL, _LARGE = 10, 90
_ROUNDS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchors:
    """Where a detector begins to look."""

    #: Sides along each axis, at the finest level.
    shapes: tuple[tuple[float, ...], ...]
    #: Level → factor on the shapes.
    scales: tuple[int, ...]
    #: Voxels between two places of the finest level: 2 or 4.
    stride: int


def anchors_of(sides: Numbers) -> Anchors:
    """Return anchors for boxes with these sides, (box, axis).

    Sizes go from the 10th to the 90th percentile of the geometric mean of a box's sides, doubling from level to level;
    shapes are the means of three groups of boxes of like proportions.
    """
    sizes = np.exp(np.log(sides).mean(axis=1))
    small, large = (float(each) for each in np.percentile(sizes, (_SMALL, _LARGE)))
    small = max(small, 4.0)
    levels = round(math.log2(max(large / small, 1.0))) + 1
    levels = min(_MOST_LEVELS, max(_LEAST_LEVELS, levels))
    shapes = np.exp(_groups(np.log(sides / sizes[:, None]))) * small
    rounded = sorted({tuple(round(float(each), 1) for each in shape) for shape in shapes})
    return Anchors(
        shapes=tuple(rounded), scales=tuple(2**level for level in range(levels)), stride=2 if small < 16 else 4
    )


def _groups(points: Numbers) -> Numbers:
    """Means of groups of points (Lloyd's algorithm), begun along the direction in which they differ most."""
    distinct = np.unique(points.round(3), axis=0)
    if len(distinct) < _SHAPES:
        return np.asarray(distinct, np.float64)
    _, _, directions = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    along = points @ directions[0]
    order = np.argsort(along, kind="stable")
    means = points[order[[len(order) // 6, len(order) // 2, (5 * len(order)) // 6]]]
    for _ in range(_ROUNDS):
        nearest = ((points[:, None] - means[None]) ** 2).sum(axis=2).argmin(axis=1)
        moved = np.array([points[nearest == n].mean(axis=0) if (nearest == n).any() else means[n] for n in range(3)])
        if np.allclose(moved, means):
            break
        means = moved
    return means
