"""Cases as a network is given them: prepared by the very steps that the node takes before it reads a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.bundle.config_parser import ConfigParser
from numpy.typing import NDArray

from node.domain.colour import Colour
from node.domain.preparation import Preparation
from node.errors import Failed
from node.imaging import colours
from node.imaging.bundle import declared
from node.imaging.bundle.exact import from_image, from_volumes
from node.learn.boxes.laid import laid
from node.learn.case import Box, Pixels

_IMAGE, _LABELS = "image", "label"
#: Step → how labels go through it; a step that is not here changes values, and labels do not take it.
_OF_LABELS: Mapping[str, Mapping[str, Any]] = {
    "EnsureChannelFirstd": {},
    "Rotate90d": {},
    "Flipd": {},
    "Orientationd": {},
    "Spacingd": {"mode": "nearest"},
    "Resized": {"mode": "nearest-exact"},
    "ResizeWithPadOrCropd": {},
    declared.CROP: {},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One case as the network is given it."""

    #: (channel, …) float32.
    image: torch.Tensor
    #: (…) uint8, of a segmentation.
    labels: torch.Tensor | None = None
    #: Length of a voxel along each axis of the image, in mm; empty: a single image.
    spacing_mm: tuple[float, ...] = ()
    #: Of a detection: on the image, axes as it has them, 0 is the outer edge of the first pixel or voxel.
    boxes: tuple[Box, ...] = ()


def preparer(preparation: Preparation, *, images: bool, colour: Colour = Colour.GREY) -> Callable[[Pixels], Prepared]:
    """Return what prepares a case: a single image, shown from 0 to 1 (in colour 0 to 255), or a volume.

    The function that comes back raises `Failed` where a step cannot be taken, or leaves values that are not numbers.
    """
    # MONAI asks that its reading of the axes be named; none means those of the volume.
    steps = [
        {**step, "labels": None} if step["_target_"] == "Orientationd" else step
        for step in declared.preprocessing(preparation, images=images)
    ]
    plain = _resolved(steps)
    paired = _resolved([_with_labels(step) for step in steps])

    def prepare(pixels: Pixels) -> Prepared:
        loaded = _loaded(pixels, preparation, colour)
        given: dict[str, Any] = {_IMAGE: loaded}
        if pixels.labels is not None:
            given[_LABELS] = _labels(pixels)
        try:
            done = (plain if pixels.labels is None else paired)(given)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            line = next(iter(str(error).splitlines()), type(error).__name__)
            raise Failed(f"cannot be prepared: {line[:200]}") from error
        image = done[_IMAGE].as_tensor().float().contiguous()
        if not bool(torch.isfinite(image).all()):
            raise Failed("holds values that are not numbers once it is prepared")
        labels = done[_LABELS].as_tensor()[0].round().to(torch.uint8).contiguous() if _LABELS in done else None
        boxes = laid(pixels.boxes, loaded, done[_IMAGE]) if pixels.boxes else ()
        spacing_mm = () if images else _spacing_mm(done[_IMAGE].affine)
        return Prepared(image=image, labels=labels, spacing_mm=spacing_mm, boxes=boxes)

    return prepare


def shown(image: NDArray[Any], colour: Colour) -> NDArray[Any]:
    """Return a picture as the node shows a DICOM image to a network: grey (row, column) float32 from 0 to 1, or RGB.

    Sixteen bits are taken whole; real numbers from their least to their greatest.
    """
    if image.ndim == 3 or colour is Colour.RGB:
        eight = image if image.dtype == np.uint8 else (_level(image) * 255).round().astype(np.uint8)
        if colour is Colour.RGB:
            return eight if eight.ndim == 3 else np.repeat(eight[..., None], 3, axis=-1)
        image = colours.brightness(eight).astype(np.uint8)
    return _level(image)


def _level(values: NDArray[Any]) -> NDArray[np.float32]:
    """From 0 to 1."""
    if values.dtype.kind in "iu":
        return values.astype(np.float32) / np.float32(np.iinfo(values.dtype).max)
    low, high = float(values.min()), float(values.max())
    return ((values - low) / ((high - low) or 1.0)).astype(np.float32)


def _spacing_mm(affine: torch.Tensor) -> tuple[float, ...]:
    return tuple(round(float(each), 6) for each in torch.linalg.norm(affine[:3, :3].double(), dim=0))


def _loaded(pixels: Pixels, preparation: Preparation, colour: Colour) -> Any:
    if pixels.volume is not None:
        return from_volumes([pixels.volume.array], pixels.volume.grid)
    assert pixels.image is not None
    array = shown(pixels.image, colour)
    if array.ndim == 2 and preparation.channels == 3:
        array = np.repeat(array[..., None], 3, axis=-1)
    return from_image(array)


def _labels(pixels: Pixels) -> Any:
    assert pixels.labels is not None
    if pixels.volume is not None:
        return from_volumes([pixels.labels], pixels.volume.grid)
    return from_image(pixels.labels)


def _with_labels(step: dict[str, Any]) -> dict[str, Any]:
    name = str(step["_target_"])
    if name not in _OF_LABELS:
        return step
    paired = {**step, "keys": [_IMAGE, _LABELS]}
    return paired | {key: [step.get(key), value] for key, value in _OF_LABELS[name].items()}


def _resolved(steps: list[dict[str, Any]]) -> Callable[[Any], Any]:
    content = {"steps": {"_target_": "Compose", "transforms": steps}}
    made: Callable[[Any], Any] = ConfigParser(content).get_parsed_content("steps")
    return made
