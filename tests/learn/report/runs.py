"""Runs that have come to their end, small, of networks that were never trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from node.domain.model_card import Task
from node.domain.preparation import Architecture, Preparation, Values
from node.imaging.formats import built
from node.learn import splitting
from node.learn.dataset.examination import examine
from node.learn.dataset.opened import Opened
from node.learn.dataset.sheet import sheet_text
from node.learn.evaluate.evaluating import Terms, evaluate
from node.learn.evaluate.evaluation import Evaluation
from node.learn.prediction import Prediction, SegmentFigures
from node.learn.recipe import Judging, Recipe, Splitting, Training
from node.learn.recipe_text import recipe_text
from node.learn.run import Run
from node.learn.split import split_text
from tests.learn.synthetic import class_folders, decathlon

SEEDS = (0, 1)
#: Of the bootstrap: fewer draws say the same of a page.
TERMS = Terms(replicates=40)
PICTURES = Architecture(
    name="Classifier", arguments={"in_shape": [1, 16, 16], "classes": 2, "channels": [4, 8], "strides": [2, 2]}
)
VOLUMES = Architecture(
    name="UNet",
    arguments={"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2]},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A run, and what it was made of."""

    run: Run
    recipe: Recipe
    dataset: Opened
    evaluation: Evaluation
    predictions: tuple[Prediction, ...] = ()


def classified(folder: Path) -> Done:
    """Two classes of pictures, two seeds; the networks know nothing, the predictions something."""
    source = class_folders(folder / "pictures")
    recipe = Recipe(
        name="spots",
        task=Task.CLASSIFICATION,
        classes=("benign", "malignant"),
        split=Splitting(shares=(0.5, 0.25, 0.25)),
        preparation=Preparation(size=(16, 16), values=Values.ZSCORE),
        network=PICTURES,
        training=Training(seeds=SEEDS, epochs=3),
        evaluation=Judging(positive="malignant"),
    )
    done = _run(folder, source, recipe, PICTURES)
    random = np.random.default_rng(3)
    said = []
    for seed in SEEDS:
        for place, case in enumerate(done.dataset.cases):
            assert case.label is not None
            logits = random.normal(0, 1, 2)
            logits[case.label] += 1.0
            said.append(
                Prediction(
                    key=case.key,
                    group=case.key,
                    part="validation" if place % 3 == 0 else "test",
                    seed=seed,
                    attributes={"sex": "FM"[place % 2], "age": f"{40 + place}", "site": "here"},
                    truth=case.label,
                    logits=tuple(float(each) for each in logits),
                )
            )
    return _judged(done, said)


def outlined(folder: Path) -> Done:
    """Two segments in volumes, one seed."""
    source = decathlon(folder / "volumes", 6)
    recipe = Recipe(
        name="blocks",
        task=Task.SEGMENTATION,
        classes=("anterior", "posterior"),
        split=Splitting(shares=(0.5, 0.25, 0.25)),
        preparation=Preparation(spacing_mm=(1.0, 1.0, 1.0), values=Values.ZSCORE, patch=(16, 16, 16)),
        network=VOLUMES,
        training=Training(seeds=SEEDS[:1], epochs=3),
    )
    done = _run(folder, source, recipe, VOLUMES)
    random = np.random.default_rng(5)
    said = []
    for case in done.dataset.cases:
        figures = {}
        for number in (1, 2):
            true = float(random.uniform(1, 3))
            dice = float(random.uniform(0.6, 0.95))
            figures[number] = SegmentFigures(
                dice=dice, hd95_mm=4 - 3 * dice, surface_dice=dice, volume_ml=true * dice, true_volume_ml=true
            )
        said.append(Prediction(key=case.key, group=case.key, part="test", segments=figures))
    return _judged(done, said)


def _run(folder: Path, source: Path, recipe: Recipe, architecture: Architecture) -> Done:
    found = examine(source, task=recipe.task, classes=recipe.classes, splitting=recipe.split)
    found.refuse()
    run = Run(folder=folder / "run")
    run.folder.mkdir()
    run.recipe.write_text(recipe_text(recipe), encoding="utf-8")
    split = splitting.make_split(found.survey, found.groups, recipe.split)
    run.split.write_text(split_text(split), encoding="utf-8")
    run.sheet.write_text(sheet_text(found.sheet), encoding="utf-8")
    for seed in recipe.training.seeds:
        member = run.member(seed, 0)
        member.folder.mkdir(parents=True)
        torch.manual_seed(seed)
        state = built(architecture).state_dict()
        save_file({key: each.contiguous() for key, each in state.items()}, member.weights)
        epochs = [
            {"epoch": epoch, "loss": 1 / epoch + seed / 10, "seconds": 2.0, "score": -1 / epoch} for epoch in (1, 2, 3)
        ]
        (member.folder / "history.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in epochs))
    return Done(run=run, recipe=recipe, dataset=found.dataset, evaluation=None)  # type: ignore[arg-type]


def _judged(done: Done, said: Sequence[Prediction]) -> Done:
    recipe = done.recipe
    evaluation = evaluate(said, recipe.evaluation, recipe.task, recipe.classes, terms=TERMS)
    return Done(run=done.run, recipe=recipe, dataset=done.dataset, evaluation=evaluation, predictions=tuple(said))
