"""Trilinear interpolation on a CPU, at the points of a regular grid that lies anyhow in another.

Torch's own kernel for three dimensions works voxel by voxel. Eight gathers over runs of the output, with everything
between them done on whole runs at once, take an eighth of its time.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from node.imaging.cores import spread, undivided

Matrix = NDArray[np.float64]
Places = NDArray[np.float32]
#: Where lines begin, (axis, slice, row), and by how much they go on from voxel to voxel.
Lines = tuple[Places, list[float]]

#: Voxels of the output that are computed at once: what is needed for them stays near the core, and the operations on
#: them are long beside handing the interpreter from one thread to the other.
_RUN_VOXELS = 1 << 17
#: Indices of more voxels than this do not fit into 32 bits.
_NARROW = 1 << 31
#: A line that goes on by less than this from voxel to voxel does not move along that axis: it is rounding.
_STILL = 1e-9


def sample(values: torch.Tensor, index: Matrix, into: torch.Tensor, outside: float) -> None:
    """Fill `into` (slice, row, column; any strides) from `values` (float32, contiguous), at `index` @ (i, j, k, 1).

    Up to half a voxel beyond the outermost voxel centres their value holds; farther off it is `outside`.
    """
    depth, rows, columns = into.shape
    sizes = tuple(values.shape)
    starts = _starts(index, depth, rows)
    low, high = _inside(starts, index[:3, 2], sizes, columns)
    # A bundle of lines that are neighbours in both directions reads the same part of the source again and again.
    side = max(1, int((_RUN_VOXELS / columns) ** 0.5))

    def fill(corner: tuple[int, int]) -> None:
        here = tuple(slice(start, min(start + side, size)) for start, size in zip(corner, (depth, rows), strict=True))
        _fill(values, (starts[:, *here], index[:3, 2].tolist()), (low[here], high[here]), into[here], outside)

    with undivided() as cores:
        spread(fill, list(product(range(0, depth, side), range(0, rows, side))), cores)


def fill(values: torch.Tensor, starts: Places, step: Matrix, into: torch.Tensor, outside: float) -> None:
    """Fill lines `into` (bundle, line, column), few enough for the cache, that begin anywhere (see `sample`).

    starts: index in `values` at which each begins, (axis, bundle, line); from voxel to voxel it goes on by `step`.
    """
    inside = _inside(starts, step, tuple(values.shape), into.shape[2])
    _fill(values, (starts, step.tolist()), inside, into, outside)


def _fill(
    values: torch.Tensor, lines: Lines, inside: tuple[Matrix, Matrix], into: torch.Tensor, outside: float
) -> None:
    """Fill a bundle of lines of which the first and the last index in the source are given."""
    low, high = inside
    begin, end = int(low.min()), int(high.max()) + 1
    if begin >= end:
        into.fill_(outside)
        return
    found = _interpolated(values, lines, begin, end)
    if low.max() > begin or high.min() < end - 1:
        along = torch.arange(begin, end, dtype=torch.float32)
        before, behind = (torch.from_numpy(limit.astype(np.float32))[..., None] for limit in (low, high))
        found.masked_fill_((along < before) | (along > behind), outside)
    into[:, :, :begin] = outside
    into[:, :, begin:end] = found
    into[:, :, end:] = outside


def _starts(index: Matrix, depth: int, rows: int) -> Places:
    """Where in the source each line of the output begins: (axis, slice, row), index units."""
    i, j = np.arange(depth, dtype=np.float64)[:, None], np.arange(rows, dtype=np.float64)
    return np.stack([line[0] * i + line[1] * j + line[3] for line in index[:3]]).astype(np.float32)


def _inside(starts: Places, steps: Matrix, sizes: tuple[int, ...], columns: int) -> tuple[Matrix, Matrix]:
    """Return the first and last column of each line that is in the source."""
    first, last = _within(starts, steps, sizes)
    return np.ceil(np.clip(first, 0, columns)), np.floor(np.clip(last, -1, columns - 1))


def _within(starts: Places, steps: Matrix, sizes: tuple[int, ...]) -> tuple[Matrix, Matrix]:
    """Return the first and last index (slice, row), as real numbers, at which each line is in the source."""
    first, last = np.full(starts.shape[1:], -np.inf), np.full(starts.shape[1:], np.inf)
    for start, step, size in zip(starts, steps.tolist(), sizes, strict=True):
        if abs(step) < _STILL:
            last[(start < -0.5) | (start > size - 0.5)] = -np.inf
            continue
        one, other = (-0.5 - start) / step, (size - 0.5 - start) / step
        first, last = np.maximum(first, np.minimum(one, other)), np.minimum(last, np.maximum(one, other))
    return first, last


def _interpolated(values: torch.Tensor, lines: Lines, low: int, high: int) -> torch.Tensor:
    """Return the values on lines from index `low` to `high`."""
    flat, sizes = values.reshape(-1), tuple(values.shape)
    along = torch.arange(low, high, dtype=torch.float32)
    kind = torch.int32 if flat.numel() < _NARROW else torch.int64
    place: torch.Tensor | None = None
    shares, offsets = [], []
    for start, step, size, stride in zip(torch.from_numpy(lines[0]), lines[1], sizes, _strides(sizes), strict=True):
        at = torch.add(start[:, :, None], along, alpha=step).clamp_(0, size - 1)
        below = at.to(kind).clamp_(max=max(0, size - 2))
        shares.append(at.sub_(below).reshape(-1))
        offsets.append(stride if size > 1 else 0)
        place = below.mul_(stride) if place is None else place.add_(below, alpha=stride)
    assert place is not None
    shape, place = place.shape, place.reshape(-1)

    def corner(offset: int) -> torch.Tensor:
        return flat[offset:].index_select(0, place)

    def row_pair(offset: int) -> torch.Tensor:
        return corner(offset).lerp_(corner(offset + offsets[2]), shares[2])

    near = row_pair(0).lerp_(row_pair(offsets[1]), shares[1])
    far = row_pair(offsets[0]).lerp_(row_pair(offsets[0] + offsets[1]), shares[1])
    return near.lerp_(far, shares[0]).reshape(shape)


def _strides(sizes: tuple[int, ...]) -> tuple[int, int, int]:
    return sizes[1] * sizes[2], sizes[2], 1
