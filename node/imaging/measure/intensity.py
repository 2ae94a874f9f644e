"""Mean and spread of the values of a region."""

from __future__ import annotations

import numpy as np

from node.domain.measures import Quantity
from node.imaging.measure.region import Region
from node.imaging.volume import Values


def intensity(region: Region, array: Values, quantity: Quantity) -> float:
    """Mean, or standard deviation over all voxels of the region (population), of `array`'s rescaled values.

    array: (slice, row, column), the volume that the mask lies on.
    """
    values = array[region.box][region.mask]
    return float(np.mean(values, dtype=np.float64) if quantity is Quantity.MEAN else np.std(values, dtype=np.float64))
