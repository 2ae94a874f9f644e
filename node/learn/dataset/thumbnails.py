"""Thumbnails by which images are compared: small, and freed of brightness and contrast."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Below this share of the largest value what is left of an image is rounding.
_CONSTANT = 1e-6


def thumbnail_of(array: NDArray[Any], size: int, *, is_volume: bool) -> NDArray[np.float32]:
    """Return a thumbnail as a vector of mean 0 and length 1, so that a product of two is their correlation.

    Each of its values is the mean of the area that it covers; colours are averaged.

    Args:
        array: (row, column), (row, column, 3), or (slice, row, column) of a volume.
        size: rows and columns of the thumbnail of a picture; that of a volume has as many values, nearly.
        is_volume: three axes are those of space.

    Returns:
        float32; all 0 where the image is constant, or holds what is no number.
    """
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        array = np.zeros_like(array)
    if is_volume:
        sides = max(2, round(size ** (2 / 3)))
        # Plane by plane: a whole volume in double precision is large.
        planes = np.stack([averaged(averaged(plane, sides, 0), sides, 1) for plane in array])
        small = averaged(planes, sides, 0)
    else:
        grey = array.mean(axis=-1) if array.ndim == 3 else array
        small = averaged(averaged(grey, size, 0), size, 1)
    vector = small.reshape(-1)
    largest = np.abs(vector).max()
    vector -= vector.mean()
    length = np.linalg.norm(vector)
    if length <= _CONSTANT * largest * np.sqrt(vector.size):
        return np.zeros(vector.size, np.float32)
    found: NDArray[np.float32] = (vector / length).astype(np.float32)
    return found


def averaged(array: NDArray[Any], to: int, axis: int) -> NDArray[np.float64]:
    """Return the array with `to` values along one axis: each the mean of the stretch that it covers.

    By running sums and without a product of matrices: every machine computes the same.
    """
    values = np.moveaxis(array, axis, 0).astype(np.float64)
    of = len(values)
    sums = np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])
    edges = np.arange(to + 1) * of / to
    whole = np.minimum(edges.astype(np.int64), of - 1)
    rest = (edges - whole).reshape(-1, *(1,) * (values.ndim - 1))
    below: NDArray[np.float64] = sums[whole] + rest * values[whole]
    found: NDArray[np.float64] = np.moveaxis(np.diff(below, axis=0) * (to / of), 0, axis)
    return found
