"""From a detector's boxes on what it was given to boxes on what the scanner made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from numpy.typing import NDArray

from node.errors import Failed
from node.imaging.pipelines import Box


def boxes_of(found: Any, given: MetaTensor, source: MetaTensor, *, image: int = 0) -> list[Box]:
    """Return what MONAI's detector found in one volume or image, in index units of the source.

    found: dicts with `box` (n, 2·axes: all low corners, then all high ones), `label` and `label_scores`, one a batch.
    The corners go through the affine of what the network was given, as MONAI's own world coordinates do (index 0 is the
    middle of the first voxel); what is returned has 0 at its outer edge. Parts outside the image are cut off.

    Raises:
        Failed: the detector gave no boxes in that form, or numbers that are none.
    """
    if not (isinstance(found, Sequence) and len(found) == 1 and isinstance(found[0], Mapping)):
        raise Failed("the detector gave no list of boxes")
    parts = [found[0].get(key) for key in ("box", "label", "label_scores")]
    tensors = [part.detach().cpu().numpy() for part in parts if isinstance(part, torch.Tensor)]
    if len(tensors) < len(parts):
        raise Failed(f"the detector gave {', '.join(map(str, found[0]))}, not box, label and label_scores")
    corners, labels, scores = (np.asarray(each, dtype=np.float64) for each in tensors)
    shape = tuple(int(length) for length in source.meta["spatial_shape"])
    axes = len(shape)
    if corners.size and corners.shape[1:] != (2 * axes,):
        raise Failed(f"the detector gave boxes of {corners.shape[1:]} numbers for {axes} axes")
    if not (np.isfinite(corners).all() and np.isfinite(scores).all()):
        raise Failed("the detector gave values that are not numbers (NaN or infinite)")
    to_source = np.linalg.inv(_square(source, axes)) @ _square(given, axes)
    boxes = []
    for corner, label, score in zip(corners.reshape(-1, 2 * axes), labels.ravel(), scores.ravel(), strict=True):
        edges = _edges(corner[:axes], corner[axes:], to_source, shape)
        if all(low < high for low, high in edges):
            boxes.append(Box(target=int(label), score=float(score), edges=edges, image=image))
    return boxes


def _edges(
    low: NDArray[np.float64], high: NDArray[np.float64], to_source: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[tuple[float, float], ...]:
    """The smallest upright box of the source around a box; axes in our order, the reverse of MONAI's."""
    axes = len(shape)
    corners = np.array(list(product(*zip(low, high, strict=True))))
    placed = corners @ to_source[:axes, :axes].T + to_source[:axes, axes] + 0.5
    ranges = zip(placed.min(axis=0), placed.max(axis=0), shape, strict=True)
    clipped = [(float(np.clip(start, 0, size)), float(np.clip(stop, 0, size))) for start, stop, size in ranges]
    return tuple(reversed(clipped))


def _square(image: MetaTensor, axes: int) -> NDArray[np.float64]:
    """The affine for this many axes; of a batch that of its first image."""
    affine = np.asarray(image.affine.cpu().numpy(), dtype=np.float64)
    affine = affine[0] if affine.ndim > 2 else affine
    square = np.eye(axes + 1)
    square[:axes, :axes], square[:axes, axes] = affine[:axes, :axes], affine[:axes, -1]
    return square
