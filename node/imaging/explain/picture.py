"""A map of one image as a picture: red over the image, as much as it weighs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

#: How much of the colour covers a pixel at most.
_COVER = 0.6
_RED = np.array((230.0, 40.0, 40.0))
#: Percentiles of the values that are shown black and white.
_WINDOW = (1, 99)


def write_overlay(image: NDArray[np.generic], weights: NDArray[np.float32], target: Path) -> None:
    """Write a PNG. image: (row, column) values or (row, column, 3) uint8; weights: (row, column), 0 to 1."""
    values = np.asarray(image, dtype=np.float64)
    if values.ndim == 2:
        low, high = np.percentile(values, _WINDOW)
        values = np.clip((values - low) / max(high - low, 1e-9), 0, 1)[..., None] * np.full(3, 255.0)
    cover = _COVER * np.clip(weights, 0, 1)[..., None].astype(np.float64)
    mixed = values * (1 - cover) + _RED * cover
    Picture.fromarray(np.rint(mixed).astype(np.uint8)).save(target, format="PNG")
