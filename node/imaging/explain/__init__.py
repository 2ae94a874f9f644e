"""Why a model answered as it did: maps of what spoke for an answer, with their cost and how far to trust them.

A runner that can be explained offers `explainable`. What it hands out are a network and the way to and from its
input; every method of `explain/methods` works on those, in 2-D and in 3-D.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from node.domain.geometry import Grid
from node.errors import Unsuitable
from node.imaging.pipelines import Given


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What a network is given, and where it lies.

    inputs: (1, channel, axis, axis, axis) or (1, channel, axis, axis) float32, on the network's device; the axes run as
    `placed` says.
    """

    inputs: torch.Tensor
    #: The grid of the spatial axes of `inputs`, index → LPS mm; of an image one slice, index → (0, row, column) in
    #: pixels of the image that was given.
    placed: Grid
    #: The grid of what was given, in the same space; of an image (1, rows, columns) and the identity.
    given: Grid
    #: The size that the network saw at a time, along the spatial axes; empty where it saw everything at once.
    window: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Explainable:
    """A network, and what it is given of a study.

    `network` maps (n, channel, …) to (n, target) logits, or to (n, class, …) logits on the same spatial axes; it is in
    evaluation mode and single precision.
    """

    network: torch.nn.Module
    #: (what was given, which of the images, or with `flat` which slice of the volume; else 0) → the network's input.
    #:
    #: Raises:
    #:     Unsuitable, Failed: as `Runner.run`.
    prepare: Callable[[Given, int], Prepared]
    #: Segment or target number → channel of the output, where they differ.
    channels: Mapping[int, int] = field(default_factory=dict)
    #: Whether each class is decided for itself (sigmoid above one half), not all against each other (arg-max).
    multi_label: bool = False
    #: Whether the network is two-dimensional and reads a volume slice by slice.
    flat: bool = False
    #: SHA-256 over the model's files, kept with each map.
    model_digest: str = ""


@runtime_checkable
class CanBeExplained(Protocol):
    """A runner whose network can be looked into."""

    def explainable(self) -> Explainable:
        """Return the network and the way to its input.

        Raises:
            Unsuitable: this model has no such network; says why.
        """
        ...


def explainable_of(runner: object) -> Explainable:
    """Ask a runner for what can be explained of it.

    Raises:
        Unsuitable: nothing; says why.
    """
    if not isinstance(runner, CanBeExplained):
        raise Unsuitable("its pipeline does not let anybody look into its networks")
    return runner.explainable()


def image_prepared(inputs: torch.Tensor, shape: tuple[int, int], to_image: NDArray[np.float64]) -> Prepared:
    """Return an image's input with its place.

    inputs: (1, channel, row, column). shape: rows and columns of the image that was given. to_image: 3×3 float64,
    (row, column, 1) of the input → (row, column, 1) of the image, pixel centres at whole numbers.
    """
    affine = np.eye(4)
    affine[1:, 1:] = to_image
    rows = tuple((float(r[0]), float(r[1]), float(r[2]), float(r[3])) for r in affine)
    identity = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    size = (1, int(inputs.shape[2]), int(inputs.shape[3]))
    return Prepared(inputs=inputs, placed=Grid(size, rows), given=Grid((1, *shape), identity))
