"""Boxes among themselves: how much they overlap, which are one and the same, and on which slices they lie.

A box is (low, high) along each axis in index units, outer edges: 0 is the outer edge of the first pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Edges: TypeAlias = tuple[tuple[float, float], ...]


def clipped(edges: Edges, shape: Sequence[int]) -> Edges | None:
    """The part of a box within an array of this shape; `None` where there is none."""
    part = tuple((max(0.0, low), min(float(size), high)) for (low, high), size in zip(edges, shape, strict=True))
    return part if all(low < high for low, high in part) else None


def overlap(one: Edges, other: Edges) -> float:
    """Intersection over union, 0 to 1."""
    shared = prod(max(0.0, min(a[1], b[1]) - max(a[0], b[0])) for a, b in zip(one, other, strict=True))
    return shared / (_size(one) + _size(other) - shared)


def kept(boxes: Sequence[Edges], scores: Sequence[float], suppressed_from: float) -> list[int]:
    """Indices of the boxes that stand, the highest score first: none overlaps a higher one more than that.

    Of equal scores the earlier box stands.
    """
    if not boxes:
        return []
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    low, high = np.moveaxis(np.asarray(boxes, np.float64), -1, 0)
    sizes = (high - low).prod(axis=1)
    standing: list[int] = []
    waiting: NDArray[np.intp] = order
    while waiting.size:
        best, waiting = int(waiting[0]), waiting[1:]
        standing.append(best)
        sides = np.minimum(high[best], high[waiting]) - np.maximum(low[best], low[waiting])
        shared = sides.clip(0).prod(axis=1)
        waiting = waiting[shared / (sizes[best] + sizes[waiting] - shared) <= suppressed_from]
    return standing


def linked(images: Sequence[int], boxes: Sequence[Edges], linked_from: float) -> list[list[int]]:
    """Groups of boxes that hang together from image to image, each by its indices, in order of the images.

    Boxes on neighbouring images belong together where they overlap at least so much; a box has one neighbour at most on
    either side, the one that overlaps most.
    """
    on_image: dict[int, list[int]] = {}
    for index, image in enumerate(images):
        on_image.setdefault(image, []).append(index)
    group_of: dict[int, list[int]] = {}
    groups = []
    for image in sorted(on_image):
        before = on_image.get(image - 1, [])
        pairs = [(overlap(boxes[a], boxes[b]), a, b) for a in before for b in on_image[image]]
        taken: set[int] = set()
        for value, earlier, later in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
            if value >= linked_from and earlier not in taken and later not in group_of:
                taken.add(earlier)
                group_of[later] = group_of[earlier]
                group_of[later].append(later)
        for index in on_image[image]:
            if index not in group_of:
                group_of[index] = [index]
                groups.append(group_of[index])
    return groups


def slices_crossed(low: float, high: float, count: int) -> list[int]:
    """Indices of the slices whose middle lies between two edges; the one that has most of them where none does."""
    crossed = list(range(max(0, ceil(low - 0.5)), min(count, floor(high - 0.5) + 1)))
    if crossed:
        return crossed
    return [min(count - 1, max(0, floor((low + high) / 2)))]


def _size(edges: Edges) -> float:
    return prod(high - low for low, high in edges)
