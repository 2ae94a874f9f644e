"""Segmenters learn what can be seen, by networks of several kinds, and draw their masks as the node will."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.inferers.inferer import SlidingWindowInferer
from torch import nn

from node.domain.model_card import Task
from node.domain.preparation import Architecture, Preparation
from node.errors import Misconfigured
from node.imaging.averaged import Averaged
from node.learn.fitting import SCORE, fit
from node.learn.learners import segmentation
from node.learn.learners.segmentation import Segmenter, labelled, predict
from node.learn.recipe import Balance, Judging, Precision, Recipe
from tests.learn.toys import HERE, SMALL_UNET, STILL, blobs, classifying, material, trained_for

PLAIN: dict[str, Any] = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3}


@pytest.fixture(autouse=True)
def _alone() -> None:
    torch.set_num_threads(1)


def recipe(**more: Any) -> Recipe:
    found = classifying(
        task=Task.SEGMENTATION,
        classes=("one", "two"),
        preparation=Preparation(patch=(8, 8, 8), overlap=0.5),
        network=Architecture(name="UNet", arguments=SMALL_UNET),
        augmentation=STILL,
    )
    return dataclasses.replace(trained_for(found, batch=2, learning_rate=0.03), **more)


@pytest.mark.parametrize("precision", [Precision.SINGLE, Precision.BFLOAT16])
def test_blocks_are_found_after_a_few_windows(tmp_path: Path, precision: Precision) -> None:
    asked = trained_for(recipe(), epochs=2, steps=30, precision=precision)
    learner = Segmenter(material(asked, blobs(4), blobs(2, seed=5)), 0)
    history = fit(learner, asked.training, tmp_path, 0, HERE, lambda _: None)
    assert history[-1]["dice_1"] > 0.6
    assert history[-1]["dice_2"] > 0.6
    (said,) = predict([learner.network.eval()], asked, blobs(1, seed=8), HERE.device)
    assert sorted(said.segments) == [1, 2]
    assert said.segments[2].dice is not None
    assert said.segments[2].dice > 0.6
    # Two millimetres from slice to slice.
    assert said.segments[1].true_volume_ml == pytest.approx(4 * 4 * 3 * 2 / 1000)


@pytest.mark.parametrize(
    "network",
    [
        Architecture(name="DynUNet", arguments=PLAIN | {"kernel_size": [3, 3, 3], "strides": [1, 2, 2],
                     "upsample_kernel_size": [2, 2], "filters": [4, 8, 8], "deep_supervision": True,
                     "deep_supr_num": 1}),
        Architecture(name="AttentionUnet", arguments=PLAIN | {"channels": [4, 8], "strides": [2]}),
        Architecture(name="SegResNet", arguments=PLAIN | {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]}),
        Architecture(name="SegResNetDS", arguments=PLAIN | {"init_filters": 8, "blocks_down": [1, 1, 1], "dsdepth": 2}),
    ],
    ids=lambda each: each.name,
)  # fmt: skip
def test_networks_of_monai_are_trained_by_their_names(tmp_path: Path, network: Architecture) -> None:
    asked = trained_for(recipe(network=network), epochs=1, steps=1)
    learner = Segmenter(material(asked, blobs(2), blobs(1, seed=3)), 0)
    assert np.isfinite(fit(learner, asked.training, tmp_path, 0, HERE, lambda _: None)[0]["loss"])


def test_of_several_depths_the_deeper_ones_count_half_each() -> None:
    learner = Segmenter(material(recipe(), blobs(2)), 0)
    images, labels = learner.batch(0, 0, np.random.default_rng(0))
    first, second = torch.randn(2, 3, 8, 8, 8), torch.randn(2, 3, 4, 4, 4)
    alone = [learner.loss(Said(answer), (images, labels), HERE.device) for answer in ([first], [second])]
    both = learner.loss(Said([first, second]), (images, labels), HERE.device)
    assert float(both) == pytest.approx(float((alone[0] + 0.5 * alone[1]) / 1.5), rel=1e-5)


class Said(nn.Module):
    """Answers what it was told to."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, _: torch.Tensor) -> Any:
        return self.answer


def test_windows_lie_around_every_label_as_often_where_labels_are_balanced() -> None:
    rare = blobs(1, size=(30, 30, 30))[0]
    labels = rare.prepared.labels
    assert labels is not None
    labels[:] = 0
    labels[2:16, 2:16, 2:16] = 1
    labels[28, 28, 28] = 2
    shown = []
    for balance in (Balance.NONE, Balance.SAMPLER):
        learner = Segmenter(material(trained_for(recipe(), balance=balance, steps=30), (rare,)), 0)
        batches = [learner.batch(0, index, np.random.default_rng(index))[1] for index in range(30)]
        shown.append(int((torch.cat(batches) == 2).flatten(1).any(1).sum()))
    assert shown[0] <= 12
    assert shown[1] >= 15


def test_a_label_that_is_missing_in_what_is_trained_on_is_named() -> None:
    cases = blobs(2)
    for each in cases:
        assert each.prepared.labels is not None
        each.prepared.labels[each.prepared.labels == 2] = 0
    with pytest.raises(Misconfigured, match="no case with two is trained on"):
        Segmenter(material(recipe(), cases), 0)


def test_a_label_that_no_validation_case_has_does_not_spoil_the_score() -> None:
    case = blobs(1)[0]
    learner = Segmenter(material(recipe(), blobs(2), (case,)), 0)
    assert case.prepared.labels is not None
    case.prepared.labels[case.prepared.labels == 2] = 0
    answer = torch.zeros(1, 3, 8, 8, 8)
    answer[:, 1] = 1
    figures = learner.judge(Everywhere(1), HERE.device)
    assert set(figures) == {SCORE, "dice_1"}


class Everywhere(nn.Module):
    """Finds one label everywhere."""

    def __init__(self, label: int) -> None:
        super().__init__()
        self.label = label

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        found = torch.zeros(len(windows), 3, *windows.shape[2:])
        found[:, self.label] = 1
        return found


@pytest.mark.parametrize(("count", "flips"), [(1, ()), (2, (0,))])
def test_masks_are_drawn_as_the_node_draws_them(count: int, flips: tuple[int, ...]) -> None:
    """Of a network alone the node puts its numbers together, of several their mean shares; both, then, here."""
    asked = recipe(evaluation=Judging(flips=flips))
    networks = [Segmenter(material(asked, blobs(2)), seed).network.eval() for seed in range(count)]
    case = blobs(1, seed=4)[0]
    node = Averaged(networks, "softmax", flips) if count > 1 or flips else networks[0]
    with torch.no_grad():
        told = SlidingWindowInferer((8, 8, 8), 1, 0.5, "gaussian")(case.prepared.image[None], node)
    assert isinstance(told, torch.Tensor)
    assert np.array_equal(labelled(networks, asked, case, HERE.device), told[0].argmax(0).numpy())


def test_only_the_largest_part_of_a_label_is_kept_where_the_node_keeps_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = torch.zeros(1, 3, 14, 12, 10)
    drawn[:, 0] = 0.5
    drawn[0, 1, :2, :2, :2] = 1
    drawn[0, 1, 8:12, 8:12, 5:9] = 1
    monkeypatch.setattr(segmentation, "sliding_window_inference", lambda *_, **__: drawn)
    case, network = blobs(1)[0], Everywhere(1)
    assert labelled([network], recipe(), case, HERE.device).sum() == 8 + 64
    largest = recipe(preparation=Preparation(patch=(8, 8, 8), largest=True))
    assert labelled([network], largest, case, HERE.device).sum() == 64


@pytest.mark.parametrize("size", [(6, 12, 5), (8, 8, 8), (9, 10, 11)])
def test_images_smaller_than_a_window_and_a_little_larger_ones_are_learnt_from(size: tuple[int, int, int]) -> None:
    learner = Segmenter(material(recipe(), blobs(2, size=size)), 0)
    images, labels = learner.batch(0, 0, np.random.default_rng(0))
    assert (tuple(images.shape), tuple(labels.shape)) == ((2, 1, 8, 8, 8), (2, 1, 8, 8, 8))
    assert labels.any()
