"""Segmentation: a label for every voxel, learnt from windows that are cut anew in each epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from monai.losses.dice import DiceCELoss
from torch import nn
from torch.nn import functional

from node.errors import Misconfigured
from node.imaging.formats import built
from node.learn.augmenting import changed
from node.learn.case import Dataset
from node.learn.configuring import of_volumes
from node.learn.dataset.sheet import Sheet
from node.learn.evaluate.surface import figures_at
from node.learn.fitting import SCORE, random_of
from node.learn.learners import Example, Material
from node.learn.prediction import Prediction
from node.learn.recipe import Augmentation, Recipe

#: Augmentation where the recipe asks for none of its own.
_USUAL = Augmentation(rotate_deg=15, zoom=(0.85, 1.2), contrast=0.2, brightness=0.1, gamma=0.3, noise=0.1, blur=0.7)
#: Share of the windows that are cut around a voxel that has a label.
_AROUND_LABELS = 0.67
#: Share of a window by which the cut is drawn larger, so that turning brings in true voxels.
_MARGIN = 0.25


def derived(recipe: Recipe, dataset: Dataset, sheet: Sheet) -> Recipe:
    """See `Teacher`."""
    if dataset.read(dataset.cases[0]).volume is None:
        raise Misconfigured(dataset.source, "", "holds masks of single images", "Segmentation is learnt from volumes")
    preparation, network = of_volumes(dataset, sheet)
    if recipe.preparation is not None and not recipe.preparation.patch:
        problem = "the windows that are learnt from have no size"
        raise Misconfigured("recipe.toml", "preparation.patch", problem, "Say how many voxels the network sees at once")
    return dataclasses.replace(
        recipe,
        preparation=recipe.preparation or preparation,
        network=recipe.network or network,
        augmentation=recipe.augmentation or _USUAL,
    )


def learner(material: Material, seed: int) -> Segmenter:
    """See `Teacher`."""
    return Segmenter(material, seed)


class Segmenter:
    """See `Learner`."""

    def __init__(self, material: Material, seed: int) -> None:
        recipe = material.recipe
        assert recipe.network is not None
        assert recipe.preparation is not None
        assert recipe.augmentation is not None
        torch.manual_seed(seed)
        self.network = built(recipe.network)
        self._recipe, self._seed = recipe, seed
        self._augmentation, self._patch = recipe.augmentation, recipe.preparation.patch
        self._train, self._validation = material.train, material.validation
        self._classes = len(material.classes)
        self._loss = DiceCELoss(
            to_onehot_y=True, softmax=True, include_background=False, batch=True, squared_pred=False
        )

    @property
    def steps(self) -> int:
        """See `Learner`."""
        return self._recipe.training.steps or -(-len(self._train) // self._recipe.training.batch)

    def groups(self) -> Sequence[tuple[Sequence[nn.Parameter], float]]:
        """See `Learner`."""
        return [(list(self.network.parameters()), 1.0)]

    def begin(self, epoch: int) -> None:  # noqa: ARG002
        """See `Learner`."""
        self.network.train()

    def batch(self, epoch: int, index: int, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Learner`; (batch, channel, …) windows and (batch, 1, …) labels."""
        order = random_of(self._seed, epoch).permutation(len(self._train))
        size = self._recipe.training.batch
        places = [order[(index * size + each) % len(order)] for each in range(size)]
        windows = [self._window(self._train[place], random) for place in places]
        return torch.stack([image for image, _ in windows]), torch.stack([labels[None] for _, labels in windows])

    def loss(self, network: nn.Module, batch: tuple[torch.Tensor, torch.Tensor], device: torch.device) -> torch.Tensor:
        """See `Learner`: Dice and cross-entropy; of several depths the deeper ones weigh half each time."""
        images, labels = (each.to(device) for each in batch)
        answers = network(images)
        if isinstance(answers, torch.Tensor):
            # MONAI's networks with deep supervision stack their depths, all at full size, along axis 1.
            answers = list(answers.unbind(1)) if answers.ndim == images.ndim + 1 else [answers]
        weights = [0.5**depth for depth in range(len(answers))]
        losses = [weight * self._loss(each.float(), labels) for weight, each in zip(weights, answers, strict=True)]
        return torch.stack(losses).sum() / sum(weights)

    def judge(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:
        """See `Learner`: the score is the mean Dice of the labels."""
        if not self._validation:
            return {}
        rows = []
        for example in self._validation:
            found, truth = labelled([network], self._recipe, example, device), _truth(example)
            rows.append([_dice(found == label, truth == label) for label in range(1, self._classes + 1)])
        means = np.nanmean(np.array(rows), axis=0)
        return {SCORE: float(means.mean())} | {f"dice_{label}": float(each) for label, each in enumerate(means, 1)}

    def _window(self, example: Example, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Cut a window, larger than is shown; change it; and cut away what the change brought in."""
        truth = example.prepared.labels
        assert truth is not None
        center = None
        if random.random() < _AROUND_LABELS:
            there = torch.nonzero(truth)
            if len(there):
                center = [int(each) for each in there[int(random.integers(len(there)))]]
        wide = [round(side * (1 + _MARGIN)) for side in self._patch]
        first = [
            _start(side, long, center[axis] if center else None, random)
            for axis, (side, long) in enumerate(zip(truth.shape, wide, strict=True))
        ]
        image = _cut(example.prepared.image, first, wide)
        labels = _cut(truth[None].float(), first, wide)[0].to(torch.uint8)
        image, changed_labels = changed(image, labels, self._augmentation, random)
        assert changed_labels is not None
        inner = [(long - side) // 2 for long, side in zip(wide, self._patch, strict=True)]
        return _cut(image, inner, self._patch), _cut(changed_labels[None].float(), inner, self._patch)[0]


def predict(
    networks: Sequence[nn.Module], recipe: Recipe, examples: Sequence[Example], device: torch.device
) -> Iterator[Prediction]:
    """See `Teacher`: figures on the grid that the network sees."""
    for example in examples:
        found, truth = labelled(networks, recipe, example, device), _truth(example)
        spacing_mm = example.spacing_mm or (1.0,) * truth.ndim
        count = int(max(truth.max(), found.max(), 1))
        yield Prediction(
            key=example.case.key,
            group=example.group,
            part="test",
            attributes=example.case.attributes,
            segments=figures_at(found, truth, spacing_mm, range(1, count + 1), recipe.evaluation.tolerance_mm),
        )


@torch.no_grad()
def labelled(
    networks: Sequence[nn.Module], recipe: Recipe, example: Example, device: torch.device
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """(…) uint8: the label of each voxel, of shares averaged over networks and over the image mirrored or not."""
    assert recipe.preparation is not None
    said = recipe.preparation
    image = example.prepared.image[None].to(device)

    def ask(windows: torch.Tensor) -> torch.Tensor:
        answers = []
        for network in networks:
            for axis in (None, *recipe.evaluation.flips):
                view = windows if axis is None else windows.flip(axis + 2)
                answer = network(view)
                if isinstance(answer, list | tuple):
                    answer = answer[0]
                answer = answer.float().softmax(1)
                answers.append(answer if axis is None else answer.flip(axis + 2))
        return torch.stack(answers).mean(0)

    shares = sliding_window_inference(
        image, said.patch, said.batch, ask, overlap=said.overlap, mode=said.blend, padding_mode="constant"
    )
    assert isinstance(shares, torch.Tensor)
    return shares[0].argmax(0).to(torch.uint8).cpu().numpy()


def _start(side: int, long: int, center: int | None, random: np.random.Generator) -> int:
    """Where a window of `long` begins along a side; what is shorter lies in its middle, by and large."""
    if side <= long:
        return -int(random.integers(0, long - side + 1))
    if center is None:
        return int(random.integers(0, side - long + 1))
    return int(np.clip(center - random.integers(long // 4, long - long // 4), 0, side - long))


def _cut(image: torch.Tensor, first: Sequence[int], size: Sequence[int]) -> torch.Tensor:
    """Cut a window out of (channel, …); what lies outside is 0."""
    ends = [start + long for start, long in zip(first, size, strict=True)]
    inside = [
        slice(max(0, start), max(0, min(end, side)))
        for start, end, side in zip(first, ends, image.shape[1:], strict=True)
    ]
    found = image[(slice(None), *inside)]
    pads: list[int] = []
    for start, end, side in reversed(list(zip(first, ends, image.shape[1:], strict=True))):
        pads += [max(0, -start), max(0, end - max(side, start))]
    return functional.pad(found, pads) if any(pads) else found


def _truth(example: Example) -> np.ndarray[Any, np.dtype[np.uint8]]:
    assert example.prepared.labels is not None
    return example.prepared.labels.numpy()


def _dice(found: np.ndarray[Any, np.dtype[np.bool_]], truth: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    both = found.sum() + truth.sum()
    return float(2 * (found & truth).sum() / both) if both else float("nan")
