"""How long a region is: its longest axis and the longest perpendicular, in 3-D and in the plane of a slice.

An axis runs between the two voxel centres that lie farthest apart, and half of one voxel's own extent along it is
added. A voxel belongs to a mask when its centre lies in the body, so the outermost centres fall short of the surface,
on average by about a quarter of a voxel at each end. The perpendicular is the longest distance of voxel centres seen
along the axis (in a plane: across it), with the same addition. Of an ellipsoid several voxels thick both come within
half a voxel's diagonal of the true diameters, at any orientation; a body that stands straight on slices much thicker
than their pixels are wide may be off by almost a whole slice, which no mask can tell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.imaging.measure.hull import Points, corners_of, hull
from node.imaging.measure.region import Region

#: Pairs whose distances are held at once.
_MOST_PAIRS = 1_000_000


@dataclass(frozen=True, slots=True)
class Axes:
    """The longest axis and the longest perpendicular to it."""

    long_mm: float
    short_mm: float


def axes(region: Region) -> Axes:
    """Measure a region in 3-D."""
    planes = region.corners
    index = np.concatenate([np.column_stack([np.full(len(each), plane), each]) for plane, each in planes])
    steps = region.grid.matrix[:3, :3]
    return axes_of(hull(index @ steps.T), steps)


def axes_in_plane(region: Region) -> Axes:
    """Measure a region in the plane of the slices: on the slice where the axis is longest, the first of several."""
    steps = region.grid.matrix[:3, 1:3]
    spacing_mm = (float(np.linalg.norm(steps[:, 0])), float(np.linalg.norm(steps[:, 1])))
    found = [flat_axes(corners, spacing_mm) for _, corners in region.corners]
    return max(found, key=lambda each: each.long_mm)


def flat_axes(pixels: NDArray[np.number], spacing_mm: tuple[float, float]) -> Axes:
    """Measure (n, 2) pixel centres, (row, column); spacing between rows, then columns."""
    return axes_of(hull(pixels * np.array(spacing_mm)), np.diag(spacing_mm))


def axes_of(points: Points, steps: Points) -> Axes:
    """Measure (n, d) voxel centres in mm, of voxels with the edges `steps` (d, k: one column an edge)."""
    one, other = _farthest(points)
    along, long_mm = _direction(points[one] - points[other])
    across = points - np.outer(points @ along, along)
    if points.shape[1] == 3 and along.any():  # they lie in a plane, where few of them are corners
        across = across[corners_of(across @ np.linalg.svd(along[None])[2][1:].T)]
    one, other = _farthest(across)
    between, short_mm = _direction(across[one] - across[other])
    return Axes(
        long_mm + _half_voxel(along, steps),
        short_mm + _half_voxel(between, steps - np.outer(along, along @ steps)),
    )


def _farthest(points: Points) -> tuple[int, int]:
    """The two points that lie farthest apart, the first pair of several."""
    centred = points - (points.min(axis=0) + points.max(axis=0)) / 2
    radii = np.linalg.norm(centred, axis=1)
    start = int(radii.argmax())
    across = int(np.linalg.norm(points - points[start], axis=1).argmax())
    # No point that lies nearer to the middle than this is an end: with none it would reach even so far.
    reach = np.linalg.norm(points - points[across], axis=1).max() - radii[start]
    kept = np.flatnonzero(radii >= reach - 1e-6)
    ends, squares = centred[kept], radii[kept] ** 2
    best, found = -1.0, (0, 0)
    block = max(1, _MOST_PAIRS // len(kept))
    for first in range(0, len(kept), block):
        rows = slice(first, first + block)
        apart = squares[rows, None] + squares[None] - 2 * (ends[rows] @ ends.T)
        place = int(apart.argmax())
        if apart.flat[place] > best:
            best = float(apart.flat[place])
            found = int(kept[first + place // len(kept)]), int(kept[place % len(kept)])
    return found


def _direction(line: Points) -> tuple[Points, float]:
    """Unit vector and length; no direction where the length is nothing."""
    length = float(np.linalg.norm(line))
    return (line / length if length > 1e-9 else np.zeros_like(line)), length


def _half_voxel(along: Points, steps: Points) -> float:
    """Half a voxel's extent in a direction; of its longest edge where there is no direction."""
    if not along.any():
        return float(np.linalg.norm(steps, axis=0).max()) / 2
    return float(np.linalg.norm(along @ steps)) / 2
