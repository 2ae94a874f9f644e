"""The grid a series forms: slices in order, and the affine from index to patient.

Everything is LPS and in millimetres (PS3.3 §C.7.6.2.1.1). An index is (slice, row, column).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.domain.study import Plane
from node.errors import Unsuitable

Affine = NDArray[np.float64]

#: Direction cosines within this of each other are the same orientation (about 0.06°).
_ORIENTATION_TOLERANCE = 1e-3
#: Pixel spacings within this many millimetres are the same.
_SPACING_TOLERANCE_MM = 1e-3
#: Slice distances may differ from their median by this share and still form a regular grid ...
_REGULARITY = 0.05
#: ... or by this much, whichever is more: positions are written with few digits.
_REGULARITY_MM = 0.05
#: Entries of affines within this are the same, mm.
_SAME_MM = 1e-3
#: Slices may be shifted in their own plane by this much between neighbours (gantry tilt is more).
_SHEAR_TOLERANCE_MM = 0.05


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular stack of slices in patient space.

    affine: 4×4 float64, index (slice, row, column, 1) → LPS mm.
    """

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, float, float, float], ...]

    @property
    def matrix(self) -> Affine:
        """The affine as a fresh 4×4 float64 array."""
        return np.array(self.affine, dtype=np.float64)

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbours along slice, row and column index."""
        norms = np.linalg.norm(self.matrix[:3, :3], axis=0)
        return (float(norms[0]), float(norms[1]), float(norms[2]))

    def coincides_with(self, other: Grid) -> bool:
        """Whether both have the same voxels in the same places, but for what headers round."""
        return self.shape == other.shape and bool(np.abs(self.matrix - other.matrix).max() < _SAME_MM)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel in millilitres: |det| of the affine, so it holds for any orientation."""
        return float(abs(np.linalg.det(self.matrix[:3, :3]))) / 1000.0


def stack(planes: Sequence[Plane], rows: int, columns: int) -> tuple[list[int], Grid]:
    """Order the slices along their normal and return (indices in that order, the grid they form).

    The first slice is the one with the smallest position along the cross product of row and column
    direction, so any order of arrival gives the same grid.

    Raises:
        Unsuitable: fewer than two slices; numbers that are not finite; mixed orientations or spacings;
            duplicate positions; a gap or uneven distances; slices shifted against each other (gantry
            tilt). The reason says which.
    """
    if len(planes) < 2:
        raise Unsuitable(f"{len(planes)} slice(s) with a position: no volume")
    orientation = np.array([plane.orientation for plane in planes])
    spacing = np.array([plane.spacing for plane in planes])
    positions = np.array([plane.position for plane in planes])
    if not (np.isfinite(orientation).all() and np.isfinite(spacing).all() and np.isfinite(positions).all()):
        raise Unsuitable("a position, orientation or spacing is not a finite number")
    row_direction, column_direction = _directions(orientation)
    normal = np.cross(row_direction, column_direction)
    if np.abs(spacing - spacing[0]).max() > _SPACING_TOLERANCE_MM:
        raise Unsuitable("mixed pixel spacings in one series")
    if spacing.min() <= 0:
        raise Unsuitable("pixel spacing is not positive")
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    distances = np.diff(along[order])
    step_mm = _regular_step_mm(distances)
    ordered = positions[order]
    step = (ordered[-1] - ordered[0]) / (len(planes) - 1)
    if np.linalg.norm(step - along_normal(normal, step)) > _SHEAR_TOLERANCE_MM:
        raise Unsuitable("slices are shifted against each other (gantry tilt): not a rectangular grid")
    straight = ordered[0] + np.outer(np.arange(len(planes)), step)
    if np.linalg.norm(ordered - straight, axis=1).max() > max(_REGULARITY * step_mm, _REGULARITY_MM) * 2:
        raise Unsuitable("slice positions do not lie on one line")
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = column_direction * spacing[0][0]
    affine[:3, 2] = row_direction * spacing[0][1]
    affine[:3, 3] = ordered[0]
    matrix = tuple((float(r[0]), float(r[1]), float(r[2]), float(r[3])) for r in affine)
    return [int(i) for i in order], Grid((len(planes), rows, columns), matrix)


def along_normal(normal: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of `step` that lies along `normal`."""
    return normal * float(step @ normal)


def to_patient(affine: Affine, index: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map (…, 3) indices (slice, row, column) to (…, 3) LPS mm."""
    return index @ affine[:3, :3].T + affine[:3, 3]


def _directions(orientation: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if np.abs(orientation - orientation[0]).max() > _ORIENTATION_TOLERANCE:
        raise Unsuitable("mixed orientations in one series (a localizer, or several stacks)")
    row, column = orientation[0][:3], orientation[0][3:]
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if abs(lengths[0] - 1) > 0.01 or abs(lengths[1] - 1) > 0.01 or abs(float(row @ column)) > 0.01:
        raise Unsuitable("Image Orientation (Patient) is not two orthogonal unit vectors")
    return row / lengths[0], column / lengths[1]


def _regular_step_mm(distances: NDArray[np.float64]) -> float:
    """The slice distance, where it is one.

    Raises:
        Unsuitable: duplicate positions, a gap, or uneven distances.
    """
    step_mm = float(np.median(distances))
    duplicates = int((distances < 0.01).sum())
    if duplicates:
        raise Unsuitable(f"{duplicates} slice position(s) occur twice (several phases, echoes or re-sent slices)")
    off = np.abs(distances - step_mm)
    if off.max() > max(_REGULARITY * step_mm, _REGULARITY_MM):
        worst = float(distances[int(off.argmax())])
        missing = round(worst / step_mm) - 1
        if worst > step_mm and missing >= 1 and abs(worst - (missing + 1) * step_mm) < 0.25 * step_mm:
            raise Unsuitable(f"a gap of {worst:.1f} mm where slices lie {step_mm:.1f} mm apart: {missing} missing")
        raise Unsuitable(f"slice distances vary between {distances.min():.2f} and {distances.max():.2f} mm")
    return step_mm
