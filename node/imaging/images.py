"""Single images as a model reads them: no place in space is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One frame of one instance.

    array: (row, column) rescaled values, MONOCHROME1 inverted so that more is brighter; or (row, column, 3) uint8 RGB.
    """

    array: NDArray[np.int16] | NDArray[np.float32] | NDArray[np.uint8]
    sop_instance_uid: str
    #: 1 is the first; 0 where the image has a single one.
    frame_number: int = 0
    #: Distance between rows, then columns; `None` where it is not said.
    spacing_mm: tuple[float, float] | None = None
