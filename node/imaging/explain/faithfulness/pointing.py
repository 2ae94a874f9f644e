"""The pointing game (Zhang et al., 2018): does the weightiest voxel lie where it should, and how much of the map?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

#: How far beside a region still counts as near it, as a share of the longest side: 15 pixels of 224, as the authors of
#: the pointing game allow.
NEAR = 15 / 224


def figures(weights: NDArray[np.float32], region: NDArray[np.bool_]) -> Mapping[str, float]:
    """Return 1 or 0 for the weightiest voxel, and the share of the weight inside; nothing where either is empty.

    weights: 0 or more; region: the same shape. Where several weigh most, the share of them that lies inside.
    """
    most = float(weights.max(initial=0.0))
    if most <= 0 or not region.any():
        return {}
    inside = float(weights[region].sum(dtype=np.float64) / weights.sum(dtype=np.float64))
    return {"pointing_game": float(region[weights == most].sum() / (weights == most).sum()), "mass_inside": inside}


def around(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """What lies in a region or near it: the middle of a coarse cell may lie beside what the cell shows."""
    if not region.any():
        return region
    near: NDArray[np.bool_] = distance_transform_edt(~region) <= NEAR * max(region.shape)
    return near
