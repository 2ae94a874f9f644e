"""Pipelines: how a volume goes through a model's networks. One module each, chosen by the card's `pipeline`.

A pipeline module offers `load`; a new one needs no other change than its file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from node.domain.model_card import ModelCard
from node.errors import Misconfigured
from node.imaging.volume import Volume


@dataclass(frozen=True, slots=True)
class Segmentation:
    """What a pipeline makes of one volume."""

    #: (slice, row, column) of the source volume; 0 is background, else the card's segment number.
    labels: NDArray[np.uint8]
    #: Seconds: `prepare_s`, `model_s` (the networks alone), `finish_s`.
    timings: dict[str, float]


class Runner(Protocol):
    """A model with its weights loaded."""

    def warm_up(self) -> None:
        """Run the networks once on nothing, so that the first study does not pay for their preparation."""
        ...

    def run(self, volume: Volume) -> Segmentation:
        """Segment one volume.

        Raises:
            Unsuitable: the volume is sound but nothing for this model.
            Failed: the networks gave no usable output; says what is wrong with it.
        """
        ...


class Pipeline(Protocol):
    """What a module of this package offers."""

    def load(self, card: ModelCard, weights: Mapping[str, Path], device: str) -> Runner:
        """Load the weights (role → file) once; `device` is "cpu" or "cuda".

        Raises:
            Misconfigured: the card's parameters, segments or weights do not fit the pipeline.
        """
        ...


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
