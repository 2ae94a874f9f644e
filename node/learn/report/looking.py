"""A case looked at again: its pixels, what is true of it, what the network makes of it, and why."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from node.domain.model_card import Task
from node.errors import Failed, Misconfigured, Unsuitable
from node.imaging.explain import methods
from node.imaging.explain.meter import Meter
from node.imaging.explain.subject import Question, Subject, followed
from node.learn import members
from node.learn.case import Case, Dataset, Pixels, region_of
from node.learn.evaluate.evaluation import Failure
from node.learn.explained.measuring import Shown
from node.learn.learners import Example, segmentation, teacher
from node.learn.prediction import Prediction, SeenBox
from node.learn.recipe import Recipe
from node.learn.run import Run
from node.learn.split import Fold, Split

#: How an answer is explained, for people.
EXPLAINED = {"grad-cam": "Grad-CAM", "lime": "LIME"}
#: What a network may raise that cannot be explained in some way, or not in this memory.
_TROUBLE = (Unsuitable, RuntimeError, ValueError, TypeError, IndexError, AssertionError, MemoryError)
#: Networks that are kept at once: those of all folds, mostly.
_KEPT = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One image of a case, of a volume the slice that shows most."""

    #: (row, column), or (row, column, 3) uint8.
    image: NDArray[Any]
    #: Length of a pixel along the rows over that along the columns.
    aspect: float = 1.0
    #: Which slice it is, in words; empty of an image.
    where: str = ""
    #: (row, column) uint8 labels.
    truth: NDArray[np.uint8] | None = None
    answer: NDArray[np.uint8] | None = None
    boxes: tuple[SeenBox, ...] = ()
    true_boxes: tuple[SeenBox, ...] = ()
    #: Method → (row, column) float32, 0 to 1: how much each pixel spoke for the answer.
    maps: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    #: Why there is no map of a method.
    notes: tuple[str, ...] = ()


class Looker(Protocol):
    """Whoever can look at a case again."""

    def look(self, failure: Failure) -> Seen | None:
        """Look at a case; `None` where it is not there.

        Raises:
            Failed, Misconfigured, Unsuitable: it cannot be read.
        """
        ...


class RunLooker:
    """Looks with the networks of a run at the cases as they were prepared for them."""

    def __init__(self, run: Run, recipe: Recipe, dataset: Dataset, device: str = "cpu") -> None:
        self._run, self._recipe, self._dataset = run, recipe, dataset
        self._device = torch.device(device)
        self._cases = {case.key: case for case in dataset.cases}
        self._network = lru_cache(_KEPT)(self._network_of)

    def look(self, failure: Failure) -> Seen | None:
        """See `Looker`."""
        case = self._cases.get(failure.key)
        if case is None:
            return None
        example = _prepared(self._dataset, self._recipe, case)
        network = self._network(failure.seed, failure.fold)
        match self._recipe.task:
            case Task.CLASSIFICATION:
                return self._explained(network, example, self._recipe.classes.index(failure.answer))
            case Task.SEGMENTATION:
                said = segmentation.labelled([network], self._recipe, example, self._device)
                assert example.prepared.labels is not None
                return labelled(image_of(example), example.prepared.labels.numpy(), said, example.spacing_mm)
            case _:
                (said_of,) = teacher(Task.DETECTION).predict([network], self._recipe, [example], self._device)
                return boxed(image_of(example), said_of.true_boxes, said_of.boxes, example.spacing_mm)

    def show(self, prediction: Prediction, answer: int) -> Shown:
        """See `node.learn.explained.measuring.Shower`: the network of its fold has not seen it."""
        case = self._cases[prediction.key]
        example = _prepared(_Drawn(self._dataset), self._recipe, case)
        subject = self._subject(self._network(prediction.seed, prediction.fold), example, answer)
        drawn = example.prepared.labels
        region = drawn.numpy() > 0 if drawn is not None else None
        return Shown(subject=subject, region=region if region is not None and region.any() else None)

    def _network_of(self, seed: int, fold: int) -> torch.nn.Module:
        return members.network_of(self._run.member(seed, fold), self._recipe, self._device)

    def _explained(self, network: torch.nn.Module, example: Example, label: int) -> Seen:
        maps, notes = explained(self._subject(network, example, label))
        arrays = {name: each.cpu().numpy() for name, each in maps.items()}
        return mapped(image_of(example), arrays, notes, example.spacing_mm)

    def _subject(self, network: torch.nn.Module, example: Example, label: int) -> Subject:
        inputs = example.prepared.image[None].to(self._device)
        with torch.no_grad(), followed(network) as course:
            network(inputs)
        spatial = tuple(range(2, inputs.ndim))
        return Subject(
            question=Question(network, label, None, Meter(time.perf_counter)),
            inputs=inputs,
            baseline=inputs.mean(spatial, keepdim=True).expand_as(inputs).contiguous(),
            layer=course.late_layer(network),
        )


class _Drawn:
    """A data set whose pictures have as labels what was drawn of them, so that both are prepared alike."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.name, self.task, self.classes = dataset.name, dataset.task, dataset.classes
        self.cases, self.source = dataset.cases, dataset.source

    def read(self, case: Case) -> Pixels:
        """Read one case. A mask that does not fit was told of when the data set was looked through."""
        pixels = self._dataset.read(case)
        try:
            region = region_of(self._dataset, case)
        except Misconfigured:
            return pixels
        return pixels if region is None else replace(pixels, labels=region.astype(np.uint8))


def _prepared(dataset: Dataset, recipe: Recipe, case: Case) -> Example:
    """One case alone, as it was prepared for the training."""
    alone = Split(method="", dataset_digest="", folds=(Fold(train=(case.key,)),))
    return members.prepared(dataset, recipe, alone)[case.key]


def explained(subject: Subject) -> tuple[dict[str, torch.Tensor], tuple[str, ...]]:
    """What spoke for the answer, by every method of `EXPLAINED`: float32 over the input's axes; and what went wrong."""
    maps: dict[str, torch.Tensor] = {}
    notes = []
    for name, title in EXPLAINED.items():
        method = methods.named(name)
        # A volume takes longer than an image, and is as well told by fewer samples.
        samples = method.USUAL if len(subject.spatial) == 2 else method.FEWEST
        try:
            weights = method.explain(subject, samples, 0).detach().float().clamp(min=0)
        except _TROUBLE as problem:
            notes.append(f"{title} cannot explain it: {(str(problem).splitlines() or ['no reason'])[0][:200]}")
            continue
        if not bool(torch.isfinite(weights).all()):
            notes.append(f"{title} cannot explain it: the map holds values that are not numbers")
            continue
        maps[name] = weights
    return maps, tuple(notes)


def image_of(example: Example) -> NDArray[np.float32]:
    """The prepared image as (…) of its first channel, or as (row, column, 3) of three."""
    array = example.prepared.image.numpy()
    return array.transpose(1, 2, 0) if array.ndim == 3 and len(array) == 3 else array[0]


def mapped(
    image: NDArray[Any],
    maps: Mapping[str, NDArray[np.float32]],
    notes: tuple[str, ...] = (),
    spacing_mm: tuple[float, ...] = (),
) -> Seen:
    """An image with its maps; of a volume the slice that the first map points at, or the middle one."""
    if not _is_volume(image):
        scaled = {name: _scaled(each) for name, each in maps.items()}
        return Seen(image=image, maps=scaled, notes=notes)
    first = next(iter(maps.values()), None)
    place = len(image) // 2
    if first is not None and first.any():
        place = int(first.reshape(len(first), -1).sum(1).argmax())
    scaled = {name: _scaled(each)[place] for name, each in maps.items()}
    return Seen(image=image[place], aspect=_aspect(spacing_mm), where=_where(image, place), maps=scaled, notes=notes)


def labelled(
    image: NDArray[Any], truth: NDArray[np.uint8], said: NDArray[np.uint8], spacing_mm: tuple[float, ...] = ()
) -> Seen:
    """An image with its labels; of a volume the slice with most error, or where most is where there is none.

    Raises:
        Failed: they do not lie on one grid.
    """
    if truth.shape != said.shape:
        raise Failed(f"a mask of {said.shape} where {truth.shape} is true")
    if not _is_volume(image):
        return Seen(image=image, truth=truth, answer=said)
    wrong = (truth != said).reshape(len(truth), -1).sum(1)
    place = int((wrong if wrong.any() else (truth > 0).reshape(len(truth), -1).sum(1)).argmax())
    where = _where(image, place)
    return Seen(image=image[place], aspect=_aspect(spacing_mm), where=where, truth=truth[place], answer=said[place])


def boxed(
    image: NDArray[Any], true: tuple[SeenBox, ...], said: tuple[SeenBox, ...], spacing_mm: tuple[float, ...] = ()
) -> Seen:
    """An image with its boxes; of a volume the slice in the midst of the first true box, else of the first seen."""
    if not _is_volume(image):
        return Seen(image=image, boxes=said, true_boxes=true)
    first = next(iter((*true, *said)), None)
    place = int(np.clip(sum(first.edges[0]) / 2, 0, len(image) - 1)) if first else len(image) // 2

    def here(boxes: tuple[SeenBox, ...]) -> tuple[SeenBox, ...]:
        through = (each for each in boxes if each.edges[0][0] <= place < each.edges[0][1])
        return tuple(SeenBox(label=each.label, score=each.score, edges=each.edges[1:]) for each in through)

    where = _where(image, place)
    return Seen(image=image[place], aspect=_aspect(spacing_mm), where=where, boxes=here(said), true_boxes=here(true))


def _is_volume(image: NDArray[Any]) -> bool:
    return image.ndim == 3 and image.shape[-1] != 3


def _scaled(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    most = float(weights.max(initial=0))
    return (weights / most).astype(np.float32) if most > 0 else weights


def _aspect(spacing_mm: tuple[float, ...]) -> float:
    return spacing_mm[-2] / spacing_mm[-1] if len(spacing_mm) > 1 else 1.0


def _where(image: NDArray[Any], place: int) -> str:
    return f"slice {place + 1} of {len(image)}"
