"""Segmentation: a label for every voxel, learnt from windows that are cut anew in each epoch."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from monai.losses.dice import DiceCELoss
from monai.transforms.post.array import KeepLargestConnectedComponent
from torch import nn
from torch.nn import functional

from node.errors import Misconfigured
from node.imaging.averaged import as_one
from node.imaging.bundle import components
from node.imaging.formats import built
from node.learn.augmenting import changed
from node.learn.case import Dataset
from node.learn.configuring import of_volumes
from node.learn.dataset.sheet import Sheet
from node.learn.evaluate.surface import figures_at
from node.learn.fitting import SCORE, random_of
from node.learn.learners import Example, Material
from node.learn.prediction import Prediction
from node.learn.recipe import Augmentation, Balance, Recipe
from node.learn.starting import begin_from, let_go, paces
from node.learn.windows import cut, first_of, places_in

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
    if recipe.training.balance is Balance.LOSS or (recipe.augmentation is not None and recipe.augmentation.mix):
        key = "training.balance" if recipe.training.balance is Balance.LOSS else "augmentation.mix"
        raise Misconfigured("recipe.toml", key, "is for classification", "Leave it out")
    if recipe.preparation is not None and not recipe.preparation.patch:
        problem = "the windows that are learnt from have no size"
        raise Misconfigured("recipe.toml", "preparation.patch", problem, "Say how many voxels the network sees at once")
    preparation, network = of_volumes(dataset, sheet)
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
            to_onehot_y=True,
            softmax=True,
            include_background=False,
            batch=True,
            squared_pred=False,
            label_smoothing=recipe.training.smoothing,
        )
        self._places: dict[str, list[torch.Tensor]] = {}
        if recipe.start is not None:
            begin_from(self.network, recipe.start, material.beside)
        self._refuse_missing(material.classes)

    @property
    def steps(self) -> int:
        """See `Learner`."""
        return self._recipe.training.steps or -(-len(self._train) // self._recipe.training.batch)

    def groups(self) -> Sequence[tuple[Sequence[nn.Parameter], float]]:
        """See `Learner`."""
        return paces(self.network, self._recipe.start)

    def begin(self, epoch: int) -> None:
        """See `Learner`."""
        let_go(self.network, self._recipe.start, epoch)

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
            # MONAI's DynUNet stacks its depths, all at full size, along axis 1; others give a list of sizes.
            answers = list(answers.unbind(1)) if answers.ndim == images.ndim + 1 else [answers]
        weights = [0.5**depth for depth in range(len(answers))]
        losses = [
            weight * self._loss(each.float(), _sized(labels, each.shape[2:]))
            for weight, each in zip(weights, answers, strict=True)
        ]
        return torch.stack(losses).sum() / sum(weights)

    def judge(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:
        """See `Learner`: the score is the mean Dice of the labels."""
        if not self._validation:
            return {}
        rows = []
        for example in self._validation:
            found, truth = labelled([network], self._recipe, example, device), _truth(example)
            rows.append([_dice(found == label, truth == label) for label in range(1, self._classes + 1)])
        # A label that no case has, and none was given, says nothing.
        known = [[value for value in column if value == value] for column in zip(*rows, strict=True)]
        means = {f"dice_{label}": float(np.mean(each)) for label, each in enumerate(known, 1) if each}
        return {SCORE: float(np.mean(list(means.values())))} | means if means else {}

    def _window(self, example: Example, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Cut a window, larger than is shown; change it; and cut away what the change brought in."""
        prepared = example.prepared
        truth = prepared.labels
        assert truth is not None
        center = None
        if random.random() < _AROUND_LABELS and (places := self._places_of(example)):
            there = places[int(random.integers(len(places)))] if len(places) > 1 else places[0]
            center = [int(each) for each in there[int(random.integers(len(there)))]]
        wide = [round(side * (1 + _MARGIN)) for side in self._patch]
        first = [
            first_of(side, shown, long, center[axis] if center else None, random)
            for axis, (side, shown, long) in enumerate(zip(truth.shape, self._patch, wide, strict=True))
        ]
        image = cut(prepared.image, first, wide)
        labels = cut(truth[None], first, wide)[0]
        image, changed_labels = changed(image, labels, self._augmentation, random)
        assert changed_labels is not None
        inner = [(long - side) // 2 for long, side in zip(wide, self._patch, strict=True)]
        return cut(image, inner, self._patch), cut(changed_labels[None], inner, self._patch)[0]

    def _places_of(self, example: Example) -> list[torch.Tensor]:
        """Voxels that have a label, (place, axis); where labels are balanced, of each label by itself."""
        if example.case.key not in self._places:
            truth = example.prepared.labels
            assert truth is not None
            balanced = self._recipe.training.balance is Balance.SAMPLER
            masks = [truth == label for label in range(1, self._classes + 1)] if balanced else [truth > 0]
            self._places[example.case.key] = [places for mask in masks if len(places := places_in(mask))]
        return self._places[example.case.key]

    def _refuse_missing(self, classes: Sequence[str]) -> None:
        """See that every label is in what is trained on."""
        missing = set(range(1, len(classes) + 1))
        for example in self._train:
            if not missing:
                return
            missing -= set(np.unique(_truth(example)).tolist())
        if missing:
            names = ", ".join(classes[label - 1] for label in sorted(missing))
            raise Misconfigured("recipe.toml", "split", f"no case with {names} is trained on", "Split anew")


def predict(
    networks: Sequence[nn.Module], recipe: Recipe, examples: Sequence[Example], device: torch.device
) -> Iterator[Prediction]:
    """See `Teacher`: figures on the grid that the network sees."""
    for example in examples:
        found, truth = labelled(networks, recipe, example, device), _truth(example)
        spacing_mm = example.spacing_mm or (1.0,) * truth.ndim
        count = len(recipe.classes) or int(max(truth.max(), found.max(), 1))
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

    # As the node asks it: a network alone gives its numbers, several of them or of its views one mean.
    network = as_one(networks, said.activation, recipe.evaluation.flips)

    def ask(windows: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = network(windows)
        return answer.float()

    numbers = sliding_window_inference(
        image, said.patch, said.batch, ask, overlap=said.overlap, mode=said.blend, padding_mode="constant"
    )
    assert isinstance(numbers, torch.Tensor)
    found = numbers[0].argmax(0).to(torch.uint8).cpu()
    return _largest(found, len(recipe.classes)) if said.largest else found.numpy()


def _largest(labels: torch.Tensor, classes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Keep the largest connected part of each label, as the node does."""
    components.provide()
    keep = KeepLargestConnectedComponent(applied_labels=range(1, classes + 1))
    return np.asarray(keep(labels[None])[0], np.uint8)


def _sized(labels: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Labels (batch, 1, …) on a coarser lattice over the same place."""
    if tuple(labels.shape[2:]) == tuple(size):
        return labels
    return functional.interpolate(labels.float(), tuple(size), mode="nearest-exact")


def _truth(example: Example) -> np.ndarray[Any, np.dtype[np.uint8]]:
    assert example.prepared.labels is not None
    return example.prepared.labels.numpy()


def _dice(found: np.ndarray[Any, np.dtype[np.bool_]], truth: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    both = found.sum() + truth.sum()
    return float(2 * (found & truth).sum() / both) if both else float("nan")
