"""What stands before the first epoch, of a data set that is nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch

from node.domain.model_card import Task
from node.domain.preparation import Architecture, Preparation
from node.learn import beginning, ways
from node.learn.case import Case
from node.learn.learners import Example
from node.learn.place import Place
from node.learn.preparing import Prepared
from node.learn.recipe import Augmentation, Recipe, Training
from node.learn.run import Run
from node.learn.split import Fold, Split
from node.learn.training import Ready

HERE = Place(device=torch.device("cpu"))
KEYS = tuple(f"case-{number:02}" for number in range(40))
RECIPE = Recipe(
    name="fake",
    task=Task.CLASSIFICATION,
    classes=("no", "yes"),
    preparation=Preparation(size=(8, 8)),
    network=Architecture(name="resnet10", arguments={"spatial_dims": 2, "num_classes": 2, "n_input_channels": 1}),
    augmentation=Augmentation(rotate_deg=10.0, zoom=(0.9, 1.2)),
    training=Training(epochs=4, learning_rate=0.1, batch=4),
)
SPLIT = Split(
    method="by hand", dataset_digest="0", folds=(Fold(train=KEYS[:10], validation=KEYS[10:30], test=KEYS[30:]),)
)


def ready(folder: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch, asked: list[set[str]] | None = None) -> Ready:
    """A run in `folder`; `asked` is told which cases are prepared."""

    def prepared(_: Any, __: Recipe, split: Split) -> dict[str, Example]:
        keys = {key for fold in split.folds for part in (fold.train, fold.validation, fold.test) for key in part}
        if asked is not None:
            asked.append(keys)
        image = torch.zeros(1, 8, 8)
        return {
            key: Example(case=Case(key=key, label=KEYS.index(key) % 2), group=key, prepared=Prepared(image=image))
            for key in keys
        }

    monkeypatch.setattr(ways, "prepared", prepared)
    monkeypatch.setattr(beginning, "sheet_text", lambda _: "{}")
    return Ready(
        dataset=cast("Any", None),
        recipe=recipe,
        split=SPLIT,
        sheet=cast("Any", None),
        run=Run(folder=folder),
        beside=folder,
    )


def logits(label: int, quality: float, seed: int) -> tuple[float, float]:
    """An answer that is right by and large."""
    push = quality + float(np.random.default_rng(seed).normal())
    return (-push, push) if label else (push, -push)
