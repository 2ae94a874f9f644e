"""The pointing game (Zhang et al., 2018): does the weightiest voxel lie where it should, and how much of the map?"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def figures(weights: NDArray[np.float32], region: NDArray[np.bool_]) -> Mapping[str, float]:
    """Return 1 or 0 for the weightiest voxel, and the share of the weight inside; nothing where either is empty.

    weights: 0 or more; region: the same shape. Where several weigh most, the share of them that lies inside.
    """
    most = float(weights.max(initial=0.0))
    if most <= 0 or not region.any():
        return {}
    inside = float(weights[region].sum(dtype=np.float64) / weights.sum(dtype=np.float64))
    return {"pointing_game": float(region[weights == most].sum() / (weights == most).sum()), "mass_inside": inside}
