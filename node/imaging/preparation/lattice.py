"""Where the network's voxels lie in the source: the geometry of MONAI's Orientation, Spacing, crops and pads.

The array starts as a NIfTI file would hold it: (column, row, slice), with a RAS affine. No step moves an axis out of
line with the source's own, so each axis of the network follows one of the source's and is sampled by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import nibabel.orientations as orientations
import numpy as np
from numpy.typing import NDArray

from node.domain.geometry import Grid
from node.imaging.bundle.plan import NotUnderstood, Orient, Respace, Step

Matrix = NDArray[np.float64]

#: RAS to LPS and back.
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
#: Affines closer than this are the same to MONAI, and spacings in mm (`monai.data.utils.AFFINE_TOL`).
_TOLERANCE = 1e-3
#: By so many voxels the axes of a series may be out of square, over its whole length, and still be sampled singly.
_SQUARE = 1e-2
#: Closer than this to the middle of two voxels, rounding of positions alone says which of them is nearer.
_TIE = 1e-6
#: Steps of the network's grid that make up whole voxels of the source, where these are few.
_FEW = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis of the network's array, along one axis of the source."""

    #: 0 slice, 1 row, 2 column.
    source_axis: int
    source_size: int
    #: Voxels along the axis before anything was cropped or padded.
    size: int
    #: Voxel `i` of these lies at source index `scale * i + shift`.
    scale: float = 1.0
    shift: float = 0.0
    #: Which of these is the first of the network's array (negative: voxels were added before it), and how many it has.
    start: int = 0
    count: int
    #: Of the voxels before cropping, those that were neither cropped away nor added: first, and one behind the last.
    kept: tuple[int, int]

    def flipped(self) -> Axis:
        """The axis in the other direction, before anything was cropped."""
        return replace(self, scale=-self.scale, shift=self.shift + self.scale * (self.size - 1))

    def cut(self, start: int, count: int) -> Axis:
        """The axis from index `start` (negative: before the array) on, `count` voxels of it."""
        first = self.start + start
        kept = max(self.kept[0], first), min(self.kept[1], first + count)
        return replace(self, start=first, count=count, kept=kept)

    def positions(self) -> Matrix:
        """Source index of each voxel, before anything was cropped, as real numbers."""
        return self.scale * np.arange(self.size, dtype=np.float64) + self.shift

    def back(self) -> Matrix:
        """Index in the array before anything was cropped, of each source voxel, as real numbers."""
        return (np.arange(self.source_size, dtype=np.float64) - self.shift) / self.scale


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """The network's grid over the source's."""

    source: Grid
    axes: tuple[Axis, Axis, Axis]
    #: 4×4, index of the network's array → RAS mm, row by row, as MONAI would keep it.
    affine: tuple[tuple[float, ...], ...]
    #: How values are sampled, there and back.
    nearest: bool = False
    border: bool = True
    #: 4×4 RAS before and after the spacing was changed, while nothing was turned, cropped or padded since.
    respaced: tuple[tuple[tuple[float, ...], ...], tuple[tuple[float, ...], ...]] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Extent of the network's array."""
        return self.axes[0].count, self.axes[1].count, self.axes[2].count

    @property
    def matrix(self) -> Matrix:
        """The RAS affine as a fresh array."""
        return np.array(self.affine, dtype=np.float64)

    @property
    def grid(self) -> Grid:
        """The network's grid, LPS."""
        return Grid(self.shape, _rows(_FLIP @ self.matrix))

    @property
    def order(self) -> tuple[int, int, int]:
        """The network's axes in the order in which the source lies in memory: those of slice, row and column."""
        places = [axis.source_axis for axis in self.axes]
        return places.index(0), places.index(1), places.index(2)

    @property
    def leaves_zeros_to_chance(self) -> bool:
        """Whether simple shares of voxels, as halves and thirds, make up a whole number but for rounding.

        Shares of which many make up whole voxels hardly ever do, unless all of these are alike.
        """
        return not self.moves_nothing and all(_is_simple(axis.scale) for axis in self.axes)

    @property
    def moves_nothing(self) -> bool:
        """Whether every voxel of the network's array is a voxel of the source, or was added."""
        return all(abs(axis.scale) == 1 and axis.size == axis.source_size for axis in self.axes)

    def cut(self, starts: Sequence[int], counts: Sequence[int]) -> Lattice:
        """The part that begins at `starts` (negative: before the array) and has `counts` voxels."""
        matrix = self.matrix
        matrix[:3, 3] += matrix[:3, :3] @ np.array(starts, dtype=np.float64)
        one, two, three = (
            axis.cut(int(start), int(count)) for axis, start, count in zip(self.axes, starts, counts, strict=True)
        )
        return replace(self, axes=(one, two, three), affine=_rows(matrix), respaced=None)


def presented(grid: Grid) -> Lattice:
    """Return the source as a NIfTI file would hold it: (column, row, slice), RAS."""
    slices, rows, columns = grid.shape
    one, two, three = (
        Axis(source_axis=axis, source_size=size, size=size, count=size, kept=(0, size))
        for axis, size in ((2, columns), (1, rows), (0, slices))
    )
    return Lattice(source=grid, axes=(one, two, three), affine=_rows(_FLIP @ grid.matrix[:, [2, 1, 0, 3]]))


def lattice_of(grid: Grid, steps: Sequence[Step]) -> Lattice:
    """Return the grid after the orientation and the spacing among `steps`, in their order.

    Raises:
        NotUnderstood: the axes of `grid` are out of square, so that no axis can be sampled by itself.
    """
    lattice = presented(grid)
    for step in steps:
        if isinstance(step, Orient):
            lattice = _oriented(lattice, step.axes)
        elif isinstance(step, Respace):
            lattice = _respaced(lattice, step)
    return lattice


def _is_simple(scale: float) -> bool:
    """Whether a few steps make up whole voxels."""
    return any(abs(scale * steps - round(scale * steps)) < _TIE for steps in range(1, _FEW + 1))


def ties(positions: Matrix) -> bool:
    """Whether any of these lies halfway between two voxels."""
    return bool((np.abs(positions % 1 - 0.5) < _TIE).any())


def _oriented(lattice: Lattice, letters: str) -> Lattice:
    matrix = lattice.matrix
    is_now = orientations.io_orientation(matrix)  # type: ignore[no-untyped-call]
    wanted = orientations.axcodes2ornt(letters)  # type: ignore[no-untyped-call]
    change = orientations.ornt_transform(is_now, wanted)  # type: ignore[no-untyped-call]
    undone = orientations.inv_ornt_aff(change, lattice.shape)  # type: ignore[no-untyped-call]
    turned = [axis.flipped() if way == -1 else axis for axis, (_, way) in zip(lattice.axes, change, strict=True)]
    one, two, three = (turned[int(place)] for place in np.argsort(change[:, 0]))
    return replace(lattice, axes=(one, two, three), affine=_rows(matrix @ undone), respaced=None)


def _respaced(lattice: Lattice, step: Respace) -> Lattice:
    """Lay MONAI's `Spacing` grid: shape, affine and sampling positions are its own."""
    before = lattice.matrix
    sizes = np.array(lattice.shape)
    after, shape = _spaced(before, sizes, np.array(step.spacing_mm, dtype=np.float64))
    index = np.linalg.solve(before, after)
    lattice = replace(lattice, nearest=step.nearest, border=step.border)
    same = np.allclose(before, after, atol=_TOLERANCE) or np.allclose(index, np.eye(4), atol=_TOLERANCE)
    if same and (shape == sizes).all():
        return lattice
    askew = np.abs(index[:3, :3] - np.diag(np.diag(index[:3, :3]))) @ (shape - 1)
    if askew.max() > _SQUARE:
        raise NotUnderstood(f"slices are shifted against each other, by {askew.max():.2g} voxels from end to end")
    one, two, three = (
        replace(
            axis,
            size=int(count),
            count=int(count),
            kept=(0, int(count)),
            scale=axis.scale * float(index[place, place]),
            shift=axis.shift + axis.scale * float(index[place, 3]),
        )
        for place, (axis, count) in enumerate(zip(lattice.axes, shape, strict=True))
    )
    if step.nearest and any(ties(axis.positions()) for axis in (one, two, three)):
        raise NotUnderstood("a voxel that is read from the nearest one lies halfway between two")
    respaced = _rows(before), _rows(after)
    return replace(lattice, axes=(one, two, three), affine=_rows(after), respaced=respaced)


def _spaced(before: Matrix, sizes: NDArray[np.int64], wanted_mm: Matrix) -> tuple[Matrix, NDArray[np.int64]]:
    """Return the affine and the shape of `monai.transforms.Spacing(wanted_mm)`."""
    is_mm = np.linalg.norm(before[:3, :3], axis=0)
    spacing = np.where((np.abs(is_mm - wanted_mm) <= _TOLERANCE) | (wanted_mm <= 0), is_mm, wanted_mm)
    upper = np.linalg.cholesky(before[:3, :3].T @ before[:3, :3]).T
    after = np.eye(4)
    after[:3, :3] = before[:3, :3] @ np.linalg.inv(upper) @ np.diag(np.sign(np.diag(upper)) * spacing)
    corners = np.array(np.meshgrid(*[(0.0, size - 1.0) for size in sizes], indexing="ij")).reshape(3, 8)
    corners = np.concatenate((corners, np.ones((1, 8))))
    seen = (np.linalg.solve(after, before) @ corners)[:3]
    shape = np.round(np.ptp(seen, axis=1) + 1.0)
    for corner in range(8):
        if np.allclose((seen - seen[:, corner : corner + 1]).min(axis=1), 0.0, rtol=_TOLERANCE):
            after[:3, 3] = (before @ corners)[:3, corner]
            break
    else:
        after[:3, 3] = before[:3, :3] @ (sizes / 2) + before[:3, 3] - after[:3, :3] @ (shape / 2)
    return after, shape.astype(np.int64)


def _rows(matrix: Matrix) -> tuple[tuple[float, float, float, float], ...]:
    return tuple((float(row[0]), float(row[1]), float(row[2]), float(row[3])) for row in matrix)
