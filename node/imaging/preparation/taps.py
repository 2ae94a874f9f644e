"""Linear interpolation along one axis: between which two voxels each sample is read, and at which share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from node.imaging.device import sent

Places = NDArray[np.int64]
Shares = NDArray[np.float32]

#: Closer than this to a voxel, a sample is that voxel: what is left is rounding of positions.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Taps:
    """Sample `i` is `factor[i]` × (values[low[i]] + weight[i] × (values[high[i]] − values[low[i]]))."""

    low: Places
    high: Places
    weight: Shares
    factor: Shares

    def __len__(self) -> int:
        return len(self.low)

    @property
    def whole(self) -> bool:
        """Whether no sample lies partly outside."""
        return bool((self.factor == 1).all())

    def part(self, chosen: slice, first: int = 0) -> Taps:
        """The samples of a range, in an array that begins at voxel `first`."""
        return Taps(self.low[chosen] - first, self.high[chosen] - first, self.weight[chosen], self.factor[chosen])

    def moved(self, by: int) -> Taps:
        """The same samples in an array that has `by` voxels more before its first."""
        return Taps(self.low + by, self.high + by, self.weight, self.factor)


def linear(positions: NDArray[np.float64], size: int, *, border: bool) -> Taps:
    """Read at `positions` from `size` voxels; outside them the outermost value holds (`border`), or all is 0."""
    nearby = np.round(positions)
    positions = np.where(np.abs(positions - nearby) < _ROUNDING, nearby, positions)
    if border:
        positions = np.clip(positions, 0, size - 1)
    below = np.floor(positions)
    share = positions - below
    low = below.astype(np.int64)
    inside = [((low + step >= 0) & (low + step < size)) * part for step, part in ((0, 1 - share), (1, share))]
    factor = inside[0] + inside[1]
    weight = np.divide(inside[1], factor, out=np.zeros_like(factor), where=factor > 0)
    # The pair is moved inside where one of it is outside or does not count, so that a pair is always neighbours.
    moved = np.clip(low, 0, max(0, size - 2))
    weight = np.where(moved < low, 1.0, np.where(moved > low, 0.0, weight)) if size > 1 else np.zeros_like(weight)
    high = np.minimum(moved + 1, size - 1)
    return Taps(moved, high, weight.astype(np.float32), factor.astype(np.float32))


def nearest(positions: NDArray[np.float64], size: int, *, border: bool) -> Taps:
    """Read the voxel nearest to each of `positions`; of two that are equally near, the one with the even index."""
    nearby = np.round(positions * 2) / 2
    chosen = np.rint(np.where(np.abs(positions - nearby) < _ROUNDING, nearby, positions)).astype(np.int64)
    held = np.clip(chosen, 0, size - 1)
    factor = np.ones(len(held)) if border else (held == chosen).astype(np.float64)
    return Taps(held, held, np.zeros(len(held), dtype=np.float32), factor.astype(np.float32))


def along(values: torch.Tensor, axis: int, taps: Taps) -> torch.Tensor:
    """Sample `values` along one axis; what is not floating point only with taps that read one voxel each."""
    if (taps.weight == 0).all() and taps.whole and np.array_equal(taps.low, np.arange(values.shape[axis])):
        return values

    def laid(numbers: Places | Shares) -> torch.Tensor:
        shape = [-1 if each == axis else 1 for each in range(values.ndim)]
        return sent(torch.from_numpy(numbers).to(values.dtype).reshape(shape), values.device)

    low = values.index_select(axis, sent(torch.from_numpy(taps.low), values.device))
    if taps.weight.any():
        low.lerp_(values.index_select(axis, sent(torch.from_numpy(taps.high), values.device)), laid(taps.weight))
    if not taps.whole:
        low.mul_(laid(taps.factor))
    return low
