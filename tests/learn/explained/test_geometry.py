"""A mask goes the way of its picture: what is drawn lies on what is seen, however the picture was prepared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from node.domain.preparation import Architecture, Crop, Fit, Preparation, Values
from node.learn import members
from node.learn.dataset import open_dataset
from node.learn.export import export
from node.learn.judgement import load_model
from node.learn.learners import Example
from node.learn.prediction import Prediction
from node.learn.reading import names_of
from node.learn.recipe import Recipe
from node.learn.report.asking import ModelLooker
from node.learn.report.looking import RunLooker
from node.learn.run import Run
from tests.learn import synthetic
from tests.learn.export import runs

WAYS = {
    "resized": Preparation(size=(16, 16), values=Values.NONE, fit=Fit.LINEAR),
    "averaged": Preparation(size=(16, 16), values=Values.NONE, fit=Fit.AREA),
    "cut and filled up": Preparation(size=(16, 16), values=Values.NONE, fit=Fit.CROP),
    "without margins": Preparation(size=(16, 16), values=Values.NONE, fit=Fit.LINEAR, crop=Crop.CONTENT),
}


def _pictures(root: Path) -> Path:
    """Bright lesions, off the middle and not square, on dark tissue with empty margins; each with its mask."""
    for label, name in enumerate(runs.CLASSES):
        for place in range(2):
            image = np.zeros((24, 32), np.uint8)
            image[2:22, 4:30] = 30 + place
            mask = np.zeros((24, 32), np.uint8)
            mask[5 : 11 + place, 12 + 2 * label : 22] = 255
            image[mask > 0] = 250
            synthetic.write_picture(root / name / f"{place}.png", image)
            synthetic.write_picture(root / name / f"{place}_mask.png", mask)
    return root


class Constant(torch.nn.Module):
    """Answers whatever it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 3, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layer(image).mean((2, 3))


def _same(region: np.ndarray, image: np.ndarray) -> float:
    """Overlap (Dice) of a region with what is bright."""
    bright = image > 0.5
    return 2 * float((region & bright).sum()) / float(region.sum() + bright.sum())


@pytest.mark.parametrize("way", WAYS)
def test_of_a_run_as_the_network_was_trained(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(_pictures(tmp_path / "set"))
    recipe = Recipe(task=dataset.task, classes=dataset.classes, preparation=WAYS[way], network=runs.PICTURES)
    monkeypatch.setattr(members, "network_of", lambda *_: Constant())
    looker = RunLooker(Run(folder=tmp_path), recipe, dataset)
    for case in dataset.cases:
        shown = looker.show(Prediction(key=case.key, group="", part="test", truth=case.label), 1)
        assert shown.region is not None
        assert shown.region.shape == shown.subject.spatial == (16, 16)
        assert _same(shown.region, shown.subject.inputs[0, 0].numpy()) > 0.85
        assert shown.subject.layer == "layer"


@pytest.mark.parametrize("way", WAYS)
def test_of_a_model_as_the_node_prepares_it(way: str, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    trained = runs.classified(tmp_path / "source")
    network = Architecture(
        name="Classifier", arguments={"in_shape": [1, 16, 16], "classes": 3, "channels": [4, 8], "strides": [2, 2]}
    )
    trained = replace(trained, recipe=replace(trained.recipe, preparation=WAYS[way], network=network))
    model = load_model(export(trained, tmp_path / "seen"), device="cpu")
    dataset = open_dataset(_pictures(tmp_path / "set"))
    looker = ModelLooker(model, dataset, names_of(model.card, dataset, runs.CLASSES), runs.CLASSES)
    for case in dataset.cases:
        shown = looker.show(Prediction(key=case.key, group="", part="test", truth=case.label), 1)
        assert shown.region is not None
        assert shown.region.shape == shown.subject.spatial == (16, 16)
        assert _same(shown.region, shown.subject.inputs[0, 0].numpy()) > 0.85


def test_no_network_is_given_a_mask_and_a_wrong_one_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(_pictures(tmp_path / "set"))
    recipe = Recipe(task=dataset.task, classes=dataset.classes, preparation=WAYS["resized"], network=runs.PICTURES)
    prepared: list[Example] = []
    original = members.prepared

    def noted(*given: object) -> dict[str, Example]:
        found = original(*given)  # type: ignore[arg-type]
        prepared.extend(found.values())
        return found

    monkeypatch.setattr(members, "prepared", noted)
    monkeypatch.setattr(members, "network_of", lambda *_: Constant())
    looker = RunLooker(Run(folder=tmp_path), recipe, dataset)
    first, second = dataset.cases[:2]
    synthetic.write_picture(tmp_path / "set" / second.masks[0], np.zeros((5, 5), np.uint8))
    assert looker.show(Prediction(key=first.key, group="", part="test"), 0).region is not None
    assert looker.show(Prediction(key=second.key, group="", part="test"), 0).region is None
    assert [each.prepared.labels is not None for each in prepared] == [True, False]
    assert all(len(each.prepared.image) == 1 for each in prepared)
    assert all(dataset.read(case).labels is None for case in dataset.cases)
