"""A case looked at again with a model as the node runs it: its answer, and why."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from node.domain.model_card import Task
from node.errors import Misconfigured, Unsuitable
from node.imaging import doubt
from node.imaging.explain import Explainable, Prepared, explainable_of
from node.imaging.explain.asking import Asked, ask, differentiable
from node.imaging.explain.meter import Meter
from node.imaging.explain.placing import at_source, one_window
from node.imaging.explain.wanted import Answer
from node.imaging.pipelines import STILL, Given
from node.imaging.resample import resample
from node.learn.case import Dataset, Pixels, region_of
from node.learn.evaluate.evaluation import Failure
from node.learn.explained.measuring import Shown
from node.learn.prediction import Prediction, SeenBox
from node.learn.reading import Model, Names, given_of
from node.learn.report.looking import Seen, boxed, explained, labelled, mapped

#: Share of a pixel that a region takes where the pixel belongs to it.
_HALF = 0.5


class ModelLooker:
    """Looks with a loaded model at the cases of a data set as they come."""

    def __init__(self, model: Model, dataset: Dataset, names: Names, classes: Sequence[str]) -> None:
        """`classes` are those of the evaluation, and `names` what the model calls them."""
        self._model, self._dataset, self._names, self._classes = model, dataset, names, tuple(classes)
        self._cases = {case.key: case for case in dataset.cases}

    def look(self, failure: Failure) -> Seen | None:
        """See `Looker`."""
        case = self._cases.get(failure.key)
        if case is None:
            return None
        pixels = self._dataset.read(case)
        given = given_of(self._model.card, pixels, case.key)
        if self._model.card.task is Task.CLASSIFICATION:
            return self._explained(given, failure)
        reading = doubt.read(self._model.card, self._model.runner, self._model.others, given, STILL)
        image, spacing_mm = _shown(given)
        if self._model.card.task is Task.DETECTION:
            label_of = {target.index: label for label, target in self._names.targets.items()}
            said = (SeenBox(label=label_of[box.target], score=box.score, edges=box.edges) for box in reading.boxes)
            true = (SeenBox(label=box.label, score=1.0, edges=box.edges) for box in pixels.boxes)
            return boxed(image, tuple(true), tuple(said), spacing_mm)
        return self._outlined(image, reading.labels, pixels, spacing_mm)

    def show(self, prediction: Prediction, answer: int) -> Shown:
        """See `node.learn.explained.measuring.Shower`."""
        case = self._cases[prediction.key]
        number = self._names.channels.get(answer)
        if number is None:
            raise Unsuitable("the model has no number for the class that was answered")
        given = given_of(self._model.card, self._dataset.read(case), case.key)
        asked = self._asked(given, number, self._classes[answer])
        try:
            region = region_of(self._dataset, case)
        except Misconfigured:
            # It was told of when the data set was looked through.
            region = None
        return Shown(subject=asked.subject, region=None if region is None else shown_of(region, asked.prepared))

    def _outlined(
        self, image: np.ndarray, labels: np.ndarray | None, pixels: Pixels, spacing_mm: tuple[float, ...]
    ) -> Seen | None:
        if labels is None or pixels.labels is None:
            return None
        table = np.zeros(256, np.uint8)
        for number, label in self._names.segments.items():
            table[number] = label
        said = table[labels]
        return labelled(image, pixels.labels, said[0] if said.ndim > pixels.labels.ndim else said, spacing_mm)

    def _explained(self, given: Given, failure: Failure) -> Seen:
        """Of the class that was answered; where none stands for it, of the first that the model knows."""
        targets = self._names.targets
        place = self._classes.index(failure.answer)
        target = targets.get(place) or targets[min(targets)]
        image, spacing_mm = _shown(given)
        asked = self._asked(given, target.index, target.label)
        maps, notes = explained(asked.subject)
        placed = {name: at_source(each, asked.prepared) for name, each in maps.items()}
        if not given.volumes:
            placed = {name: each[0] for name, each in placed.items()}
        return mapped(image, placed, notes, spacing_mm)

    @cached_property
    def _explainable(self) -> Explainable:
        explainable = explainable_of(self._model.runner)
        # The runner reads in inference mode, in which no gradient can be followed.
        return replace(explainable, network=differentiable(explainable.network))

    def _asked(self, given: Given, number: int, label: str) -> Asked:
        explainable = self._explainable
        answer = Answer(number=number, label=label, image=_middle(given) if explainable.flat else 0)
        prepared = one_window(explainable.prepare(given, answer.image), None)
        meter, layer = Meter(time.perf_counter), self._model.card.explanation.layer
        return ask(explainable, prepared, answer, meter, layer, segments=False)


def shown_of(region: NDArray[np.bool_], prepared: Prepared) -> NDArray[np.bool_] | None:
    """A region of a single image where the network is shown it; `None` where it is shown nothing of it."""
    values = torch.from_numpy(region.astype(np.float32))[None]
    found = resample(values, prepared.given, prepared.placed, outside=0.0)[0].numpy() > _HALF
    return found if found.any() else None


def _shown(given: Given) -> tuple[np.ndarray, tuple[float, ...]]:
    """The image, or the volume with its spacing."""
    if given.volumes:
        return given.volume.array, given.volume.grid.spacing_mm
    return given.images[0].array, ()


def _middle(given: Given) -> int:
    return len(given.volume.array) // 2 if given.volumes else 0
