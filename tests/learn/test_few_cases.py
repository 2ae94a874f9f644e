"""Data sets of a handful of cases: trained, judged and told, or refused before anything is trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from node.learn import training
from node.learn.recipe import Splitting
from node.learn.run import Run
from tests.learn import synthetic
from tests.learn.toys import HERE, classifying, trained_for

RECIPE = trained_for(classifying(), epochs=2, patience=1, batch=4)


@pytest.mark.parametrize(
    ("each", "splitting", "parts", "told"),
    [
        (3, Splitting(near_duplicate=1.0), [(4, 1, 1)], False),
        (6, Splitting(near_duplicate=1.0), [(8, 2, 2)], False),
        (2, Splitting(folds=2, near_duplicate=1.0), [(2, 0, 2), (2, 0, 2)], True),
    ],
)
def test_they_are_trained_and_judged_and_what_nothing_validates_is_told(
    tmp_path: Path, each: int, splitting: Splitting, parts: list[tuple[int, int, int]], told: bool
) -> None:
    torch.set_num_threads(1)
    dataset = synthetic.class_folders(tmp_path / "set", {"benign": each, "malignant": each})
    heard: list[str] = []
    ears = training.Ears(say=lambda text: heard.append(str(text)))
    recipe = dataclasses.replace(RECIPE, split=splitting)
    wish = training.Wish(recipe=recipe, beside=tmp_path, dataset=dataset, run=Run(folder=tmp_path / "run"))
    ready = training.prepare(wish, ears)
    assert [(len(fold.train), len(fold.validation), len(fold.test)) for fold in ready.split.folds] == parts
    assert any("no case validates the training of fold 1, 2: early stopping is off" in line for line in heard) == told
    assert ("no validation part in 2 of 2" in ready.split.method) == told
    evaluation = training.train(ready, HERE, ears)
    assert evaluation.cases == sum(test for _, _, test in parts)
