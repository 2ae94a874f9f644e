"""Trainings that take a second: tiny images, tiny networks, and what stands before their first epoch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from node.domain.model_card import Task
from node.domain.preparation import Architecture, Preparation, Values
from node.learn import training
from node.learn.case import Case
from node.learn.learners import Example, Material
from node.learn.place import Place
from node.learn.preparing import Prepared
from node.learn.recipe import Augmentation, Precision, Recipe, Splitting, Training
from node.learn.run import Run

HERE = Place(device=torch.device("cpu"))
TINY: dict[str, Any] = {
    "block": "basic",
    "layers": [1, 1, 1, 1],
    "block_inplanes": [4, 8, 8, 8],
    "conv1_t_size": 3,
    "conv1_t_stride": 1,
    "no_max_pool": True,
    "spatial_dims": 2,
    "n_input_channels": 1,
    "num_classes": 2,
}
#: Two blocks of bright voxels, 1 and 2, are learnt by it.
SMALL_UNET: dict[str, Any] = {
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "channels": [4, 8],
    "strides": [2],
    "num_res_units": 0,
    "norm": "batch",
}
STILL = Augmentation()


def classifying(**more: Any) -> Recipe:
    """A recipe for pictures of 24 × 24 in two classes."""
    found = Recipe(
        name="toy",
        task=Task.CLASSIFICATION,
        split=Splitting(shares=(0.6, 0.2, 0.2), near_duplicate=1.0),
        preparation=Preparation(size=(12, 12), values=Values.ZSCORE),
        network=Architecture(name="ResNet", arguments=TINY),
        augmentation=STILL,
        training=Training(epochs=2, batch=8, learning_rate=0.01, precision=Precision.SINGLE),
    )
    return dataclasses.replace(found, **more)


def trained_for(recipe: Recipe, **more: Any) -> Recipe:
    """The same with other keys of `[training]`."""
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **more))


def stands(dataset: Path, run: Path, recipe: Recipe, split: Path | None = None) -> training.Ready:
    """What stands before the first epoch."""
    wish = training.Wish(recipe=recipe, beside=dataset.parent, dataset=dataset, run=Run(folder=run), split=split)
    return training.prepare(wish, training.Ears())


def pictures(count: int, classes: int = 2, size: tuple[int, ...] = (12, 12), seed: int = 0) -> tuple[Example, ...]:
    """Noise, with a square of the first half of each side that is as bright as its class says."""
    random = np.random.default_rng(seed)
    found = []
    for place in range(count):
        image = torch.from_numpy(random.standard_normal((1, *size), dtype=np.float32)) * 0.3
        label = place % classes
        image[(slice(None), *(slice(0, side // 2) for side in size))] += 2.0 * label
        case = Case(key=f"case-{place:03}", label=label)
        found.append(Example(case=case, group=case.key, prepared=Prepared(image=image)))
    return tuple(found)


def blobs(count: int, size: tuple[int, int, int] = (14, 12, 10), seed: int = 0) -> tuple[Example, ...]:
    """Noise with a brighter and a brightest block, labels 1 and 2."""
    random = np.random.default_rng(seed)
    found = []
    for place in range(count):
        labels = torch.zeros(size, dtype=torch.uint8)
        low = [int(random.integers(0, side // 3)) for side in size]
        labels[tuple(slice(start, start + side // 3) for start, side in zip(low, size, strict=True))] = 1
        labels[
            tuple(slice(start + side // 3, start + 2 * side // 3) for start, side in zip(low, size, strict=True))
        ] = 2
        noise = torch.from_numpy(random.standard_normal((1, *size), dtype=np.float32)) * 0.2
        prepared = Prepared(image=noise + 1.5 * labels[None], labels=labels, spacing_mm=(1.0, 1.0, 2.0))
        case = Case(key=f"case-{place:03}")
        found.append(Example(case=case, group=case.key, prepared=prepared, spacing_mm=(1.0, 1.0, 2.0)))
    return tuple(found)


def material(recipe: Recipe, train: tuple[Example, ...], validation: tuple[Example, ...] = (), beside: Path = Path()):
    """What one training has."""
    return Material(recipe=recipe, classes=recipe.classes, train=train, validation=validation, beside=beside)
