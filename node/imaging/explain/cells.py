"""The input cut into cells, each switched on or off as a whole."""

from __future__ import annotations

import math

import torch


def sides(spatial: tuple[int, ...], at_most: int) -> tuple[int, ...]:
    """Into how many cells each axis is cut so that there are at most `at_most`: as many an axis, 2 at least."""
    each = max(2, math.floor(at_most ** (1 / len(spatial)) + 1e-9))
    return tuple(min(size, each) for size in spatial)


def cells(spatial: tuple[int, ...], at_most: int, device: torch.device) -> torch.Tensor:
    """Number each voxel by its cell, from 0: int64 of shape `spatial`."""
    numbers = torch.zeros(spatial, dtype=torch.int64, device=device)
    for axis, (size, count) in enumerate(zip(spatial, sides(spatial, at_most), strict=True)):
        along = torch.arange(size, device=device) * count // size
        numbers = numbers * count + along.view([-1 if axis == other else 1 for other in range(len(spatial))])
    return numbers
