"""Engines: ways to lead a network over a volume. One module of `ways` each; which is used is measured, model by model.

A new one needs no other change than its file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

import torch

from node.domain.engine import PLAIN
from node.imaging.bundle.plan import Plan, Window
from node.imaging.engines import ways
from node.imaging.engines.windows import Forward, Triple


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """An engine, built for one network."""

    name: str
    #: Windows, float32 on `device`, to answers.
    forward: Forward
    #: (axis, axis, axis) of a volume → the windows that are laid over it.
    window: Callable[[Triple], Window]
    #: Windows given to the network at once.
    batch: int
    device: torch.device
    #: In what it computes.
    dtype: str = "float32"
    #: It is made for `batch` windows of one extent: fewer are filled up, others are not to be given.
    fixed: bool = False
    #: What a reader is told of it; empty: it is the plain way.
    sentence: str = ""


class Engine(Protocol):
    """What a module of `ways` offers."""

    NAME: str

    def available(self, device: torch.device) -> str:
        """Say why it cannot be used here; empty if it can."""
        ...

    def build(self, network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
        """Prepare a network, in evaluation mode and single precision, which is left as it is.

        Raises:
            RuntimeError, TypeError, ValueError: this network cannot be run so.
        """
        ...


def names() -> list[str]:
    """Return the names of all engines, the plain one first."""
    found = [module.name.replace("_", "-") for module in pkgutil.iter_modules(ways.__path__)]
    return sorted(found, key=lambda name: (name != PLAIN, name))


def named(name: str) -> Engine:
    """Import the engine of that name."""
    return cast("Engine", importlib.import_module(f"{ways.__name__}.{name.replace('-', '_')}"))
