"""Windows cut out of a volume: where they begin, what they are cut around, and what lies outside of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

#: Places that are kept of one mask, evenly taken.
_MOST = 20_000


def first_of(side: int, shown: int, wide: int, center: int | None, random: np.random.Generator) -> int:
    """Return where a window of `wide` begins along a side, of which the middle `shown` are looked at in the end.

    What is shown lies within the side, and reaches its ends as often as any other place, though what surrounds it may
    lie outside; a side that is shorter than it lies somewhere in the window.
    """
    if side <= shown:
        return -int(random.integers(0, wide - side + 1))
    before = (wide - shown) // 2
    low, high = -before, side - shown - before
    if center is None:
        return int(random.integers(low, high + 1))
    return int(np.clip(center - random.integers(wide // 4, wide - wide // 4), low, high))


def cut(image: torch.Tensor, first: Sequence[int], size: Sequence[int]) -> torch.Tensor:
    """Cut a window out of (channel, …); what lies outside is 0. It may be a view of the image."""
    inside: list[slice] = [slice(None)]
    pads: list[int] = []
    for start, long, side in zip(first, size, image.shape[1:], strict=True):
        low, high = min(max(0, start), side), max(0, min(start + long, side))
        inside.append(slice(low, max(low, high)))
        before = min(long, max(0, -start))
        pads = [before, long - before - max(0, high - low), *pads]
    found = image[tuple(inside)]
    return functional.pad(found, pads) if any(pads) else found


def places_in(mask: torch.Tensor) -> torch.Tensor:
    """Return (place, axis) indices of true voxels: all of them, or evenly taken ones."""
    found = torch.nonzero(mask)
    # A copy: a view would keep all of them.
    return found[:: -(-len(found) // _MOST)].int().clone() if len(found) > _MOST else found.int()
