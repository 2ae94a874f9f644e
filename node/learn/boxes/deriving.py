"""What a recipe for a detector leaves out, from the boxes and sizes of the data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from node.domain.preparation import Architecture, Preparation, Values
from node.errors import Misconfigured
from node.learn.boxes.anchors import anchors_of
from node.learn.case import Dataset, Pixels
from node.learn.configuring import AIR, geometry_of, windows
from node.learn.dataset.sheet import Sheet
from node.learn.preparing import preparer
from node.learn.recipe import Augmentation, Recipe

NETWORK = "node.imaging.networks.retinanet.Retina"
#: Cases that anchors are made from, evenly taken.
_CASES = 200
#: Longest side of an image that is not made smaller.
_IMAGE = 512
#: Sides of windows are multiples of it.
_DIVISIBLE = 16


def derived(recipe: Recipe, dataset: Dataset, sheet: Sheet) -> Recipe:
    """Fill in preparation, network with its anchors, and augmentation.

    Raises:
        Misconfigured: no case has a box, or mirrored views are asked for.
    """
    for key in ("flips", "views"):
        if getattr(recipe.evaluation, key):
            problem = "boxes of several views are not put together"
            raise Misconfigured("recipe.toml", f"evaluation.{key}", problem, "Leave it out")
    augmentation = recipe.augmentation or Augmentation(
        rotate_deg=10, translate=0.05, zoom=(0.85, 1.2), contrast=0.2, brightness=0.1
    )
    if recipe.preparation is not None and recipe.network is not None:
        return dataclasses.replace(recipe, augmentation=augmentation)
    step = -(-len(dataset.cases) // _CASES)
    seen = [dataset.read(case) for case in dataset.cases[::step]]
    preparation = recipe.preparation or _preparation(seen, dataset, sheet)
    network = recipe.network or _network(recipe, preparation, seen, dataset)
    return dataclasses.replace(recipe, preparation=preparation, network=network, augmentation=augmentation)


def _preparation(seen: Sequence[Pixels], dataset: Dataset, sheet: Sheet) -> Preparation:
    """Images as large as they are, up to a limit; volumes at their median spacing, in windows."""
    if seen[0].volume is None:
        side = [each.median for each in sheet.size[-2:]]
        largest = max(each.greatest for each in sheet.size[-2:])
        shrunk = min(1.0, _IMAGE / max(side))
        size = tuple(round(each * shrunk) for each in side) if sheet.sizes > 1 or largest > _IMAGE else ()
        return Preparation(values=Values.ZSCORE, size=size)
    geometry = geometry_of(dataset)
    patch = windows(geometry, [(_DIVISIBLE,) * 3])
    every = sheet.intensities[0].percentiles
    if every["0.5"] > AIR:
        return Preparation(values=Values.ZSCORE, spacing_mm=geometry.spacing_mm, patch=patch)
    # Lesions are not outlined: nothing says in which Hounsfield units they lie.
    window = (every["0.5"], every["99.5"])
    return Preparation(values=Values.WINDOW, window=window, spacing_mm=geometry.spacing_mm, patch=patch)


def _network(recipe: Recipe, preparation: Preparation, seen: Sequence[Pixels], dataset: Dataset) -> Architecture:
    images = seen[0].volume is None
    prepare = preparer(preparation, images=images, colour=recipe.colour)
    boxes = [box.edges for each in seen if each.boxes for box in prepare(each).boxes]
    if not boxes:
        problem = "no case that was looked at has a box"
        raise Misconfigured(dataset.source, "", problem, "Say where the boxes are: see the layouts of data sets")
    edges = np.array(boxes, np.float64)
    anchors = anchors_of(edges[:, :, 1] - edges[:, :, 0])
    arguments: dict[str, Any] = {
        "spatial_dims": 2 if images else 3,
        "n_input_channels": preparation.channels,
        "num_classes": len(dataset.classes),
        "anchors": [list(shape) for shape in anchors.shapes],
        "scales": list(anchors.scales),
        "stride": anchors.stride,
    }
    return Architecture(name=NETWORK, arguments=arguments)
