"""A MONAI bundle in the folder `bundle` beside the card, run as it was published.

Segmentation gives the mask in source geometry, classification the logits of its targets, detection boxes in index units
of the series. A two-dimensional network reads the images one by one, or the slices of a volume.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.inferers.inferer import SliceInferer
from numpy.typing import NDArray

from node.domain.engine import EngineEvidence
from node.domain.model_card import Task
from node.errors import Failed, Misconfigured, Unsuitable
from node.imaging.bundle import configuration, network, steps
from node.imaging.bundle.boxes import boxes_of
from node.imaging.bundle.configuration import Configuration
from node.imaging.bundle.exact import Answer, Exact, from_image, from_volumes
from node.imaging.bundle.explained import explainable
from node.imaging.bundle.fast import planned
from node.imaging.bundle.labels import EMPTY, LABELS, Naming, naming, segments
from node.imaging.bundle.logits import SOFTMAX, against_the_rest
from node.imaging.bundle.plan import NotUnderstood
from node.imaging.bundle.together import MOST_SEGMENTS, Together
from node.imaging.engines.measuring import Progress
from node.imaging.engines.planned import Planned
from node.imaging.explain import Explainable
from node.imaging.pipelines import STILL, Box, Fitting, Given, Pulse, Reading, Runner, check_parameters
from node.imaging.resample import resample
from node.imaging.volume import Volume

#: Parameter of the card: another configuration of the bundle than "inference", without its ending.
CONFIGURATION = "configuration"
#: Role of the weights that are read where a card has several.
_ROLE = "network"


class Bundle:
    """A bundle, loaded, with its own steps."""

    def __init__(self, fitting: Fitting, exact: Exact, bundle: Configuration) -> None:
        card = fitting.card
        self._model_digest = fitting.model_digest
        self._card = card
        self._exact = exact
        self._together = Together(exact)
        self._planned, self._told = planned(fitting, bundle, exact.steps.network)
        self._flat = _is_flat(bundle)
        self._colour = int(bundle.described("inputs").get("num_channels") or 1) == 3
        self._naming = naming(card, bundle) if card.task is Task.SEGMENTATION else Naming(values=())
        # Where the card says that its targets exclude each other, their softmax is made from the plain numbers.
        self._relative = bundle.head == SOFTMAX and not card.exclusive

    def warm_up(self) -> None:
        """Do nothing: a bundle does not say how small an input may be, and its first windows are its warming up."""

    def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
        """Read volumes or images (see `Runner`)."""
        if self._planned is not None and given.volumes:
            try:
                return self._as_planned(self._planned, given, pulse)
            except NotUnderstood:
                pass  # such a series has no place in the plan: the bundle's own steps know no exception
        sources, notes = self._sources(given)
        self._exact.begin(pulse, len(sources))
        return self._read(given, sources, notes, _Done(self._exact.predict))

    def run_many(self, givens: Sequence[Given], pulse: Pulse = STILL) -> Sequence[Reading | None]:
        """See `RunsMany`: those that are one image, or one volume that is not read as planned."""
        readings: list[Reading | None] = [None] * len(givens)
        if len(self._card.segments) > MOST_SEGMENTS:
            return readings
        single = dict[int, tuple[list[MetaTensor], tuple[str, ...]]]()
        for place, given in enumerate(givens):
            if self._planned is None or not given.volumes:
                with suppress(Failed, Unsuitable):  # told when it is read alone
                    sources, notes = self._sources(given)
                    single |= {place: (sources[0], notes)} if len(sources) == 1 else {}
        answers = self._together.predict([source for source, _ in single.values()], pulse)
        for (place, (source, notes)), answer in zip(single.items(), answers, strict=True):
            pulse.beat(place, len(givens))
            if answer is not None:
                with suppress(Failed):
                    known = partial(self._known, givens[place], source, notes)
                    readings[place] = self._together.settled(answer, known)
        return readings

    def _known(self, given: Given, source: list[MetaTensor], notes: tuple[str, ...], answer: Answer) -> Reading:
        return self._read(given, [source], notes, _Done(lambda _: answer))

    def _read(
        self, given: Given, sources: Sequence[Sequence[MetaTensor]], notes: tuple[str, ...], done: _Done
    ) -> Reading:
        if self._card.task is Task.SEGMENTATION:
            reading = self._segmented(given, sources, done)
        elif self._card.task is Task.CLASSIFICATION:
            reading = Reading(logits=self._logits(sources, done), timings={})
        else:
            reading = Reading(boxes=self._boxes(given, sources, done), timings={})
        every = dict.fromkeys((*self._exact.steps.notes, *self._told, *notes, *reading.notes))
        return Reading(
            labels=reading.labels,
            logits=reading.logits,
            boxes=reading.boxes,
            notes=tuple(every),
            timings=done.timings(),
        )

    def _as_planned(self, way: Planned, given: Given, pulse: Pulse) -> Reading:
        """The same labels, without a step of MONAI's."""
        volumes, notes = self._volumes(given)
        result = way.read(volumes, pulse)
        labels, more = segments(result.labels, self._naming)
        every = dict.fromkeys((*self._exact.steps.notes, *notes, *result.notes, *more))
        return Reading(labels=labels, notes=tuple(every), timings=result.timings)

    def measure(self, cases: Sequence[Path], measured_at: datetime, progress: Progress) -> EngineEvidence:
        """See `imaging.engines.measuring.CanBeMeasured`."""
        if self._planned is None:
            raise Failed("the bundle's own steps are taken, one after the other: there is nothing to choose")
        return self._planned.measure(cases, measured_at, progress)

    def explainable(self) -> Explainable:
        """See `imaging.explain.CanBeExplained`."""

        def sources(given: Given, place: int) -> Sequence[MetaTensor]:
            return self._sources(given)[0][place]

        return explainable(
            self._card, self._exact, self._naming, sources, flat=self._flat, model_digest=self._model_digest
        )

    def _segmented(self, given: Given, sources: Sequence[Sequence[MetaTensor]], done: _Done) -> Reading:
        parts, notes = list[NDArray[np.uint8]](), list[str]()
        for each in sources:
            output, more = self._exact.finish(done.predict(each))
            parts.append(_array(output))
            notes += more
        whole = np.stack(parts, axis=1) if self._flat_on(given) else parts[0]
        labels, more = segments(whole, self._naming)
        return Reading(labels=labels, notes=(*notes, *more), timings={})

    def _logits(self, sources: Sequence[Sequence[MetaTensor]], done: _Done) -> NDArray[np.float32]:
        rows = []
        for each in sources:
            output = done.predict(each).output
            if not isinstance(output, torch.Tensor) or not output.ndim or output.numel() != output.shape[-1]:
                found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
                raise Failed(f"the network gave {found}, not a number for each target")
            row = np.asarray(output.detach().cpu().float().numpy(), dtype=np.float32).ravel()
            last = max(target.index for target in self._card.targets)
            if last >= row.size:
                raise Failed(f"the network gave {row.size} numbers, and the card names number {last}")
            rows.append(against_the_rest(row) if self._relative else row)
        return np.stack(rows)

    def _boxes(self, given: Given, sources: Sequence[Sequence[MetaTensor]], done: _Done) -> tuple[Box, ...]:
        found = list[Box]()
        known = {target.index for target in self._card.targets}
        for image, each in enumerate(sources):
            answer = done.predict(each)
            found += boxes_of(answer.output, answer.given, answer.source, image=0 if given.volumes else image)
        undeclared = {box.target for box in found} - known
        if undeclared:
            raise Failed(f"the detector found number {min(undeclared)}, which is no target of the card")
        return tuple(found)

    def _flat_on(self, given: Given) -> bool:
        """Are there several answers, one an image, to be put together?"""
        return self._flat or not given.volumes

    def _sources(self, given: Given) -> tuple[list[list[MetaTensor]], tuple[str, ...]]:
        """What the bundle loads, one list for each answer, and notes."""
        if not given.volumes:
            return [[self._picture(image.array)] for image in _of_one_size(given, self._card.task)], ()
        volumes, notes = self._volumes(given)
        first = volumes[0]
        if self._flat:
            slices = range(first.grid.shape[0])
            return [[self._picture(each.array[place]) for each in volumes] for place in slices], notes
        arrays = [each.array for each in volumes]
        if len(self._exact.steps.loading.keys) > 1:
            return [[from_volumes([array], first.grid) for array in arrays]], notes
        return [[from_volumes(arrays, first.grid)]], notes

    def _volumes(self, given: Given) -> tuple[list[Volume], tuple[str, ...]]:
        """The volumes in the order of the channels, on one grid."""
        volumes, notes = _on_one_grid(given, [role.name for role in self._card.roles])
        real = [each.array for each in volumes if each.array.dtype.kind == "f"]
        if not all(np.isfinite(array.sum(dtype=np.float64)) for array in real):
            raise Unsuitable("the volume holds values that are not numbers")
        return volumes, notes

    def _picture(self, array: NDArray[Any]) -> MetaTensor:
        if self._colour and array.ndim == 2:
            array = np.repeat(array[..., None], 3, axis=-1)
        picture = from_image(array)
        if isinstance(self._exact.steps.inferer, SliceInferer):
            picture = MetaTensor(picture[..., None], meta=dict(picture.meta))
            picture.meta["spatial_shape"] = np.array(picture.shape)
        return picture


class _Done:
    """Has each part answered, and sums the seconds of that."""

    def __init__(self, predict: Callable[[Sequence[MetaTensor]], Answer]) -> None:
        self._predict = predict
        self._started = time.perf_counter()
        self._prepare_s = self._model_s = 0.0

    def predict(self, sources: Sequence[MetaTensor]) -> Answer:
        answer = self._predict(sources)
        self._prepare_s += answer.prepare_s
        self._model_s += answer.model_s
        return answer

    def timings(self) -> dict[str, float]:
        rest = time.perf_counter() - self._started - self._prepare_s - self._model_s
        # What was answered before this began took no time since.
        return {"prepare_s": self._prepare_s, "model_s": self._model_s, "finish_s": max(0.0, rest)}


def load(fitting: Fitting) -> Runner:
    """Read, gate and load the bundle (see `Pipeline`)."""
    card = fitting.card
    check_parameters(card, (LABELS, EMPTY, CONFIGURATION))
    bundle = configuration.read(
        fitting.folder,
        task=card.task,
        device=fitting.device,
        own_code=fitting.own_code,
        name=str(card.parameters.get(CONFIGURATION, "inference")),
    )
    resolved = steps.resolved(bundle, own_code=fitting.own_code)
    network.fill(resolved.network, _weights(fitting))
    if card.task is Task.DETECTION and resolved.detector is None:
        raise Misconfigured("model.toml", "task", "the bundle has no detector", "Say what it does: see its metadata")
    return Bundle(fitting, Exact(resolved, torch.device(fitting.device)), bundle)


def _weights(fitting: Fitting) -> Path:
    if not fitting.weights:
        raise Misconfigured("model.toml", "weights", "none is given", 'Name "file:bundle/models/model.pt"')
    return fitting.weights.get(_ROLE, next(iter(fitting.weights.values())))


def _is_flat(bundle: Configuration) -> bool:
    """Whether the network reads one image at a time: two-dimensional, and no inferer that goes through the slices."""
    inferer = bundle.content.get("inferer")
    target = inferer.get("_target_", "") if isinstance(inferer, dict) else ""
    shape = bundle.described("inputs").get("spatial_shape")
    return isinstance(shape, list) and len(shape) == 2 and not str(target).endswith("SliceInferer")


def _array(output: torch.Tensor) -> NDArray[Any]:
    """(channel, column, row[, slice]) → (channel, [slice,] row, column)."""
    values: NDArray[Any] = torch.as_tensor(output).detach().cpu().numpy()
    return np.moveaxis(values, range(1, values.ndim), range(values.ndim - 1, 0, -1))


def _of_one_size(given: Given, task: Task) -> Sequence[Any]:
    if not given.images:
        raise Unsuitable("there is neither a volume nor an image")
    sizes = {image.array.shape[:2] for image in given.images}
    if task is Task.SEGMENTATION and len(sizes) > 1:
        raise Unsuitable(f"the images are of {len(sizes)} different sizes: no mask holds them all")
    return given.images


def _on_one_grid(given: Given, roles: Sequence[str]) -> tuple[list[Volume], tuple[str, ...]]:
    """The volumes in the order of the channels, all on the grid of the first, and a note where one was resampled."""
    names = list(roles) or list(given.volumes)
    absent = [name for name in names if name not in given.volumes]
    if absent:
        raise Unsuitable(f"the series for {', '.join(absent)} is missing")
    first = given.volumes[names[0]]
    volumes, notes = [first], []
    for name in names[1:]:
        volume = given.volumes[name]
        if volume.grid.coincides_with(first.grid):
            volumes.append(volume)
            continue
        values = torch.from_numpy(np.array(volume.array, dtype=np.float32))
        laid = resample(values, volume.grid, first.grid, outside=float(values.min())).numpy()
        volumes.append(Volume(laid, first.grid, first.sop_instance_uids, first.frame_numbers))
        notes.append(f"the series for {name} was laid on the grid of the series for {names[0]}")
    return volumes, tuple(notes)
