"""Weights that a training begins from: taken where they fit, refused where they are another's, let go by stages."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from node.domain.preparation import Architecture
from node.errors import Misconfigured
from node.imaging.formats import built
from node.learn import checkpoint
from node.learn.fitting import Epoch, fit
from node.learn.learners.classification import Classifier
from node.learn.recipe import Recipe, Start
from node.learn.starting import begin_from, let_go, paces, stages_of
from tests.learn.toys import HERE, TINY, classifying, material, pictures, trained_for

START = Start(weights="file:begin.safetensors")


@pytest.fixture(autouse=True)
def _alone() -> None:
    torch.set_num_threads(1)


def tiny(**more: Any) -> nn.Module:
    return built(Architecture(name="ResNet", arguments=TINY | more))


def written(folder: Path, network: nn.Module, rename: Any = lambda name: name) -> dict[str, torch.Tensor]:
    torch.manual_seed(3)
    for each in network.parameters():
        nn.init.normal_(each, 0, 0.1)
    weights = {rename(name): each.clone() for name, each in network.state_dict().items()}
    save_file(weights, folder / "begin.safetensors")
    return weights


def test_all_but_the_last_layer_is_taken_where_the_classes_are_others(tmp_path: Path) -> None:
    weights = written(tmp_path, tiny(num_classes=5))
    network = tiny()
    assert begin_from(network, START, tmp_path) == ("fc.weight", "fc.bias")
    own = network.state_dict()
    assert all(torch.equal(own[name], each) for name, each in weights.items() if not name.startswith("fc."))


def test_a_last_layer_that_fits_is_kept_and_one_that_does_not_begins_small(tmp_path: Path) -> None:
    recipe = dataclasses.replace(classifying(start=START), classes=("dark", "bright"))
    weights = written(tmp_path, tiny())
    learner = Classifier(material(recipe, pictures(4), beside=tmp_path), 0)
    assert torch.equal(learner.network.state_dict()["fc.weight"], weights["fc.weight"])
    written(tmp_path, tiny(num_classes=9))
    fresh = Classifier(material(recipe, pictures(4), beside=tmp_path), 0).network.state_dict()
    assert float(fresh["fc.weight"].abs().max()) < 0.05
    assert not fresh["fc.bias"].any()


def test_a_resnet_50_as_torchvision_names_its_layers_fits_that_of_monai(tmp_path: Path) -> None:
    """No torchvision here: its names, from its documented layout, and shapes in grey would not fit three channels."""
    arguments = {"spatial_dims": 2, "n_input_channels": 3, "num_classes": 2}
    network = built(Architecture(name="resnet50", arguments=arguments))
    blocks, planes = (3, 4, 6, 3), (64, 128, 256, 512)
    names = {"conv1.weight": (64, 3, 7, 7), "fc.weight": (1000, 2048), "fc.bias": (1000,)}
    norms = {"bn1": 64}
    given = 64
    for stage, (count, plane) in enumerate(zip(blocks, planes, strict=True), 1):
        for block in range(count):
            place = f"layer{stage}.{block}"
            names |= {
                f"{place}.conv1.weight": (plane, given, 1, 1),
                f"{place}.conv2.weight": (plane, plane, 3, 3),
                f"{place}.conv3.weight": (plane * 4, plane, 1, 1),
            }
            norms |= {f"{place}.bn1": plane, f"{place}.bn2": plane, f"{place}.bn3": plane * 4}
            if block == 0:
                names[f"{place}.downsample.0.weight"] = (plane * 4, given, 1, 1)
                norms[f"{place}.downsample.1"] = plane * 4
            given = plane * 4
    weights = {name: torch.zeros(size) for name, size in names.items()}
    for name, size in norms.items():
        for part in ("weight", "bias", "running_mean", "running_var"):
            weights[f"{name}.{part}"] = torch.zeros(size)
        weights[f"{name}.num_batches_tracked"] = torch.tensor(7)
    torch.save(weights, tmp_path / "resnet50.pth")
    fresh = begin_from(network, Start(weights="file:resnet50.pth"), tmp_path)
    # MONAI's shortcuts have biases that torchvision's have not: nothing is added by them.
    assert set(fresh) == {"fc.weight", "fc.bias", *(f"layer{stage}.0.downsample.0.bias" for stage in range(1, 5))}
    assert not network.state_dict()["layer2.0.downsample.0.bias"].any()
    grey = built(Architecture(name="resnet50", arguments=arguments | {"n_input_channels": 1}))
    with pytest.raises(Misconfigured, match=r"conv1.weight of resnet50.pth is \(64, 3, 7, 7\).*channels = 3"):
        begin_from(grey, Start(weights="file:resnet50.pth"), tmp_path)


def test_weights_of_another_network_or_none_are_refused_by_name(tmp_path: Path) -> None:
    written(tmp_path, tiny(), rename=lambda name: f"other.{name}")
    with pytest.raises(Misconfigured, match=r"start.weights: begin.safetensors fits 0% of the network"):
        begin_from(tiny(), START, tmp_path)
    (tmp_path / "begin.safetensors").write_bytes(b"no weights")
    with pytest.raises(Misconfigured, match=r"start.weights: begin.safetensors cannot be read"):
        begin_from(tiny(), START, tmp_path)
    (tmp_path / "begin.safetensors").unlink()
    with pytest.raises(Misconfigured, match=r"start.weights"):
        begin_from(tiny(), START, tmp_path)


def test_stages_learn_the_more_slowly_the_farther_they_are_from_the_answer() -> None:
    network = tiny()
    found = paces(network, dataclasses.replace(START, decay=0.5, last=4.0, frozen_stages=2))
    stages = stages_of(network)
    assert [scale for _, scale in found] == [4.0, 1.0, 0.5, 0.25, 0.125]
    assert [len(parameters) for parameters, _ in found] == [
        len(list(stage.parameters())) for stage in reversed(stages[2:])
    ]


def test_what_belongs_to_no_stage_is_trained_too() -> None:
    class Placed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Parameter(torch.zeros(3))
            self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 2)

    network = Placed()
    trained = {id(each) for parameters, _ in paces(network, START) for each in parameters}
    assert trained == {id(each) for each in network.parameters()}
    let_go(network, dataclasses.replace(START, frozen_epochs=1), 0)
    assert [name for name, each in network.named_parameters() if each.requires_grad] == ["last.weight", "last.bias"]


def test_more_frozen_stages_than_there_are_is_told() -> None:
    with pytest.raises(Misconfigured, match=r"start.frozen_stages: the network has 6 stages before its last one"):
        paces(tiny(), dataclasses.replace(START, frozen_stages=7))
    with pytest.raises(Misconfigured, match=r"start.frozen_epochs: the network has 0 stages"):
        paces(nn.Sequential(nn.Linear(2, 2)), dataclasses.replace(START, frozen_epochs=1))


def asked(**start: Any) -> Recipe:
    recipe = classifying(start=dataclasses.replace(START, **start))
    return dataclasses.replace(trained_for(recipe, epochs=3, batch=4), classes=("dark", "bright"))


class Killed(BaseException):
    """As if the machine went dark."""


def weights_after(recipe: Recipe, folder: Path, *, dies_in: int = 0) -> dict[str, torch.Tensor]:
    learner = Classifier(material(recipe, pictures(8), beside=folder), 0)
    (folder / "member").mkdir(exist_ok=True)

    def hear(told: Epoch | tuple[int, int]) -> None:
        if dies_in and isinstance(told, tuple) and len(checkpoint.history(folder / "member")) == dies_in - 1:
            raise Killed

    fit(learner, recipe.training, folder / "member", 0, HERE, hear)
    return learner.network.state_dict()


def test_frozen_epochs_and_stages_leave_weights_and_statistics_as_they_came(tmp_path: Path) -> None:
    before = written(tmp_path, tiny())
    after = weights_after(asked(frozen_epochs=3), tmp_path)
    assert {name for name, each in after.items() if not torch.equal(each, before[name])} == {"fc.weight", "fc.bias"}


def test_statistics_that_are_kept_do_not_move_though_weights_do(tmp_path: Path) -> None:
    before = written(tmp_path, tiny())
    after = weights_after(asked(keeps_statistics=True), tmp_path)
    changed = {name for name, each in after.items() if not torch.equal(each, before[name])}
    assert not {name for name in changed if "running" in name or "tracked" in name}
    assert "layer1.0.conv1.weight" in changed


@pytest.mark.parametrize("dies_in", [1, 2, 3])
def test_a_staged_training_that_was_killed_ends_where_it_would_have_ended(tmp_path: Path, dies_in: int) -> None:
    recipe = asked(frozen_epochs=1, frozen_stages=1, decay=0.5)
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        written(tmp_path / name, tiny())
    whole = weights_after(recipe, tmp_path / "whole")
    with pytest.raises(Killed):
        weights_after(recipe, tmp_path / "killed", dies_in=dies_in)
    resumed = weights_after(recipe, tmp_path / "killed")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
