"""The outline of a segment on one slice, as a polyline in image coordinates (PS3.3 §C.18.6.1).

Image coordinates are (column, row) with (0, 0) at the top left corner of the first pixel, so that the centre of
the pixel with index (row, column) = (r, c) lies at (c + 0.5, r + 0.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

#: A value of VR FL holds 16383 numbers in Explicit VR (PS3.5 §7.1.2); half of it is more than any viewer draws.
_MOST_VERTICES = 4000

#: Steps along pixel edges as (row, column): east, south, west, north; the next one is a turn to the right.
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))
#: From a corner, heading as above: offsets of the pixels ahead on the left and on the right.
_LEFT = ((-1, 0), (0, 0), (0, -1), (-1, -1))
_RIGHT = ((0, 0), (0, -1), (-1, -1), (-1, 0))


#: Row, first column, column after the last.
_Run = tuple[int, int, int]


def largest_region(plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest region of pixels that share edges. plane: (row, column), with at least one pixel set."""
    whole = np.zeros_like(plane)
    region = regions(plane)[0]
    rows, columns = region.pixels.shape
    whole[region.row : region.row + rows, region.column : region.column + columns] = region.pixels
    return whole


def regions(plane: NDArray[np.bool_], *, corners: bool = False) -> list[Region]:
    """Regions of pixels that share edges, or `corners` too; the largest first, then as they lie in rows."""
    found = [_region(runs) for runs in _connected(_runs(plane), reach=int(corners))]
    return sorted(found, key=lambda region: -int(np.count_nonzero(region.pixels)))


def holes(region: Region) -> list[Region]:
    """What a region encloses, the largest first; the outside reaches in around corners."""
    around = np.pad(~region.pixels, 1, constant_values=True)
    inner = [each for each in regions(around, corners=True) if each.row > 0]
    return [Region(each.row - 1 + region.row, each.column - 1 + region.column, each.pixels) for each in inner]


def rings(plane: NDArray[np.bool_], most: int = 2**31) -> list[NDArray[np.float32]]:
    """Outlines of the `most` largest regions of a plane and of their holes; (column, row), closed, see `outline`."""
    found = []
    for region in regions(plane)[:most]:
        found.append(region.outline())
        for hole in holes(region):
            pieces = regions(hole.pixels)
            found += [each.outline() + np.array((hole.column, hole.row), np.float32) for each in pieces]
    return found


def polygons(plane: NDArray[np.bool_], most_vertices: int) -> list[NDArray[np.float32]]:
    """Outlines of a plane's regions as polygons without holes: a region with holes is cut through them, row by row."""
    found: list[NDArray[np.float32]] = []
    for region in regions(plane):
        inside = holes(region)
        if not inside:
            found.append(region.outline(most_vertices))
            continue
        cut = inside[0].row - region.row + inside[0].pixels.shape[0] // 2
        for first, part in ((0, region.pixels[:cut]), (cut, region.pixels[cut:])):
            offset = np.array((region.column, region.row + first), np.float32)
            found += [polygon + offset for polygon in polygons(part, most_vertices)]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Pixels that hang together, cut out of their plane."""

    #: Where the cut-out starts in the plane.
    row: int
    column: int
    #: (row, column) of the cut-out.
    pixels: NDArray[np.bool_]

    def outline(self, most_vertices: int = _MOST_VERTICES) -> NDArray[np.float32]:
        """The outer outline in coordinates of the plane; see `outline`."""
        return outline(self.pixels, most_vertices) + np.array((self.column, self.row), np.float32)


def outline(region: NDArray[np.bool_], most_vertices: int = _MOST_VERTICES) -> NDArray[np.float32]:
    """The outer outline as a closed polyline, shape (vertices, 2), float32, (column, row); the last is the first.

    It runs through the middles of the edges between a pixel of the region and one outside. A region without
    holes and `n` pixels has an outline of area n − ½.
    """
    middles = _edge_middles(region)
    if len(middles) > 3:
        middles = _without_straights(middles)
    stride = -(-len(middles) // most_vertices)
    middles = middles[::stride]
    return np.array([*middles, middles[0]], dtype=np.float32)


def _runs(plane: NDArray[np.bool_]) -> list[_Run]:
    """Runs of set pixels, (row, first column, column after the last), by row and column."""
    padded = np.zeros((plane.shape[0], plane.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = plane
    change = np.diff(padded, axis=1)
    rows, starts = np.nonzero(change == 1)
    _, stops = np.nonzero(change == -1)
    return list(zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True))


def _connected(runs: list[_Run], reach: int) -> list[list[_Run]]:
    """Runs that hang together, with `reach` 1 over corners too."""
    parents = list(range(len(runs)))

    def root(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    above: list[int] = []
    here: list[int] = []
    row = -1
    for index, (run_row, start, stop) in enumerate(runs):
        if run_row != row:
            above = here if run_row == row + 1 else []
            here, row = [], run_row
        for other in above:
            if runs[other][1] < stop + reach and start < runs[other][2] + reach:
                # The earlier one stays the root, so that regions come as they lie in rows.
                one, two = sorted((root(index), root(other)))
                parents[two] = one
        here.append(index)
    together: dict[int, list[_Run]] = {}
    for index, run in enumerate(runs):
        together.setdefault(root(index), []).append(run)
    return list(together.values())


def _region(runs: list[_Run]) -> Region:
    row, column = min(run[0] for run in runs), min(run[1] for run in runs)
    last, end = max(run[0] for run in runs), max(run[2] for run in runs)
    pixels = np.zeros((last - row + 1, end - column), np.bool_)
    for run_row, start, stop in runs:
        pixels[run_row - row, start - column : stop - column] = True
    return Region(row, column, pixels)


def _edge_middles(region: NDArray[np.bool_]) -> list[tuple[float, float]]:
    """Middles of the outer edges, clockwise from the top left, as (column, row)."""
    padded = np.pad(region, 1)
    inside = padded.tolist()
    row, column = (int(index[0]) for index in np.nonzero(padded))
    start = (row, column, 0)
    heading = 0
    middles = []
    while True:
        down, right = _STEPS[heading]
        middles.append((column + right / 2 - 1, row + down / 2 - 1))
        row, column = row + down, column + right
        if not inside[row + _RIGHT[heading][0]][column + _RIGHT[heading][1]]:
            heading = (heading + 1) % 4
        elif inside[row + _LEFT[heading][0]][column + _LEFT[heading][1]]:
            heading = (heading - 1) % 4
        if (row, column, heading) == start:
            return middles


def _without_straights(vertices: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Leave out vertices that lie on the line between their neighbours."""
    ring = [vertices[-1], *vertices, vertices[0]]
    kept = []
    for (before, here), (_, after) in zip(pairwise(ring[:-1]), pairwise(ring[1:]), strict=True):
        one = (here[0] - before[0], here[1] - before[1])
        two = (after[0] - here[0], after[1] - here[1])
        if one[0] * two[1] != one[1] * two[0]:
            kept.append(here)
    return kept
