"""Convex hulls, also of what lies in a plane or a line."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull, QhullError

Points = NDArray[np.float64]


def hull(points: Points) -> Points:
    """The corners of the convex hull of (n, d) points; all of them where they lie in a plane or line."""
    corners: Points = points[corners_of(points)]
    return corners


def corners_of(points: Points) -> NDArray[np.intp]:
    """Indices of the corners of the convex hull of (n, d) points; of all where they lie in a plane or line."""
    if len(points) > points.shape[1] + 1 and np.ptp(points, axis=0).min() > 0:
        with suppress(QhullError):  # they lie in an oblique plane or line
            return np.sort(ConvexHull(points).vertices).astype(np.intp)
    return np.arange(len(points))
