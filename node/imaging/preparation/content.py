"""Cropping to content: away with the margins of an image that show nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.croppad.dictionary import CropForegroundd
from monai.utils.misc import ensure_tuple

#: What lies above the least value by this share of the way to the 99th percentile is not background.
_ABOVE = 0.05
#: A line of pixels (a plane of voxels) belongs to the content where this share of it is not background: lettering does
#: not count, nor a speck.
_SHARE = 0.01
#: Of each side of the content, left around it where the image goes on.
_MARGIN = 0.02


class ContentCropd(CropForegroundd):
    """Crops to the box around the content of the first key's image; the others are cropped alike. It can be undone.

    An image that shows nothing stays whole.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        """Crop these keys, each (channel, …)."""
        super().__init__(
            keys,
            source_key=str(ensure_tuple(keys)[0]),
            select_fn=content,
            allow_smaller=True,
            start_coord_key=None,
            end_coord_key=None,
            allow_missing_keys=allow_missing_keys,
        )


def content(image: Any) -> Any:
    """Return (1, …) bool: true in the box around what is not background in any channel of (channel, …)."""
    values = image.detach().cpu().numpy() if isinstance(image, torch.Tensor) else np.asarray(image)
    shown = np.zeros(values.shape[1:], bool)
    for channel in values:
        low, high = float(channel.min()), float(np.percentile(channel, 99))
        high = high if high > low else float(channel.max())
        shown |= channel > low + _ABOVE * (high - low)
    box = np.zeros((1, *shown.shape), bool)
    where: tuple[Any, ...] = (0, *(_along(shown, axis) for axis in range(shown.ndim)))
    box[where] = True
    return torch.from_numpy(box) if isinstance(image, torch.Tensor) else box


def _along(shown: np.ndarray[Any, np.dtype[np.bool_]], axis: int) -> slice:
    """From where to where the content reaches along an axis."""
    others = tuple(each for each in range(shown.ndim) if each != axis)
    lines = np.flatnonzero(shown.mean(axis=others) >= _SHARE)
    if not len(lines):
        return slice(None)
    first, last = int(lines[0]), int(lines[-1]) + 1
    margin = int(np.ceil(_MARGIN * (last - first)))
    return slice(max(0, first - margin), min(shown.shape[axis], last + margin))
