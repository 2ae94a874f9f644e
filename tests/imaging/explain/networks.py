"""Networks of which everybody knows where they look, and what they are given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from node.domain.explanation import Explanation
from node.domain.finding import Code
from node.domain.geometry import Grid
from node.domain.model_card import ModelCard, Task
from node.domain.target import Target
from node.imaging.explain import Explainable, Prepared, image_prepared
from node.imaging.explain.meter import Meter
from node.imaging.explain.subject import Question, Subject
from node.imaging.images import Image
from node.imaging.pipelines import Given
from node.imaging.volume import Volume
from tests.fakes import card

UPRIGHT = ((1.0, 0, 0, 0), (0, 1.0, 0, 0), (0, 0, 1.0, 0), (0, 0, 0, 1.0))


def conv(dimensions: int, channels_in: int, channels_out: int) -> torch.nn.Module:
    kind = torch.nn.Conv2d if dimensions == 2 else torch.nn.Conv3d
    return kind(channels_in, channels_out, 3, padding=1)


class Corner(torch.nn.Module):
    """Target 1 is how much brighter than elsewhere the first quarter of every axis is; target 0 is nothing."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.dimensions = dimensions
        self.first = conv(dimensions, 1, 4)
        self.relu = torch.nn.ReLU(inplace=True)
        self.last = conv(dimensions, 4, 4)
        self.head = torch.nn.Linear(4, 2)
        with torch.no_grad():
            for layer in (self.first, self.last):
                layer.weight.abs_()
                layer.bias.zero_()
            self.head.weight.zero_()
            self.head.weight[1] = 1
            self.head.bias.zero_()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        seen = self.relu(self.last(self.relu(self.first(image))))
        # The gate is part of the map that the last layer hands on, as attention is.
        for axis in range(2, 2 + self.dimensions):
            seen = seen.narrow(axis, 0, max(1, image.shape[axis] // 4))
        return self.head(seen.flatten(2).mean(2))


class Spot(torch.nn.Module):
    """Answers class 1 wherever it is bright, class 0 elsewhere."""

    def __init__(self, dimensions: int) -> None:
        super().__init__()
        kind = torch.nn.Conv2d if dimensions == 2 else torch.nn.Conv3d
        self.body = torch.nn.Sequential(kind(1, 3, 1), torch.nn.ReLU(inplace=True), kind(3, 2, 1))
        with torch.no_grad():
            for layer in (self.body[0], self.body[2]):
                layer.weight.fill_(1.0)
                layer.bias.zero_()
            self.body[2].weight[0].fill_(-1.0)
            self.body[2].bias[0] = 3.0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.body(image)


class Linear(torch.nn.Module):
    """A sum of the voxels, each with a weight of its own."""

    def __init__(self, weights: torch.Tensor) -> None:
        super().__init__()
        self.weights = torch.nn.Parameter(weights)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image[:, 0] * self.weights).flatten(1).sum(1)[:, None] + 0.5


def subject(network: torch.nn.Module, inputs: torch.Tensor, *, channel: int = 0, layer: str = "") -> Subject:
    """A classifier's answer, against zeros."""
    question = Question(network.eval(), channel, None, Meter(lambda: 0.0))
    return Subject(question=question, inputs=inputs, baseline=torch.zeros_like(inputs), layer=layer)


def volume_of(array: NDArray[np.float32], affine: object = UPRIGHT) -> Volume:
    uids = tuple(f"1.2.{number}" for number in range(len(array)))
    return Volume(array, Grid(array.shape, affine), uids)  # type: ignore[arg-type]


def given_image(array: NDArray[np.float32]) -> Given:
    return Given(images=(Image(array=array, sop_instance_uid="1.2.1"),))


def straight(network: torch.nn.Module, **changes: object) -> Explainable:
    """The network sees what is given as it is."""

    def prepare(given: Given, image: int) -> Prepared:
        if given.images:
            array = np.asarray(given.images[image].array, np.float32)
            return image_prepared(torch.from_numpy(array.copy())[None, None], array.shape, np.eye(3))  # type: ignore[arg-type]
        volume = given.volume
        inputs = torch.from_numpy(np.array(volume.array, np.float32))[None, None]
        return Prepared(inputs=inputs, placed=volume.grid, given=volume.grid)

    return Explainable(network=network.eval(), prepare=prepare, **changes)  # type: ignore[arg-type]


def classifier_card(*methods: str, budget_s: float = 1e6, layer: str = "") -> ModelCard:
    """Two targets, "none" and "corner"."""
    code = Code("1", "99T", "Corner")
    return replace(
        card(),
        task=Task.CLASSIFICATION,
        segments=(),
        volumes=(),
        targets=(
            Target(index=0, label="none", code=Code("0", "99T", "None")),
            Target(index=1, label="corner", code=code),
        ),
        explanation=Explanation(methods=methods, budget_s=budget_s, layer=layer),
    )
