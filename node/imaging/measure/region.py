"""One segment, or one lesion of it, cut out of the mask: what everything else here is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from node.domain.geometry import Grid, to_patient
from node.imaging.components import Component, bounds, components
from node.imaging.mask import Tally
from node.imaging.measure.hull import Points, hull

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Border:
    """Outer voxels of a region."""

    #: (n, 3) in the whole mask.
    indices: NDArray[np.intp]
    #: (n, 3) LPS mm.
    places: Points


@dataclass(frozen=True, eq=False)
class Region:
    """Voxels of one mask, on the grid of the source series."""

    grid: Grid
    #: (slice, row, column) in the whole mask of the first voxel of the cut-out.
    start: tuple[int, int, int]
    #: (slice, row, column) of the cut-out; it touches all its six faces.
    mask: Mask
    #: Index of its first voxel in the flattened whole mask.
    first: int = 0

    @cached_property
    def voxels(self) -> int:
        """How many voxels it has."""
        return int(np.count_nonzero(self.mask))

    @property
    def volume_ml(self) -> float:
        """Its voxels times the volume of one."""
        return self.voxels * self.grid.voxel_volume_ml

    @property
    def spanned(self) -> tuple[int, int, int]:
        """How many slices, rows and columns it reaches over."""
        slices, rows, columns = self.mask.shape
        return slices, rows, columns

    @cached_property
    def surface_mm2(self) -> float:
        """Surface of the body that its voxels stand for, mm².

        The faces of voxels make 3/2 of a smooth surface that looks evenly in all directions: the mean of
        |x| + |y| + |z| over the directions of a normal.
        """
        faces_mm2 = 0.0
        for axis, step_mm in enumerate(self.grid.spacing_mm):
            line = np.moveaxis(self.mask, axis, 0)
            ends = np.count_nonzero(line[0]) + np.count_nonzero(line[-1])
            faces = ends + sum(np.count_nonzero(one != other) for one, other in zip(line[1:], line, strict=False))
            faces_mm2 += faces * self.grid.voxel_volume_ml * 1000 / step_mm
        return faces_mm2 * 2 / 3

    @property
    def box(self) -> tuple[slice, ...]:
        """Where the cut-out lies in the whole mask."""
        return tuple(slice(first, first + size) for first, size in zip(self.start, self.mask.shape, strict=True))

    @property
    def is_cut(self) -> bool:
        """Whether it reaches a face of the volume, so that there may be more of it than was seen."""
        ends = zip(self.box, self.grid.shape, strict=True)
        return any(size > 1 and (part.start == 0 or part.stop == size) for part, size in ends)

    @cached_property
    def by_slice(self) -> NDArray[np.int64]:
        """Voxels on each slice of the cut-out."""
        return np.array([np.count_nonzero(plane) for plane in self.mask], dtype=np.int64)

    @property
    def largest_slice(self) -> int:
        """Index, in the whole mask, of the slice with most of its voxels; the first of several."""
        return self.start[0] + int(self.by_slice.argmax())

    @cached_property
    def centroid(self) -> Points:
        """Mean place of its voxel centres, LPS mm."""
        means = [
            float((np.arange(size) * np.count_nonzero(self.mask, axis=others)).sum()) / self.voxels
            for size, others in zip(self.mask.shape, ((1, 2), (0, 2), (0, 1)), strict=True)
        ]
        return self.place(np.array(means))

    def place(self, index: NDArray[np.integer] | Points) -> Points:
        """LPS mm of (…, 3) indices into the cut-out."""
        return to_patient(self.grid.matrix, np.asarray(index + np.array(self.start), dtype=np.float64))

    @cached_property
    def corners(self) -> list[tuple[int, Points]]:
        """Of each slice of the cut-out that holds some: its number, and (row, column) of the corners of the hull there.

        The first and last voxel of every row are enough to find them.
        """
        planes, rows = np.nonzero(self.mask.any(axis=2))
        lines = self.mask[planes, rows]
        first = lines.argmax(axis=1)
        last = lines.shape[1] - 1 - lines[:, ::-1].argmax(axis=1)
        starts = np.flatnonzero(np.diff(planes, prepend=-1))
        found = []
        for begin, end in zip(starts, [*starts[1:], len(planes)], strict=True):
            ends = np.concatenate([first[begin:end], last[begin:end]])
            points = np.column_stack([np.tile(rows[begin:end], 2), ends]).astype(np.float64)
            found.append((int(planes[begin]), hull(points)))
        return found

    @cached_property
    def border(self) -> Border:
        """The voxels that have a neighbour outside across a face."""
        inner = self.mask.copy()
        for axis in range(3):
            line = np.moveaxis(self.mask, axis, 0)
            within = np.moveaxis(inner, axis, 0)
            within[1:] &= line[:-1]
            within[:-1] &= line[1:]
            within[0] = within[-1] = False
        index = np.argwhere(self.mask & ~inner)
        return Border(index + np.array(self.start), self.place(index))


def regions(labels: NDArray[np.uint8], grid: Grid, counted: Tally) -> dict[int, Region]:
    """Cut every segment out of `labels`, (slice, row, column); `counted` is their tally."""
    found = {}
    for number in map(int, np.flatnonzero(counted.counts[:, 1:].any(axis=0)) + 1):
        slices = np.flatnonzero(counted.counts[:, number])
        first = int(slices[0])
        region = region_of(labels[first : int(slices[-1]) + 1] == number, grid, first)
        if region is not None:
            found[number] = region
    return found


def region_of(mask: Mask, grid: Grid, first_slice: int = 0) -> Region | None:
    """Cut a mask out that holds the grid's slices from `first_slice` on; `None` where it is empty."""
    shadow: Mask = np.asarray(mask.any(axis=0))
    box = bounds(shadow)
    if box is None:
        return None
    (c, d), (e, f) = box
    planes = np.flatnonzero(mask[:, c:d, e:f].any(axis=(1, 2)))
    a, b = int(planes[0]), int(planes[-1]) + 1
    within = np.ascontiguousarray(mask[a:b, c:d, e:f])
    plane, row, column = np.unravel_index(int(within.argmax()), within.shape)
    start = (a + first_slice, c, e)
    place = (start[0] + int(plane), c + int(row), e + int(column))
    return Region(grid, start, within, int(np.ravel_multi_index(place, grid.shape)))


def lesions(region: Region, least_ml: float) -> list[Region]:
    """The lesions of a segment, the largest first: voxels that share a face, an edge or a corner (26 neighbours)."""
    least = max(1, int(np.ceil(least_ml / region.grid.voxel_volume_ml - 1e-9)))
    return [_lesion(region, each) for each in components(region.mask, least)]


def _lesion(region: Region, found: Component) -> Region:
    start = (
        region.start[0] + found.start[0],
        region.start[1] + found.start[1],
        region.start[2] + found.start[2],
    )
    index = np.unravel_index(found.first, region.mask.shape)
    whole = [int(each) + first for each, first in zip(index, region.start, strict=True)]
    return Region(region.grid, start, found.mask, int(np.ravel_multi_index(tuple(whole), region.grid.shape)))
