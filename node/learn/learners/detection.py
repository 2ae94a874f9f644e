"""Detection: boxes with a class and a score, by MONAI's RetinaNet, in images and in volumes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from node.errors import Misconfigured
from node.imaging.formats import built
from node.imaging.networks.retinanet import Retina
from node.imaging.tasks.boxes import kept
from node.learn.boxes.deriving import derived
from node.learn.boxes.detector import detector_of, taught
from node.learn.boxes.moved import changed, window
from node.learn.evaluate.detection import OVERLAPS, average_precision, hits
from node.learn.fitting import SCORE, random_of
from node.learn.learners import Example, Material
from node.learn.prediction import Prediction, SeenBox
from node.learn.recipe import Recipe
from node.learn.starting import begin_from, let_go, paces

__all__ = ["derived", "learner", "predict"]

_Shown = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def learner(material: Material, seed: int) -> Finder:
    """See `Teacher`."""
    return Finder(material, seed)


class Finder:
    """See `Learner`."""

    def __init__(self, material: Material, seed: int) -> None:
        recipe = material.recipe
        assert recipe.network is not None
        assert recipe.preparation is not None
        assert recipe.augmentation is not None
        torch.manual_seed(seed)
        self.network = _retina(recipe)
        if recipe.start is not None:
            begin_from(self.network, recipe.start, material.beside)
        self._recipe, self._seed = recipe, seed
        self._augmentation, self._patch = recipe.augmentation, recipe.preparation.patch
        self._train, self._validation = material.train, material.validation
        self._classes = len(material.classes)
        if not any(each.prepared.boxes for each in self._train):
            raise Misconfigured("recipe.toml", "split", "no case that is trained on has a box", "Split anew")

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

    def batch(self, epoch: int, index: int, random: np.random.Generator) -> list[_Shown]:
        """See `Learner`; of each image its values, the corners of its boxes, and their classes."""
        order = random_of(self._seed, epoch).permutation(len(self._train))
        size = self._recipe.training.batch
        return [self._shown(self._train[order[(index * size + each) % len(order)]], random) for each in range(size)]

    def loss(self, network: nn.Module, batch: list[_Shown], device: torch.device) -> torch.Tensor:
        """See `Learner`: the focal loss of the classes, and that of the boxes."""
        detector = taught(detector_of(network, self.network, self._recipe), self._recipe.detection).train()
        images = _stacked([image for image, _, _ in batch]).to(device)
        targets = [{"box": boxes.to(device), "label": labels.to(device)} for _, boxes, labels in batch]
        losses = detector(images, targets)
        return torch.stack([each.to(device) for each in losses.values()]).sum()

    def judge(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:
        """See `Learner`: the score is the mean average precision, over the overlaps that it is told at."""
        if not self._validation:
            return {}
        said = tuple(predict([network], self._recipe, self._validation, device))
        weights = np.ones((1, len(said)))
        figures = {}
        for limit in OVERLAPS:
            each = [average_precision(hits(said, label, limit), weights)[0] for label in range(self._classes)]
            known = [value for value in each if np.isfinite(value)]
            figures[f"map_{limit}"] = float(np.mean(known)) if known else 0.0
        return {SCORE: float(np.mean(list(figures.values()))), **figures}

    def _shown(self, example: Example, random: np.random.Generator) -> _Shown:
        image, boxes, labels = _true(example)
        if self._patch:
            image, boxes, labels = window(image, boxes, labels, self._patch, random)
        image, boxes, labels = changed(image, boxes, labels, self._augmentation, random)
        # A box of the detector's speaks of the middles of voxels, as its answers are read.
        return image.contiguous(), (boxes - 0.5).clamp_min(0), labels


@torch.no_grad()
def predict(
    networks: Sequence[nn.Module], recipe: Recipe, examples: Sequence[Example], device: torch.device
) -> Iterator[Prediction]:
    """See `Teacher`: boxes on the grid that the network sees; those of several networks are laid together."""
    detectors = [detector_of(network, _plain(network), recipe).eval() for network in networks]
    for example in examples:
        seen = [box for detector in detectors for box in _seen(detector, example, device)]
        if len(detectors) > 1:
            seen = _together(seen, recipe.detection.overlap)
        yield Prediction(
            key=example.case.key,
            group=example.group,
            part="test",
            attributes=example.case.attributes,
            boxes=tuple(seen),
            true_boxes=tuple(SeenBox(label=box.label, score=1.0, edges=box.edges) for box in example.prepared.boxes),
        )


def _seen(detector: Any, example: Example, device: torch.device) -> list[SeenBox]:
    image = example.prepared.image.to(device)
    large = detector.inferer is not None and image[0].numel() >= int(np.prod(detector.inferer.roi_size))
    found = detector(image[None], use_inferer=large)[0]
    axes = image.ndim - 1
    rows = (found["box"].float() + 0.5).cpu().tolist()
    labels, scores = found["label"].cpu().tolist(), found["label_scores"].float().cpu().tolist()
    return [
        SeenBox(label=int(label), score=float(score), edges=tuple(zip(row[:axes], row[axes:], strict=True)))
        for row, label, score in zip(rows, labels, scores, strict=True)
    ]


def _stacked(images: Sequence[torch.Tensor]) -> torch.Tensor:
    """One batch of images; smaller ones are filled up with 0 at their ends."""
    largest = [max(sides) for sides in zip(*(image.shape[1:] for image in images), strict=True)]
    filled = []
    for image in images:
        ends = [each for side, most in zip(image.shape[1:], largest, strict=True) for each in (most - side, 0)]
        filled.append(functional.pad(image, ends[::-1]))
    return torch.stack(filled)


def _together(boxes: Sequence[SeenBox], overlap: float) -> list[SeenBox]:
    """Of boxes of one class that are the same the surest."""
    found = []
    for label in sorted({box.label for box in boxes}):
        mine = [box for box in boxes if box.label == label]
        found += [mine[place] for place in kept([box.edges for box in mine], [box.score for box in mine], overlap)]
    return found


def _true(example: Example) -> _Shown:
    image, boxes = example.prepared.image, example.prepared.boxes
    corners = [[*(low for low, _ in box.edges), *(high for _, high in box.edges)] for box in boxes]
    labels = torch.tensor([box.label for box in boxes], dtype=torch.int64)
    return image, torch.tensor(corners, dtype=torch.float32).reshape(-1, 2 * (image.ndim - 1)), labels


def _retina(recipe: Recipe) -> Retina:
    assert recipe.network is not None
    return _plain(built(recipe.network))


def _plain(network: nn.Module) -> Retina:
    if not isinstance(network, Retina):
        remedy = "Name node.imaging.networks.retinanet.Retina, or leave the table [network] out"
        raise Misconfigured("recipe.toml", "network.name", f"{type(network).__name__} finds no boxes", remedy)
    return network
