"""Where a field on one grid is above a threshold on another, without its values being computed everywhere.

Between voxels that are all above, or all below, an interpolated value is so, too. Blocks of the target that lie in such
parts of the field are decided at once; only those through which the surface runs are interpolated, on a CPU.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray

from node.domain.geometry import Grid
from node.imaging import trilinear
from node.imaging.components import Mask
from node.imaging.cores import spread, undivided
from node.imaging.resample import alike, reordered, resample

Matrix = NDArray[np.float64]

#: Voxels along each side of a block of the target, and of a cell of the field.
_BLOCK, _CELL = 8, 4
#: Blocks that are interpolated at once (see `trilinear`).
_BLOCKS_AT_ONCE = 256
#: Nearer to the threshold than this, and nearer to a voxel in voxels, rounding could decide.
_ROUNDING, _NEAR = 1e-5, 1e-3


def above(values: torch.Tensor, source: Grid, target: Grid, threshold: float) -> Mask:
    """Return where `values` (float32, on `source`) are above `threshold` (0 or more) on `target`.

    They are interpolated as `resample` does it, and 0 outside.
    """
    if values.device.type != "cpu":
        mask: Mask = (resample(values, source, target, outside=0.0) > threshold).cpu().numpy()
        return mask
    order = alike(source, target)
    turned = reordered(target, order)
    index = np.linalg.inv(source.matrix) @ turned.matrix
    counts = [-(-size // _BLOCK) for size in turned.shape]
    blocks = np.zeros([length for count in counts for length in (count, _BLOCK)], dtype=bool)
    inside, surface = _decided(values.numpy(), index, counts, threshold)
    blocks[inside[0], :, inside[1], :, inside[2]] = True
    values = values.contiguous()

    def interpolate(first: int) -> None:
        chosen = surface[:, first : first + _BLOCKS_AT_ONCE]
        found = _interpolated(values, index, chosen) > threshold
        blocks[chosen[0], :, chosen[1], :, chosen[2]] = found.numpy().reshape(-1, _BLOCK, _BLOCK, _BLOCK)

    with undivided() as cores:
        spread(interpolate, range(0, surface.shape[1], _BLOCKS_AT_ONCE), cores)
    whole = blocks.reshape([count * _BLOCK for count in counts])
    cropped = whole[tuple(slice(size) for size in turned.shape)]
    return np.ascontiguousarray(cropped.transpose(np.argsort(order)))


def _decided(
    field: NDArray[np.float32], index: Matrix, counts: list[int], threshold: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the blocks (axis, block) that are above as a whole, and those through which the surface may run."""
    high, low = _sums(field > threshold - _ROUNDING), _sums(field < threshold + _ROUNDING)
    reach = np.abs(index[:3, :3]).sum(axis=1) * (_BLOCK - 1) / 2
    middles = [np.arange(count) * float(_BLOCK) + (_BLOCK - 1) / 2 for count in counts]
    spans, leaves = [], np.zeros(counts, dtype=bool)
    for row, extent, size in zip(index[:3], reach, field.shape, strict=True):
        terms = [part * along for part, along in zip(row[:3], middles, strict=True)]
        middle = terms[0][:, None, None] + terms[1][:, None] + terms[2] + row[3]
        leaves |= (middle - extent < 0) | (middle + extent > size - 1)
        first, last = (np.floor(middle + step).astype(np.intp) for step in (-extent - _NEAR, extent + _NEAR))
        # What lies between two voxels is read from both.
        spans.append((np.clip(first, 0, size - 1) // _CELL, np.clip(last + 1, 0, size - 1) // _CELL + 1))
    has_high, has_low = (_any(sums, spans) for sums in (high, low))
    return np.array(np.nonzero(has_high & ~has_low & ~leaves)), np.array(np.nonzero(has_high & (has_low | leaves)))


def _sums(mask: Mask) -> NDArray[np.int32]:
    """How many cells that hold a true voxel lie before each corner of the cells."""
    cells = mask
    for axis in range(3):
        parts = [np.moveaxis(cells, axis, 0)[step::_CELL] for step in range(min(_CELL, cells.shape[axis]))]
        joined = np.moveaxis(parts[0], 0, axis).copy()
        turned = np.moveaxis(joined, axis, 0)
        for part in parts[1:]:
            turned[: len(part)] |= part
        cells = joined
    sums = np.zeros([size + 1 for size in cells.shape], dtype=np.int32)
    sums[1:, 1:, 1:] = cells.astype(np.int32).cumsum(axis=0).cumsum(axis=1).cumsum(axis=2)
    return sums


def _any(sums: NDArray[np.int32], spans: list[tuple[NDArray[np.intp], NDArray[np.intp]]]) -> Mask:
    """Whether any cell within the spans is true."""
    total = np.zeros(spans[0][0].shape, dtype=np.int32)
    for ends in product((0, 1), repeat=3):
        corner = sums[spans[0][ends[0]], spans[1][ends[1]], spans[2][ends[2]]]
        total += corner if sum(ends) % 2 else -corner
    return np.asarray(total > 0)


def _interpolated(values: torch.Tensor, index: Matrix, blocks: NDArray[np.intp]) -> torch.Tensor:
    """Return the values in blocks (axis, block): (block, line, column)."""
    i, j = np.divmod(np.arange(_BLOCK * _BLOCK), _BLOCK)
    first = blocks[:, :, None] * float(_BLOCK) + np.stack([i, j, np.zeros_like(i)])[:, None]
    starts = (np.tensordot(index[:3, :3], first, 1) + index[:3, 3, None, None]).astype(np.float32)
    into = torch.empty((*starts.shape[1:], _BLOCK))
    trilinear.fill(values, starts, index[:3, 2], into, 0.0)
    return into
