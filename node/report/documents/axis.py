"""The longest distance across a region of one slice, in image coordinates (PS3.3 §C.18.6.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def long_axis(outline: NDArray[np.float32], spacing_mm: tuple[float, float]) -> tuple[NDArray[np.float32], float]:
    """The two vertices of an outline that lie farthest apart, and their distance in millimetres.

    outline: (vertex, 2) float32, (column, row), with (0, 0) at the top left corner of the first pixel.
    spacing_mm: between rows, then between columns (0028,0030). The ends: (2, 2) float32, (column, row).
    """
    vertices = np.unique(outline, axis=0).astype(np.float64)
    places = _hull(vertices * (spacing_mm[1], spacing_mm[0]))
    apart = np.linalg.norm(places[:, None] - places[None, :], axis=2)
    first, second = np.unravel_index(int(apart.argmax()), apart.shape)
    ends = places[[first, second]] / (spacing_mm[1], spacing_mm[0])
    return ends.astype(np.float32), float(apart[first, second])


def _hull(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The convex hull of points sorted by x, then y (Andrew's monotone chain); the farthest two are on it."""

    def half(ordered: list[tuple[float, float]]) -> list[tuple[float, float]]:
        chain: list[tuple[float, float]] = []
        for x, y in ordered:
            while len(chain) > 1:
                (ax, ay), (bx, by) = chain[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                chain.pop()
            chain.append((x, y))
        return chain[:-1] or chain

    ordered = [(float(x), float(y)) for x, y in points]
    return np.array(half(ordered) + half(ordered[::-1]))
