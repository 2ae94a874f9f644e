"""Boxes laid on what a network is given, by the same affines that bring its answers back."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.learn.case import Box


def laid(boxes: Iterable[Box], source: Any, prepared: Any) -> tuple[Box, ...]:
    """Return the smallest upright boxes around them on the prepared image; what lies outside of it is left out.

    Args:
        boxes: in index units of the source, axes in our order, 0 is the outer edge of the first voxel.
        source: MONAI's tensor of the source, its axes in the reverse order, without a channel.
        prepared: MONAI's tensor of what the network is given, (channel, …).
    """
    shape = tuple(prepared.shape[1:])
    axes = len(shape)
    there = np.linalg.inv(_square(prepared, axes)) @ _square(source, axes)
    found = []
    for box in boxes:
        # An affine speaks of the middles of voxels, an edge of a box of their borders.
        corners = np.array(list(product(*reversed(box.edges)))) - 0.5
        placed = corners @ there[:axes, :axes].T + there[:axes, axes] + 0.5
        low, high = placed.min(axis=0).clip(0, shape), placed.max(axis=0).clip(0, shape)
        if (low < high).all():
            edges = tuple((float(start), float(stop)) for start, stop in zip(low, high, strict=True))
            found.append(Box(label=box.label, edges=edges))
    return tuple(found)


def _square(image: Any, axes: int) -> NDArray[np.float64]:
    affine = np.asarray(image.affine.cpu().numpy(), dtype=np.float64)
    square = np.eye(axes + 1)
    square[:axes, :axes], square[:axes, axes] = affine[:axes, :axes], affine[:axes, -1]
    return square
