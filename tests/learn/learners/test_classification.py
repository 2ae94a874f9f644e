"""Classifiers learn what can be seen, draw every class as often as asked, and keep to what the node will compute."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from node.domain.preparation import Architecture
from node.errors import Misconfigured
from node.imaging.averaged import Averaged
from node.learn.fitting import fit
from node.learn.learners import Example, Material
from node.learn.learners.classification import Classifier, predict
from node.learn.recipe import Augmentation, Balance, Judging, Precision, Recipe
from tests.learn.toys import HERE, TINY, classifying, material, pictures, trained_for

CLASSES = ("dark", "bright")


@pytest.fixture(autouse=True)
def _alone() -> None:
    torch.set_num_threads(1)


def recipe(**more: Any) -> Recipe:
    return dataclasses.replace(classifying(**more), classes=CLASSES)


def sides(material: Material) -> list[int]:
    """How many of each class are drawn in an epoch."""
    learner = Classifier(material, 0)
    batches = [learner.batch(0, index, np.random.default_rng(index)) for index in range(learner.steps)]
    return [int(each) for each in torch.cat([truths for _, truths in batches]).sum(0)]


@pytest.mark.parametrize("precision", [Precision.SINGLE, Precision.BFLOAT16])
def test_bright_is_told_from_dark_within_a_few_epochs(tmp_path: Path, precision: Precision) -> None:
    asked = trained_for(recipe(), epochs=6, precision=precision, average=0.5)
    learner = Classifier(material(asked, pictures(24), pictures(8, seed=5)), 0)
    history = fit(learner, asked.training, tmp_path, 0, HERE, lambda _: None)
    assert history[-1]["accuracy"] == 1
    assert history[-1]["score"] > -0.4
    said = list(predict([learner.network], asked, pictures(10, seed=9), HERE.device))
    assert [int(np.argmax(each.logits)) for each in said] == [each.truth for each in said]


@pytest.mark.parametrize(
    "network",
    [
        Architecture(name="DenseNet", arguments={"spatial_dims": 2, "in_channels": 1, "out_channels": 2,
                     "init_features": 4, "growth_rate": 2, "block_config": [1, 1]}),
        Architecture(name="EfficientNetBN", arguments={"model_name": "efficientnet-b0", "spatial_dims": 2,
                     "in_channels": 1, "num_classes": 2, "pretrained": False}),
        Architecture(name="ResNet", arguments=TINY | {"spatial_dims": 3}),
    ],
    ids=lambda each: f"{each.name} {each.arguments['spatial_dims']}-D",
)  # fmt: skip
def test_networks_of_monai_are_trained_by_their_names(tmp_path: Path, network: Architecture) -> None:
    asked = trained_for(recipe(network=network), epochs=1, batch=4)
    size = (32, 32) if network.name == "EfficientNetBN" else (8,) * int(network.arguments["spatial_dims"])
    learner = Classifier(material(asked, pictures(4, size=size), pictures(2, size=size)), 0)
    before = {name: each.clone() for name, each in learner.network.named_parameters()}
    assert np.isfinite(fit(learner, asked.training, tmp_path, 0, HERE, lambda _: None)[0]["score"])
    assert sum(not torch.equal(each, before[name]) for name, each in learner.network.named_parameters()) > 3


def uneven() -> tuple[Example, ...]:
    """Nine dark ones and three bright ones."""
    found = pictures(18)
    return tuple(each for place, each in enumerate(found) if place % 2 == 0 or place < 6)


def test_each_class_is_drawn_as_it_is_or_as_often_as_the_others() -> None:
    plain = trained_for(recipe(), batch=4)
    assert sides(material(plain, uneven())) == [9, 3]
    assert sides(material(trained_for(plain, balance=Balance.SAMPLER), uneven())) == [6, 6]
    assert sides(material(trained_for(plain, balance=Balance.SAMPLER, steps=10), uneven())) == [20, 20]


def test_no_image_is_alone_in_a_batch_for_nothing_could_be_normalised_by_it() -> None:
    learner = Classifier(material(trained_for(recipe(), batch=4), pictures(9)), 0)
    sizes = [len(learner.batch(0, index, np.random.default_rng(0))[0]) for index in range(learner.steps)]
    assert sizes == [4, 4, 2]


def test_a_batch_larger_than_the_data_set_holds_all_of_it() -> None:
    learner = Classifier(material(trained_for(recipe(), batch=64), pictures(6)), 0)
    assert learner.steps == 1
    assert len(learner.batch(0, 0, np.random.default_rng(0))[0]) == 6


def test_a_class_that_is_missing_in_what_is_trained_on_is_named() -> None:
    with pytest.raises(Misconfigured, match="no case of bright is trained on"):
        Classifier(material(recipe(), pictures(6, classes=1)), 0)


def test_mixed_images_have_mixed_truths() -> None:
    asked = recipe(augmentation=Augmentation(mix=1.0))
    _, truths = Classifier(material(asked, pictures(16)), 0).batch(0, 0, np.random.default_rng(3))
    assert torch.allclose(truths.sum(1), torch.ones(len(truths)))
    assert ((truths > 0.05) & (truths < 0.95)).any()


def test_several_networks_and_mirrored_views_answer_as_the_node_will() -> None:
    views = ((1.0, 1.2), (0.8, 1.25))
    asked = recipe(evaluation=Judging(flips=(1,), views=views))
    networks = [Classifier(material(asked, pictures(4)), seed).network.eval() for seed in (0, 1)]
    examples = pictures(5, seed=2)
    said = torch.tensor([each.logits for each in predict(networks, asked, examples, HERE.device)])
    with torch.no_grad():
        node = Averaged(networks, "softmax", (1,), views)(torch.stack([each.prepared.image for each in examples]))
    assert torch.allclose(said, node, atol=1e-5)
