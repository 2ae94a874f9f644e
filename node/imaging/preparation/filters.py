"""Filters of an image before a network sees it, in two and three dimensions: NumPy and SciPy alone.

Every one works on (axis, axis) or (axis, axis, axis) float32, gives back the same shape in the same unit, and measures
distances in pixels. Strengths that compare values are shares of the image's span: its 1st to 99th percentile.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.config.type_definitions import KeysCollection
from monai.transforms.transform import MapTransform
from monai.utils.type_conversion import convert_to_dst_type
from numpy.typing import NDArray
from scipy import ndimage

from node.domain.filters import Filter, Kind, filter_of

Values = NDArray[np.float32]
#: Tiles along a side at most, and pixels along a side of one at least.
_TILES, _LEAST_TILE = 8, 8
_BINS = 256
#: Differences of this share of the span count as an edge.
_EDGE = 0.1
#: Steps of Chambolle's projection, and the change of its energy that ends them.
_MOST_STEPS, _ENOUGH = 100, 2e-4
#: Shares of red, green and blue in brightness (Rec. ITU-R BT.601).
_BRIGHTNESS = np.array([0.299, 0.587, 0.114], np.float32)


def filtered(image: Values, filters: Sequence[Filter]) -> Values:
    """Put an image, (channel, …), through filters one after the other.

    Contrast of three channels of a flat image is that of its brightness: colours keep their differences.
    """
    for each in filters:
        apply = _APPLIED[each.kind]
        if each.kind is Kind.CLAHE and image.ndim == 3 and len(image) == 3:
            brightness = np.tensordot(_BRIGHTNESS, image, axes=1)
            image = image + (apply(brightness, each.strength) - brightness)
        else:
            image = np.stack([apply(channel, each.strength) for channel in image])
    return image.astype(np.float32, copy=False)


def clahe(image: Values, limit: float) -> Values:
    """Even out the contrast of each tile's surroundings; `limit`: how far a histogram may rise over its mean.

    Contrast-limited adaptive histogram equalisation (Pizer et al., Computer Vision, Graphics, and Image Processing 39,
    1987; Zuiderveld, Graphics Gems IV, 1994). What lies between the middles of tiles is blended of theirs.
    """
    low, high = float(image.min()), float(image.max())
    if not high > low:
        return image
    tiles = [max(1, min(_TILES, side // _LEAST_TILE)) for side in image.shape]
    sides = [-(-side // count) for side, count in zip(image.shape, tiles, strict=True)]
    place = (image.astype(np.float64) - low) / (high - low) * _BINS
    bins = np.clip(place.astype(np.intp), 0, _BINS - 1)
    curves = _curves(bins, tiles, sides, limit)
    evened = np.zeros(image.shape)
    for corner, weight in _corners(image.shape, tiles, sides):
        below = curves[corner, bins]
        evened += weight * (below + (curves[corner, bins + 1] - below) * (place - bins))
    return (low + (high - low) * evened).astype(np.float32)


def gaussian(image: Values, deviation: float) -> Values:
    """Blur; `deviation` in pixels."""
    return np.asarray(ndimage.gaussian_filter(image, deviation, mode="nearest", truncate=4.0), np.float32)


def median(image: Values, side: float) -> Values:
    """Take the middle value of a window of `side` pixels."""
    return np.asarray(ndimage.median_filter(image, size=int(side), mode="nearest"), np.float32)


def bilateral(image: Values, deviation: float, edge: float | None = None) -> Values:
    """Blur by near pixels of like value; `deviation` in pixels, `edge` in the unit of the image.

    Tomasi and Manduchi, Bilateral Filtering for Gray and Color Images, ICCV 1998.
    """
    edge = _EDGE * _span(image) if edge is None else edge
    if not edge:
        return image
    reach = int(np.ceil(2 * deviation))
    padded = np.pad(image, reach, mode="edge")
    total, weights = np.zeros(image.shape, np.float32), np.zeros(image.shape, np.float32)
    for offset in product(range(2 * reach + 1), repeat=image.ndim):
        distance = sum((each - reach) ** 2 for each in offset)
        if distance > reach**2:
            continue
        window = tuple(slice(start, start + side) for start, side in zip(offset, image.shape, strict=True))
        near = padded[window]
        weight = np.exp(-((near - image) ** 2) / (2 * edge**2) - distance / (2 * deviation**2))
        total += weight * near
        weights += weight
    return (total / weights).astype(np.float32)


def denoise(image: Values, share: float) -> Values:
    """Take noise off by total variation; `share` of the span: edges stay, what is fine between them goes.

    Chambolle, An Algorithm for Total Variation Minimization and Applications, J. Math. Imaging Vision 20, 2004.
    """
    span = _span(image)
    if not span:
        return image
    given = image.astype(np.float32) / np.float32(span)
    field = np.zeros((image.ndim, *image.shape), np.float32)
    found, first, before = given, 0.0, 0.0
    for step in range(_MOST_STEPS):
        away = -_divergence(field) if step else np.zeros_like(given)
        found = given + away
        slopes = _gradient(found)
        size = np.sqrt((slopes**2).sum(axis=0))
        energy = (float((away**2).sum()) + share * float(size.sum())) / given.size
        # A step of 1 / (2 · axes) is stable.
        pace = 1 / (2 * image.ndim)
        field = (field - pace * slopes) / (1 + pace / share * size)
        if step == 0:
            first = energy
        elif abs(before - energy) < _ENOUGH * first:
            break
        before = energy
    return (found * np.float32(span)).astype(np.float32)


class Filterd(MapTransform):
    """The filters as a step of a chain of MONAI's transforms; written as cards write them: "median:3"."""

    def __init__(self, keys: KeysCollection, filters: Sequence[str], allow_missing_keys: bool = False) -> None:
        """See `filter_of`.

        Raises:
            ValueError: there is no such filter.
        """
        super().__init__(keys, allow_missing_keys)
        self.filters = tuple(filter_of(each) for each in filters)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Filter every key's (channel, …) array."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            given = changed[key]
            values = given.detach().cpu().numpy().astype(np.float32) if isinstance(given, torch.Tensor) else given
            done = torch.from_numpy(np.ascontiguousarray(filtered(values, self.filters)))
            changed[key], *_ = convert_to_dst_type(done, dst=given)
        return changed


def _span(image: Values) -> float:
    low, high = np.percentile(image, (1, 99))
    return float(high - low) or float(image.max() - image.min())


def _curves(bins: NDArray[np.intp], tiles: Sequence[int], sides: Sequence[int], limit: float) -> NDArray[np.float64]:
    """(tile, bin edge): the share of a tile's pixels below each value, its slope limited."""
    spread = [(0, count * side - long) for count, side, long in zip(tiles, sides, bins.shape, strict=True)]
    whole = np.pad(bins, spread, mode="symmetric")
    number = np.zeros(whole.shape, np.intp)
    for axis, (count, side) in enumerate(zip(tiles, sides, strict=True)):
        index = np.arange(count * side) // side
        number = number * count + index.reshape([-1 if each == axis else 1 for each in range(whole.ndim)])
    count = int(np.prod(tiles))
    heights = np.bincount((number * _BINS + whole).ravel(), minlength=count * _BINS).reshape(count, _BINS)
    shares = heights / heights.sum(axis=1, keepdims=True)
    cut = np.minimum(shares, limit / _BINS)
    cut += (1 - cut.sum(axis=1, keepdims=True)) / _BINS
    return np.concatenate([np.zeros((count, 1)), np.cumsum(cut, axis=1)], axis=1)


def _corners(
    shape: Sequence[int], tiles: Sequence[int], sides: Sequence[int]
) -> list[tuple[NDArray[np.intp], NDArray[np.float64]]]:
    """For each corner of the cell of tile middles around a pixel: the number of its tile, and its weight."""
    axes = []
    for axis, (long, count, side) in enumerate(zip(shape, tiles, sides, strict=True)):
        at = (np.arange(long) + 0.5) / side - 0.5
        first = np.floor(at).astype(np.intp)
        form = [-1 if each == axis else 1 for each in range(len(shape))]
        ends = [(first, 1 - (at - first)), (first + 1, at - first)]
        axes.append([(np.clip(tile, 0, count - 1).reshape(form), weight.reshape(form)) for tile, weight in ends])
    found = []
    for corner in product(*axes):
        number, weight = np.zeros([1] * len(shape), np.intp), np.ones([1] * len(shape))
        for (tile, share), count in zip(corner, tiles, strict=True):
            number, weight = number * count + tile, weight * share
        found.append((number, weight))
    return found


def _gradient(image: Values) -> Values:
    found = np.zeros((image.ndim, *image.shape), np.float32)
    for axis in range(image.ndim):
        where = (slice(None),) * axis + (slice(0, -1),)
        found[(axis, *where)] = np.diff(image, axis=axis)
    return found


def _divergence(field: Values) -> Values:
    found = field.sum(axis=0)
    for axis in range(field.shape[0]):
        after = (slice(None),) * axis + (slice(1, None),)
        before = (slice(None),) * axis + (slice(0, -1),)
        found[after] -= field[(axis, *before)]
    return np.asarray(found, np.float32)


_APPLIED: Mapping[Kind, Callable[[Values, float], Values]] = {
    Kind.CLAHE: clahe,
    Kind.GAUSSIAN: gaussian,
    Kind.MEDIAN: median,
    Kind.BILATERAL: bilateral,
    Kind.DENOISE: denoise,
}
