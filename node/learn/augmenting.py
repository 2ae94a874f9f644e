"""Training images, changed at random: turned, moved, zoomed, mirrored, brighter, noisier; labels go along.

Works on (channel, …) in two and three dimensions. Every number is drawn from the generator that is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from node.learn.recipe import Augmentation

Image = torch.Tensor
#: Share of the images that noise, blur and blots are put on.
_SOMETIMES = 0.3


def changed(
    image: Image, labels: torch.Tensor | None, by: Augmentation, random: np.random.Generator
) -> tuple[Image, torch.Tensor | None]:
    """Return a changed image, and its labels laid on it again.

    image: (channel, …) float32; labels: (…) uint8.
    """
    image, labels = _moved(image, labels, by, random)
    for axis in by.flip:
        if random.random() < 0.5:
            image = image.flip(axis + 1)
            labels = labels.flip(axis) if labels is not None else None
    return valued(image, by, random), labels


def standardised(image: Image) -> Image:
    """Bring each channel back to mean 0 and deviation 1, as the node will always give it."""
    axes = tuple(range(1, image.ndim))
    return (image - image.mean(axes, keepdim=True)) / image.std(axes, correction=0, keepdim=True).clamp_min(1e-6)


def mixed(
    images: torch.Tensor, truths: torch.Tensor, mix: float, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mix each image of a batch with another one, and their truths (batch, class) in the same shares.

    Zhang et al., mixup, ICLR 2018.
    """
    if not mix:
        return images, truths
    share = float(random.beta(mix, mix))
    order = torch.from_numpy(random.permutation(len(images)))
    return share * images + (1 - share) * images[order], share * truths + (1 - share) * truths[order]


def lattice_of(size: Sequence[int], by: Augmentation, random: np.random.Generator) -> torch.Tensor | None:
    """Draw a turn, zoom and shift: (axis, axis + 1), from places of the new image to those of the old.

    Places run from -1 to 1 along each side, the last axis comes first, as `torch.nn.functional.affine_grid` has it.
    """
    low, high = by.zoom
    if not (by.rotate_deg or by.translate or by.aspect) and low == high == 1:
        return None
    zooms = np.exp(random.uniform(math.log(low), math.log(high)) + random.uniform(-by.aspect, by.aspect, len(size)))
    matrix = _turn(len(size), by.rotate_deg, random) / torch.from_numpy(zooms).float()
    shift = torch.from_numpy(random.uniform(-2 * by.translate, 2 * by.translate, len(size))).float()
    # Lattice coordinates run from -1 to 1 along each side: a turn has to know how long the sides are.
    sides = torch.tensor([float(each) for each in reversed(size)])
    return torch.cat([matrix * sides[None, :] / sides[:, None], shift[:, None]], dim=1)


def _moved(
    image: Image, labels: torch.Tensor | None, by: Augmentation, random: np.random.Generator
) -> tuple[Image, torch.Tensor | None]:
    """Turn, zoom and move, in one interpolation; what comes in from outside repeats the edge."""
    theta = lattice_of(image.shape[1:], by, random)
    if theta is None:
        return image, labels
    size = image.shape[1:]
    lattice = functional.affine_grid(theta[None], [1, 1, *size], align_corners=False)
    moved = functional.grid_sample(image[None], lattice, padding_mode="border", align_corners=False)[0]
    if labels is None:
        return moved, None
    there = functional.grid_sample(
        labels[None, None].float(), lattice, mode="nearest", padding_mode="zeros", align_corners=False
    )
    return moved, there[0, 0].round().to(torch.uint8)


def _turn(axes: int, most_deg: float, random: np.random.Generator) -> torch.Tensor:
    """A rotation matrix, by an angle in each plane."""
    matrix = torch.eye(axes)
    planes = [(0, 1)] if axes == 2 else [(0, 1), (0, 2), (1, 2)]
    for first, second in planes:
        angle = math.radians(random.uniform(-most_deg, most_deg))
        plane = torch.eye(axes)
        plane[first, first] = plane[second, second] = math.cos(angle)
        plane[first, second], plane[second, first] = -math.sin(angle), math.sin(angle)
        matrix = matrix @ plane
    return matrix


def valued(image: Image, by: Augmentation, random: np.random.Generator) -> Image:
    """Brightness, contrast, gamma, shading, coarseness, blur, noise and blots."""
    if by.contrast:
        mean = image.mean()
        image = (image - mean) * random.uniform(1 - by.contrast, 1 + by.contrast) + mean
    if by.brightness:
        image = image + random.uniform(-by.brightness, by.brightness)
    if by.gamma:
        low, high = image.min(), image.max()
        power = math.exp(random.uniform(-1, 1) * math.log1p(by.gamma))
        image = ((image - low) / (high - low).clamp_min(1e-6)).pow(power) * (high - low) + low
    if by.bias and random.random() < _SOMETIMES:
        image = _shaded(image, by.bias, random)
    if by.coarsen > 1 and random.random() < _SOMETIMES:
        image = _coarsened(image, random.uniform(1, by.coarsen), random)
    if by.blur and random.random() < _SOMETIMES:
        image = _blurred(image, random.uniform(0.1, max(0.1, by.blur)))
    if by.noise and random.random() < _SOMETIMES:
        noise = random.standard_normal(tuple(image.shape), dtype=np.float32)
        image = image + torch.from_numpy(noise) * random.uniform(0, by.noise)
    if by.erase and random.random() < _SOMETIMES:
        image = _blotted(image, by.erase, random)
    return image


def _blurred(image: Image, sigma: float) -> Image:
    """A Gaussian blur, one axis after the other."""
    reach = max(1, round(3 * sigma))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float32)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    for axis in range(1, image.ndim):
        turned = image.movedim(axis, -1)
        flat = functional.pad(turned.reshape(1, -1, turned.shape[-1]), (reach, reach), mode="replicate")
        rows = functional.conv1d(flat.transpose(0, 1), weights[None, None]).reshape(turned.shape)
        image = rows.movedim(-1, axis)
    return image


def _shaded(image: Image, deviation: float, random: np.random.Generator) -> Image:
    """Multiply by a smooth field, above the darkest value."""
    axes = image.ndim - 1
    drawn = torch.from_numpy(random.standard_normal((1, 1, *(3,) * axes), dtype=np.float32)) * deviation
    mode = "trilinear" if axes == 3 else "bilinear"
    low = image.min()
    return (image - low) * functional.interpolate(drawn, image.shape[1:], mode=mode, align_corners=True)[0].exp() + low


def _coarsened(image: Image, factor: float, random: np.random.Generator) -> Image:
    """Make it coarser along one axis or all, and interpolate it back."""
    axes = image.ndim - 1
    which = int(random.integers(axes + 1))
    size = [
        max(4, round(side / factor)) if which in (axis, axes) else side for axis, side in enumerate(image.shape[1:])
    ]
    mode = "trilinear" if axes == 3 else "bilinear"
    coarse = functional.interpolate(image[None], size, mode=mode, align_corners=False)
    return functional.interpolate(coarse, image.shape[1:], mode=mode, align_corners=False)[0]


def _blotted(image: Image, most: float, random: np.random.Generator) -> Image:
    """Blot out a box with the image's mean."""
    share = random.uniform(0.02, max(0.02, most)) ** (1 / (image.ndim - 1))
    box = [slice(None)]
    for side in image.shape[1:]:
        long = max(1, round(share * side))
        first = int(random.integers(0, side - long + 1))
        box.append(slice(first, first + long))
    image = image.clone()
    image[tuple(box)] = image.mean()
    return image
