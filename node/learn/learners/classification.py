"""Classification: an image, or a volume, into one of several classes that exclude each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from node.domain.colour import Colour
from node.domain.preparation import Values
from node.errors import Misconfigured
from node.imaging.averaged import as_one
from node.imaging.formats import built
from node.learn.augmenting import changed, mixed, standardised
from node.learn.case import Dataset
from node.learn.configuring import of_classified_volumes, of_images
from node.learn.dataset.sheet import Sheet
from node.learn.fitting import SCORE, random_of
from node.learn.learners import Example, Material
from node.learn.prediction import Prediction
from node.learn.recipe import Augmentation, Balance, Recipe
from node.learn.starting import begin_from, freshly, let_go, paces

#: Augmentation where the recipe asks for none of its own.
_USUAL = Augmentation(rotate_deg=10, translate=0.05, zoom=(0.9, 1.1), contrast=0.2, brightness=0.1)
#: Images that are read at once when nothing is learnt from them, and numbers in them at most.
_AT_ONCE, _NUMBERS = 64, 64 * 3 * 256**2


def derived(recipe: Recipe, dataset: Dataset, sheet: Sheet) -> Recipe:
    """See `Teacher`."""
    if recipe.preparation is None or recipe.network is None:
        is_volume = dataset.read(dataset.cases[0]).volume is not None
        found, network = (of_classified_volumes if is_volume else of_images)(dataset, sheet)
        preparation = recipe.preparation or found
        channels = 1 if is_volume else 3 if recipe.colour is Colour.RGB else preparation.channels
        arguments = {**network.arguments, "n_input_channels": channels}
        network = recipe.network or dataclasses.replace(network, arguments=arguments)
        recipe = dataclasses.replace(recipe, preparation=preparation, network=network)
    return dataclasses.replace(recipe, augmentation=recipe.augmentation or _USUAL)


def learner(material: Material, seed: int) -> Classifier:
    """See `Teacher`."""
    return Classifier(material, seed)


class Classifier:
    """See `Learner`."""

    def __init__(self, material: Material, seed: int) -> None:
        recipe = material.recipe
        assert recipe.network is not None
        assert recipe.augmentation is not None
        torch.manual_seed(seed)
        self.network = built(recipe.network)
        if recipe.start is not None:
            begins_anew = begin_from(self.network, recipe.start, material.beside)
            freshly(self.network, begins_anew, torch.Generator().manual_seed(seed))
        self._recipe, self._seed = recipe, seed
        self._augmentation = recipe.augmentation
        self._train, self._validation = (*material.train, *material.drawn), material.validation
        self._real = len(material.train)
        self._labels = np.array([_label(each) for each in self._train])
        self._classes = len(material.classes)
        real = np.bincount(self._labels[: self._real], minlength=self._classes)
        if not real.all():
            missing = material.classes[int(np.argmin(real))]
            raise Misconfigured("recipe.toml", "split", f"no case of {missing} is trained on", "Split anew")
        counts = np.bincount(self._labels, minlength=self._classes)
        self._weights = torch.from_numpy((len(self._labels) / (self._classes * counts)).astype(np.float32))
        # What is taken off while it learns from balanced classes, it has to answer by itself.
        self._common = torch.from_numpy(np.log(real / real.sum()).astype(np.float32)) * recipe.training.prior

    @property
    def steps(self) -> int:
        """See `Learner`: with drawn images an epoch is as long as without."""
        return self._recipe.training.steps or -(-self._real // self._recipe.training.batch)

    def groups(self) -> Sequence[tuple[Sequence[nn.Parameter], float]]:
        """See `Learner`."""
        return paces(self.network, self._recipe.start)

    def begin(self, epoch: int) -> None:
        """See `Learner`."""
        let_go(self.network, self._recipe.start, epoch)

    def batch(self, epoch: int, index: int, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Learner`; (batch, channel, …) images and (batch, class) truths."""
        chosen = [self._train[place] for place in self._places(epoch, index)]
        images = torch.stack([self._shown(each, random) for each in chosen])
        labels = torch.tensor([_label(each) for each in chosen])
        truths = functional.one_hot(labels, self._classes).float()
        return mixed(images, truths, self._augmentation.mix, random)

    def loss(self, network: nn.Module, batch: tuple[torch.Tensor, torch.Tensor], device: torch.device) -> torch.Tensor:
        """See `Learner`: cross-entropy with the truths, which mixing may have made shares."""
        images, truths = (each.to(device) for each in batch)
        weights = self._weights.to(device) if self._recipe.training.balance is Balance.LOSS else None
        answer = network(images).float()
        if self._recipe.training.balance is not Balance.NONE:
            answer = answer - self._common.to(device)
        return functional.cross_entropy(answer, truths, weight=weights, label_smoothing=self._recipe.training.smoothing)

    def judge(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:
        """See `Learner`: the score is the mean log likelihood of the truth, classes weighing the same."""
        if not self._validation:
            return {}
        logits = torch.cat(list(_logits([network], self._validation, self._recipe, device)))
        labels = torch.tensor([_label(each) for each in self._validation])
        losses = functional.cross_entropy(logits, labels, reduction="none")
        per_class = [losses[labels == each].mean() for each in range(self._classes) if bool((labels == each).any())]
        right = (logits.argmax(1) == labels).float()
        return {SCORE: -float(torch.stack(per_class).mean()), "accuracy": float(right.mean())}

    def _shown(self, example: Example, random: np.random.Generator) -> torch.Tensor:
        image, _ = changed(example.prepared.image, None, self._augmentation, random)
        said = self._recipe.preparation
        assert said is not None
        return standardised(image) if said.values is Values.ZSCORE and not said.mean else image

    def _places(self, epoch: int, index: int) -> np.ndarray[Any, np.dtype[np.intp]]:
        """Which cases are in a batch: none twice in an epoch, or each class as often as any other."""
        count, batch = self._real, self._recipe.training.batch
        random = random_of(self._seed, epoch)
        wanted = self.steps * batch
        if self._recipe.training.balance is Balance.SAMPLER:
            each = -(-wanted // self._classes)
            drawn = [_drawn(np.flatnonzero(self._labels == label), each, random) for label in range(self._classes)]
            order = np.stack(drawn, axis=1).ravel()
        else:
            order = _drawn(np.arange(len(self._train)), wanted if self._recipe.training.steps else count, random)
        if len(order) % batch == 1 and count > 1:
            # One image alone has no statistics that a batch could be normalised by.
            order = np.append(order, order[0])
        return order[index * batch : (index + 1) * batch]


def predict(
    networks: Sequence[nn.Module], recipe: Recipe, examples: Sequence[Example], device: torch.device
) -> Iterator[Prediction]:
    """See `Teacher`: the logits are those of the averaged shares."""
    rows = [row for batch in _logits(networks, examples, recipe, device) for row in batch]
    for example, row in zip(examples, rows, strict=True):
        yield Prediction(
            key=example.case.key,
            group=example.group,
            part="test",
            attributes=example.case.attributes,
            truth=_label(example),
            logits=tuple(float(each) for each in row),
        )


@torch.no_grad()
def _logits(
    networks: Sequence[nn.Module], examples: Sequence[Example], recipe: Recipe, device: torch.device
) -> Iterator[torch.Tensor]:
    """(batch, class) float32: the logarithm of shares averaged over networks and views."""
    if not examples:
        return
    asked = as_one(networks, "softmax", recipe.evaluation.flips, recipe.evaluation.views)
    many = max(1, min(_AT_ONCE, _NUMBERS // examples[0].prepared.image.numel()))
    for first in range(0, len(examples), many):
        images = torch.stack([each.prepared.image for each in examples[first : first + many]]).to(device)
        yield asked(images).float().cpu()


def _label(example: Example) -> int:
    assert example.case.label is not None
    return example.case.label


def _drawn(
    places: np.ndarray[Any, np.dtype[np.intp]], count: int, random: np.random.Generator
) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Draw without putting back, beginning anew when all are drawn."""
    rounds = [random.permutation(places) for _ in range(-(-count // len(places)))]
    return np.concatenate(rounds)[:count]
