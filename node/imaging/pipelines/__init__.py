"""Pipelines: how a volume goes through a model's networks. One module each, chosen by the card's `pipeline`.

A pipeline module offers `load`; a new one needs no other change than its file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from node.domain.model_card import ModelCard
from node.domain.study import Instance
from node.errors import Misconfigured
from node.imaging.images import Image
from node.imaging.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a model is given of one study."""

    #: Role → volume; a model that reads one series has it under "".
    volumes: Mapping[str, Volume] = field(default_factory=dict)
    #: Where no volume is needed: the images of the series, one frame each, in order.
    images: tuple[Image, ...] = ()
    #: What is described of the slices of the first role, or of the images; in any order.
    instances: tuple[Instance, ...] = ()

    @property
    def volume(self) -> Volume:
        """The volume whose geometry the result has: that of the first role."""
        return next(iter(self.volumes.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """What a detector saw: a target, its score, and where."""

    target: int
    #: 0–1.
    score: float
    #: (low, high) along each axis, (slice, row, column) or (row, column), in index units of what was given: 0 is the
    #: outer edge of the first, 1 the edge between it and the second.
    edges: tuple[tuple[float, float], ...]
    #: Which of the given images; 0 for a volume.
    image: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a model makes of what it was given."""

    #: (slice, row, column) uint8 of the first role's volume, or of the images; 0 is background, else a segment number.
    labels: NDArray[np.uint8] | None = None
    #: (image, target) float32 logits of a classifier: one row an image, or one alone for all.
    logits: NDArray[np.float32] | None = None
    boxes: tuple[Box, ...] = ()
    #: Segment or target number → disagreement of the model with itself.
    uncertainty: Mapping[int, float] = field(default_factory=dict)
    #: Sentences on how it was computed where that was not the plain way: smaller windows, half precision, the engine.
    notes: tuple[str, ...] = ()
    #: Seconds: `prepare_s`, `model_s` (the networks alone), `finish_s`.
    timings: Mapping[str, float]


class Pulse(Protocol):
    """What a pipeline calls between two pieces of work, often, and from the thread that called it."""

    def beat(self, done: int, total: int) -> None:
        """`done` of `total` windows or images are through. More urgent work may be done before this returns.

        Raises:
            Failed: the time of this study is over.
        """
        ...


class Still:
    """A pulse that nobody feels."""

    def beat(self, done: int, total: int) -> None:
        """Do nothing."""


#: For those who do not wait for anything.
STILL: Pulse = Still()


class Runner(Protocol):
    """A model with its weights loaded."""

    def warm_up(self) -> None:
        """Run the networks once on nothing, so that the first study does not pay for their preparation."""
        ...

    def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
        """Read what is given.

        Raises:
            Unsuitable: it is sound but nothing for this model.
            Failed: the networks gave no usable output; says what is wrong with it.
        """
        ...


@runtime_checkable
class RunsMany(Protocol):
    """What a runner may offer besides: several small studies in one pass of its networks."""

    def run_many(self, givens: Sequence[Given], pulse: Pulse = STILL) -> Sequence[Reading | None]:
        """Read several: what `run` would answer of each, but for the order of sums.

        `None` for one that has to be read alone: it is of another shape, or something is wrong with it, and `run`
        then says what.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """All that loading a model needs."""

    card: ModelCard
    #: The model's folder.
    folder: Path
    #: Role → weights file.
    weights: Mapping[str, Path]
    #: "cpu" or "cuda".
    device: str
    #: SHA-256 over the model's files: an engine's evidence is kept under it.
    model_digest: str = ""
    #: Where engines' evidence is kept; `None`: nowhere.
    evidence: Path | None = None
    #: Whether the bundle's own Python was looked at and trusted.
    own_code: bool = False
    #: Whether to make do with less memory, however long it takes: the process was ended for want of it.
    frugal: bool = False


class Pipeline(Protocol):
    """What a module of this package offers."""

    def load(self, fitting: Fitting) -> Runner:
        """Load the weights once.

        Raises:
            Misconfigured: the card's parameters, segments or weights do not fit the pipeline.
        """
        ...


def check_parameters(card: ModelCard, known: Iterable[str]) -> None:
    """Refuse a card whose `parameters` hold what its pipeline does not know.

    Raises:
        Misconfigured: one is unknown.
    """
    unknown = sorted(card.parameters.keys() - set(known))
    if unknown:
        raise Misconfigured("model.toml", f"parameters.{unknown[0]}", "is unknown to this pipeline", "Remove it")


def names() -> list[str]:
    """Return the names that a card's `pipeline` may have."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def named(name: str) -> Pipeline:
    """Import the pipeline of that name.

    Raises:
        Misconfigured: there is none.
    """
    if name not in names():
        problem = f'there is no pipeline "{name}"'
        raise Misconfigured("model.toml", "pipeline", problem, f"Choose one of {', '.join(names())}")
    return cast("Pipeline", importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))
