"""Ways to explain. One module each, chosen by its name with dashes; a new one needs no other change than its file."""

from __future__ import annotations

import importlib
import pkgutil
from typing import Protocol, cast

import torch

from node.errors import Misconfigured
from node.imaging.explain.subject import Subject


class Method(Protocol):
    """What a module of this package offers."""

    #: Whether it follows gradients back through the network, which TorchScript does not show.
    GRADIENTS: bool
    #: Whether it looks at one layer, and whether it puts a baseline in place of the input.
    LAYER: bool
    BASELINE: bool
    #: Samples taken where the budget allows, and the fewest that still say something.
    USUAL: int
    FEWEST: int

    def forwards(self, samples: int) -> float:
        """What so many samples cost, in forwards of the network."""
        ...

    def explain(self, subject: Subject, samples: int, seed: int) -> torch.Tensor:
        """How much each voxel spoke for (above 0) or against the answer: float32, of the input's spatial axes.

        The same seed gives the same map.

        Raises:
            Unsuitable: the network does not let it; says why.
        """
        ...


def names() -> list[str]:
    """Return the names that a card's `explanation.methods` may hold."""
    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(__path__))


def named(name: str) -> Method:
    """Import the method of that name.

    Raises:
        Misconfigured: there is none.
    """
    if name not in names():
        problem = f'there is no method "{name}"'
        raise Misconfigured("model.toml", "explanation.methods", problem, f"Choose among {', '.join(names())}")
    return cast("Method", importlib.import_module(f"{__name__}.{name.replace('-', '_')}"))
