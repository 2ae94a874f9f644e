"""How a mask lies to the true one: overlap, distances between the surfaces, and volume.

- Dice: 2 |A ∩ B| / (|A| + |B|) (Dice 1945).
- HD95: of each voxel at the edge of one mask, the distance to the nearest one at the edge of the other; the 95th
  percentile (linear between ranks) of either direction, the larger of the two. A voxel is at the edge where one of its
  6 neighbours (4 of an image) is outside; what lies beyond the array is outside.
- Surface Dice at a tolerance: the share of both surfaces, by the area of their elements, that lies within the
  tolerance of the other surface (Nikolov et al., arXiv 1809.04430).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from node.domain.geometry import Grid
from node.learn.evaluate.elements import elements
from node.learn.prediction import SegmentFigures

Labels = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Distances = NDArray[np.float64]
#: Thickness that an image is taken to have where a volume is asked for, mm.
_THICKNESS_MM = 1.0


def figures(
    labels: Labels, truth: Labels, grid: Grid, numbers: Iterable[int], tolerance_mm: float
) -> dict[int, SegmentFigures]:
    """Compare (slice, row, column) uint8 labels with the true ones, on one grid: number → figures.

    Where both masks are empty nothing is defined but the volumes; where one is, Dice and surface Dice are 0 and there
    is no distance.

    Raises:
        ValueError: the shapes are not those of the grid.
    """
    if labels.shape != grid.shape:
        raise ValueError(f"labels of {labels.shape} on a grid of {grid.shape}")
    return figures_at(labels, truth, grid.spacing_mm, numbers, tolerance_mm, voxel_volume_ml=grid.voxel_volume_ml)


def figures_at(
    labels: Labels,
    truth: Labels,
    spacing_mm: Sequence[float],
    numbers: Iterable[int],
    tolerance_mm: float,
    *,
    voxel_volume_ml: float | None = None,
) -> dict[int, SegmentFigures]:
    """Compare labels of a volume or of an image, (row, column), whose pixels lie so far apart along each axis.

    The volume of an image is that of a slice of 1 mm.

    Raises:
        ValueError: the shapes or the number of axes differ.
    """
    if labels.shape != truth.shape or labels.ndim != len(spacing_mm):
        raise ValueError(f"labels of {labels.shape}, truth of {truth.shape}, {len(spacing_mm)} spacings")
    if voxel_volume_ml is None:
        thickness = _THICKNESS_MM if labels.ndim == 2 else 1.0
        voxel_volume_ml = float(np.prod(spacing_mm)) * thickness / 1000
    places = [int(number) for number in numbers]
    boxes = _boxes(labels, truth, places)
    return {
        number: _of_segment(labels[box] == number, truth[box] == number, spacing_mm, tolerance_mm, voxel_volume_ml)
        for number, box in zip(places, boxes, strict=True)
    }


def _boxes(labels: Labels, truth: Labels, numbers: Sequence[int]) -> list[tuple[slice, ...]]:
    """Of each number the smallest box around both masks."""
    most = max(numbers, default=0)
    found = [ndimage.find_objects(each, max_label=most) for each in (labels, truth)]
    boxes = []
    for number in numbers:
        here = [each[number - 1] for each in found if each[number - 1] is not None]
        axes = zip(*here, strict=True) if here else ((slice(0, 0),) for _ in labels.shape)
        boxes.append(tuple(slice(min(a.start for a in axis), max(a.stop for a in axis)) for axis in axes))
    return boxes


def _of_segment(
    said: Mask, true: Mask, spacing_mm: Sequence[float], tolerance_mm: float, voxel_volume_ml: float
) -> SegmentFigures:
    volumes = float(said.sum()) * voxel_volume_ml, float(true.sum()) * voxel_volume_ml
    both = said.any() and true.any()
    overlap = dice(said, true)
    return SegmentFigures(
        dice=overlap,
        hd95_mm=hd95_mm(said, true, spacing_mm),
        surface_dice=surface_dice(said, true, spacing_mm, tolerance_mm) if both else overlap,
        volume_ml=volumes[0],
        true_volume_ml=volumes[1],
    )


def dice(said: Mask, true: Mask) -> float | None:
    """Twice what both have over what each has; `None` where neither has anything."""
    total = int(said.sum()) + int(true.sum())
    return 2 * int((said & true).sum()) / total if total else None


def hd95_mm(said: Mask, true: Mask, spacing_mm: Sequence[float]) -> float | None:
    """95th percentile of the distances between the edges, mm; `None` where a mask is empty."""
    if not (said.any() and true.any()):
        return None
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (said, true)]
    pairs = zip(edges, reversed(edges), strict=True)
    ways = [_distance_to(other, spacing_mm)[edge] for edge, other in pairs]
    return max(float(np.percentile(way, 95)) for way in ways)


def surface_dice(said: Mask, true: Mask, spacing_mm: Sequence[float], tolerance_mm: float) -> float | None:
    """Share of both surfaces that lies within the tolerance of the other; `None` where neither mask has a voxel."""
    if not (said.any() or true.any()):
        return None
    if not (said.any() and true.any()):
        return 0.0
    areas = [_areas(mask, spacing_mm) for mask in (said, true)]
    near = sum(
        float(one[_distance_to(other > 0, spacing_mm) <= tolerance_mm].sum())
        for one, other in ((areas[0], areas[1]), (areas[1], areas[0]))
    )
    return near / sum(float(each.sum()) for each in areas)


def _areas(mask: Mask, spacing_mm: Sequence[float]) -> Distances:
    """Area (of an image: length) of the surface between the pixels, one pixel wider than the mask on either side."""
    if mask.ndim == 2:
        # Between two equal slices the surface stands upright: its area is the length of the contour.
        found = elements(np.stack([mask, mask]), (1.0, spacing_mm[0], spacing_mm[1]))[1]
        return np.asarray(found)
    return elements(mask, (spacing_mm[0], spacing_mm[1], spacing_mm[2]))


def _distance_to(places: Mask, spacing_mm: Sequence[float]) -> Distances:
    """Distance of every voxel to the nearest of the places, mm."""
    return np.asarray(ndimage.distance_transform_edt(~places, sampling=tuple(spacing_mm)), np.float64)
