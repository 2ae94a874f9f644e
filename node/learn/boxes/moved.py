"""Training images of a detector, changed at random, and their boxes with them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from node.learn.augmenting import lattice_of, valued
from node.learn.recipe import Augmentation

#: Share of a box that has to be left where an image ends for it to count.
LEFT = 0.4
#: Share of the windows that are cut around a box.
_AROUND_BOXES = 0.75


def changed(
    image: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor, by: Augmentation, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a changed image and its boxes, fitted anew, with their labels.

    A box that is turned becomes the upright box around the ellipse within it: lesions are round, and have no corners.

    Args:
        image: (channel, …) float32.
        boxes: (n, 2·axes) float32, all low edges, then all high ones; 0 is the outer edge of the first voxel.
        labels: (n,).
        by: how far.
        random: where from.
    """
    size = image.shape[1:]
    lattice = lattice_of(size, by, random)
    if lattice is not None:
        there = functional.affine_grid(lattice[None], [1, 1, *size], align_corners=False)
        image = functional.grid_sample(image[None], there, padding_mode="border", align_corners=False)[0]
        boxes = _moved(boxes, lattice, size)
    axes = len(size)
    for axis in by.flip:
        if random.random() < 0.5:
            image = image.flip(axis + 1)
            boxes = boxes.clone()
            boxes[:, [axis, axis + axes]] = size[axis] - boxes[:, [axis + axes, axis]]
    boxes, labels = within(boxes, labels, size)
    return valued(image, by, random), boxes, labels


def window(
    image: torch.Tensor, boxes: torch.Tensor, labels: torch.Tensor, size: Sequence[int], random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Cut a window of `size` out of an image, mostly where a box is; what is smaller is filled up with 0 at its end."""
    pads = [short for side, wide in zip(image.shape[1:], size, strict=True) for short in (max(0, wide - side), 0)]
    image = functional.pad(image, pads[::-1])
    center = None
    if len(boxes) and random.random() < _AROUND_BOXES:
        low, high = boxes[int(random.integers(len(boxes)))].chunk(2)
        center = ((low + high) / 2).tolist()
    first = []
    for axis, (side, wide) in enumerate(zip(image.shape[1:], size, strict=True)):
        start = random.integers(0, side - wide + 1)
        if center is not None:
            start = np.clip(center[axis] - wide * random.uniform(0.25, 0.75), 0, side - wide)
        first.append(int(start))
    places = tuple(slice(start, start + wide) for start, wide in zip(first, size, strict=True))
    shifted = boxes - torch.tensor([*first, *first], dtype=boxes.dtype)
    return (image[(slice(None), *places)], *within(shifted, labels, size))


def within(boxes: torch.Tensor, labels: torch.Tensor, size: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the boxes cut at the borders of an image, without those of which too little is left."""
    low, high = boxes.chunk(2, dim=1)
    most = torch.tensor([float(side) for side in size])
    inner = torch.cat([low.clamp_min(0).minimum(most), high.clamp_min(0).minimum(most)], dim=1)
    before = (high - low).prod(dim=1)
    after = (inner[:, len(size) :] - inner[:, : len(size)]).prod(dim=1)
    stays = after > LEFT * before
    return inner[stays], labels[stays]


def _moved(boxes: torch.Tensor, lattice: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Boxes on the image that is sampled at `lattice`, which leads from places of the new image to those of the old."""
    # A lattice names the last axis first, and each runs from -1 to 1.
    half = torch.tensor([float(side) for side in reversed(size)]) / 2
    low, high = (each.flip(1) for each in boxes.chunk(2, dim=1))
    back = torch.linalg.inv(lattice[:, :-1])
    middle = ((low + high) / 2 / half - 1 - lattice[:, -1]) @ back.T
    turn = half[:, None] * back / half[None, :]
    reach = ((turn[None] * ((high - low) / 2)[:, None, :]) ** 2).sum(dim=2).sqrt()
    middle = (middle + 1) * half
    return torch.cat([(middle - reach).flip(1), (middle + reach).flip(1)], dim=1)
