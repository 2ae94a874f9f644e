"""Values from one grid on another: true affine, so oblique and anisotropic grids are as good as any.

An upright grid is one whose axes point right to left, back to front and feet to head, in index order:
x grows towards the patient's Right, y towards Anterior, z towards Superior (RAS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray

from node.domain.geometry import Grid, to_patient
from node.imaging import trilinear

#: Turns RAS into LPS and back.
_FLIP = np.array([-1.0, -1.0, 1.0])
#: Voxels computed at once on a CPU: coordinates of one slab stay in the cache and off the heap.
_SLAB_VOXELS = 1 << 20

Triple = tuple[float, float, float]
Ranges = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Box:
    """An upright box, RAS, mm, between outer voxel faces."""

    low: Triple
    high: Triple

    def grown(self, share: float) -> Box:
        """The box with `share` of each side's length more at both of its ends."""
        low, high = np.array(self.low), np.array(self.high)
        return _box(low - share * (high - low), high + share * (high - low))

    def within(self, other: Box) -> Box:
        """The part of the box that lies inside `other`."""
        return _box(np.maximum(self.low, other.low), np.minimum(self.high, other.high))


def box_around(grid: Grid) -> Box:
    """Return the smallest upright box that holds every voxel of `grid`."""
    corners = to_patient(grid.matrix, _corners(tuple((0, size) for size in grid.shape)) - 0.5) * _FLIP
    return _box(corners.min(axis=0), corners.max(axis=0))


def grid_over(box: Box, shape: tuple[int, int, int]) -> Grid:
    """Return the upright grid of `shape` (x, y, z) that fills `box`."""
    step = (np.array(box.high) - box.low) / shape
    affine = np.eye(4)
    affine[:3, :3] = np.diag(step * _FLIP)
    affine[:3, 3] = (np.array(box.low) + step / 2) * _FLIP
    return Grid(shape, _rows(affine))


def part(grid: Grid, ranges: Ranges) -> Grid:
    """Return the voxels start ≤ index < stop of `grid` as a grid of their own."""
    affine = grid.matrix
    affine[:3, 3] = to_patient(affine, np.array([float(start) for start, _ in ranges]))
    (a, b), (c, d), (e, f) = ranges
    return Grid((b - a, d - c, f - e), _rows(affine))


def cover(grid: Grid, other: Grid) -> Ranges:
    """Return the ranges of `grid` that hold every voxel of `other`, as far as they lie in it."""
    corners = to_patient(other.matrix, _corners(tuple((0, size) for size in other.shape)) - 0.5)
    index = to_patient(np.linalg.inv(grid.matrix).astype(np.float64), corners)
    low = np.clip(np.floor(index.min(axis=0)).astype(int), 0, grid.shape)
    high = np.clip(np.ceil(index.max(axis=0)).astype(int) + 1, low, grid.shape)
    (a, b), (c, d), (e, f) = ((int(start), int(stop)) for start, stop in zip(low, high, strict=True))
    return (a, b), (c, d), (e, f)


def resample(values: torch.Tensor, source: Grid, target: Grid, *, outside: float) -> torch.Tensor:
    """Return `values` (float32, on `source`) on `target`, trilinear, on the same device.

    Up to half a voxel beyond the outermost voxel centres their value holds; farther off it is `outside`.
    """
    # Walked in the order in which the source lies in memory, the work takes less than half of the time.
    order = alike(source, target)
    result = torch.empty(target.shape, dtype=torch.float32, device=values.device)
    turned = reordered(target, order)
    if values.device.type == "cpu":
        index = np.linalg.inv(source.matrix) @ turned.matrix
        trilinear.sample(values.contiguous(), index, result.permute(order), outside)
    else:
        _sample(values, source, turned, outside, into=result.permute(order))
    return result


def _sample(values: torch.Tensor, source: Grid, target: Grid, outside: float, *, into: torch.Tensor) -> None:
    """Write what `resample` returns into `into`, which has the shape of `target` and any strides."""
    scale, shift = _normalised(source, target)
    device = values.device
    leaves = bool((np.abs(_corners([(0, size - 1) for size in target.shape]) @ scale.T + shift) > 1).any())
    along = torch.arange(target.shape[2], dtype=torch.float32, device=device)
    depth = max(1, _SLAB_VOXELS // (target.shape[1] * target.shape[2])) if device.type == "cpu" else target.shape[0]
    for start in range(0, target.shape[0], depth):
        stop = min(start + depth, target.shape[0])
        starts = _line_starts(scale, shift, (start, stop), target.shape[1], device)
        where = torch.empty((stop - start, 1, *target.shape[1:], 3), dtype=torch.float32, device=device)
        for axis in range(3):
            # `grid_sample` reads coordinates as (column, row, slice).
            torch.add(starts[axis][:, :, None], along * float(scale[axis, 2]), out=where[:, 0, ..., 2 - axis])
        # One slice is one item of the batch: the CPU kernel runs in parallel over the batch only.
        piece = torch.nn.functional.grid_sample(
            values.expand(stop - start, 1, *values.shape), where, padding_mode="border", align_corners=False
        )[:, 0, 0]
        if leaves:
            first, last = _inside(starts, scale[:, 2])
            piece.masked_fill_((along < first[:, :, None]) | (along > last[:, :, None]), outside)
        into[start:stop] = piece


def alike(source: Grid, target: Grid) -> tuple[int, int, int]:
    """Return the axes of `target` in the order of the axes of `source` that they follow best."""
    directions = [grid.matrix[:3, :3] / grid.spacing_mm for grid in (source, target)]
    likeness = np.abs(directions[0].T @ directions[1])
    best = max(permutations(range(3)), key=lambda order: float(likeness[range(3), order].sum()))
    return best[0], best[1], best[2]


def reordered(grid: Grid, order: tuple[int, int, int]) -> Grid:
    """Return `grid` with its axes in another order."""
    a, b, c = order
    return Grid((grid.shape[a], grid.shape[b], grid.shape[c]), _rows(grid.matrix[:, [a, b, c, 3]]))


def _line_starts(
    scale: NDArray[np.float64], shift: NDArray[np.float64], slices: tuple[int, int], rows: int, device: torch.device
) -> torch.Tensor:
    """Return source coordinates where each line of the target begins: (axis, slice, row) float32."""
    i = torch.arange(*slices, dtype=torch.float64, device=device)[None, :, None]
    j = torch.arange(rows, dtype=torch.float64, device=device)[None, None, :]
    terms = torch.as_tensor(np.column_stack((scale[:, :2], shift)), device=device)[:, :, None, None]
    return (terms[:, 0] * i + terms[:, 1] * j + terms[:, 2]).float()


def _inside(starts: torch.Tensor, steps: NDArray[np.float64]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first and last index (slice, row), as real numbers, at which each line is inside the source."""
    first, last = torch.full_like(starts[0], -torch.inf), torch.full_like(starts[0], torch.inf)
    for start, step in zip(starts, steps.tolist(), strict=True):
        if step == 0:
            last = torch.where(start.abs() > 1, -torch.inf, last)
            continue
        one, other = (-1 - start) / step, (1 - start) / step
        first, last = torch.maximum(first, torch.minimum(one, other)), torch.minimum(last, torch.maximum(one, other))
    return first, last


def _normalised(source: Grid, target: Grid) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Map an index of `target` to coordinates in which `source` reaches from −1 to 1, outer face to outer face."""
    index = np.linalg.inv(source.matrix) @ target.matrix
    sizes = np.array(source.shape, dtype=np.float64)
    return 2 * index[:3, :3] / sizes[:, None], (2 * index[:3, 3] + 1) / sizes - 1


def _corners(ranges: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    return np.array(np.meshgrid(*ranges, indexing="ij"), dtype=np.float64).reshape(3, 8).T


def _box(low: NDArray[np.float64], high: NDArray[np.float64]) -> Box:
    return Box((float(low[0]), float(low[1]), float(low[2])), (float(high[0]), float(high[1]), float(high[2])))


def _rows(affine: NDArray[np.float64]) -> tuple[tuple[float, float, float, float], ...]:
    return tuple((float(row[0]), float(row[1]), float(row[2]), float(row[3])) for row in affine)
