"""The outline of a segment on one slice, as a polyline in image coordinates (PS3.3 §C.18.6.1).

Image coordinates are (column, row) with (0, 0) at the top left corner of the first pixel, so that the centre of
the pixel with index (row, column) = (r, c) lies at (c + 0.5, r + 0.5).
"""

from __future__ import annotations

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


def largest_slice(mask: NDArray[np.uint8], segment_number: int) -> int:
    """Index of the slice with most pixels of the segment; the first of several. mask: (slice, row, column)."""
    counts = np.count_nonzero(mask == segment_number, axis=(1, 2))
    return int(counts.argmax())


def largest_region(plane: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest region of pixels that share edges. plane: (row, column), with at least one pixel set."""
    runs = _runs(plane)
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
            if runs[other][1] < stop and start < runs[other][2]:
                parents[root(index)] = root(other)
        here.append(index)
    sizes: dict[int, int] = {}
    for index, (_, start, stop) in enumerate(runs):
        sizes[root(index)] = sizes.get(root(index), 0) + stop - start
    best = max(sizes, key=lambda candidate: (sizes[candidate], -candidate))
    region = np.zeros_like(plane)
    for index, (run_row, start, stop) in enumerate(runs):
        if root(index) == best:
            region[run_row, start:stop] = True
    return region


def outline(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The outer outline as a closed polyline, shape (vertices, 2), float32, (column, row); the last is the first.

    It runs through the middles of the edges between a pixel of the region and one outside. A region without
    holes and `n` pixels has an outline of area n − ½.
    """
    middles = _edge_middles(region)
    if len(middles) > 3:
        middles = _without_straights(middles)
    stride = -(-len(middles) // _MOST_VERTICES)
    middles = middles[::stride]
    return np.array([*middles, middles[0]], dtype=np.float32)


def _runs(plane: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Runs of set pixels, (row, first column, column after the last), by row and column."""
    padded = np.zeros((plane.shape[0], plane.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = plane
    change = np.diff(padded, axis=1)
    rows, starts = np.nonzero(change == 1)
    _, stops = np.nonzero(change == -1)
    return list(zip(rows.tolist(), starts.tolist(), stops.tolist(), strict=True))


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
