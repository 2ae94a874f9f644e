"""Which bundles are read as their plan says instead of step by step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from node.imaging.bundle.configuration import Configuration
from node.imaging.pipelines import Fitting, Pulse
from node.imaging.volume import Volume


class Result(Protocol):
    """What came of one reading."""

    @property
    def labels(self) -> NDArray[np.uint8]:
        """(region, slice, row, column): one region of the bundle's own labels, or several of 0 and 1."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """How it was computed, where that was not the plain way."""
        ...

    @property
    def timings(self) -> Mapping[str, float]:
        """Seconds: `prepare_s`, `model_s`, `finish_s`."""
        ...


class Planned(Protocol):
    """A way to the same labels without MONAI's transforms."""

    def read(self, volumes: Sequence[Volume], pulse: Pulse) -> Result:
        """Read volumes, one a channel, that lie on one grid."""
        ...


def planned(fitting: Fitting, bundle: Configuration, network: torch.nn.Module) -> Planned | None:  # noqa: ARG001
    """Return the faster way; `None` where the bundle's own steps are taken."""
    return None
