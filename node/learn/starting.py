"""Weights that a training begins from: where they come from, which layers take them, and how those are let go."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from node.catalogue.weights import locate
from node.errors import Misconfigured, Unsuitable
from node.imaging.bundle.network import weights_of
from node.learn.recipe import Start

#: The least share of a network's weights that a start has to bring.
_LEAST = 0.5
_KEY = "start.weights"


def begin_from(network: nn.Module, start: Start, folder: Path) -> tuple[str, ...]:
    """Fill in the weights that have the same name and shape; return the names of those that begin anew.

    `folder`: what a "file:" is beside of, the recipe's.

    Raises:
        Misconfigured: the file is not there or cannot be read, or is of another network.
    """
    try:
        file = locate(start.weights, folder, folder / "recipe.toml", _KEY)
    except Unsuitable as error:
        raise Misconfigured("recipe.toml", _KEY, str(error).rstrip("."), "Or leave the table [start] out") from error
    weights = weights_of(file)
    translated = getattr(network, "translated", None)
    if callable(translated):
        weights = translated(weights)
    own = network.state_dict()
    fitting = {name: each for name, each in weights.items() if name in own and own[name].shape == each.shape}
    brought = sum(each.numel() for each in fitting.values())
    total = sum(each.numel() for each in own.values())
    if brought < _LEAST * total:
        problem = f"{file.name} fits {brought / max(1, total):.0%} of the network, by name and shape"
        raise Misconfigured("recipe.toml", _KEY, problem, "Name the weights of this network")
    network.load_state_dict(fitting, strict=False)
    return tuple(name for name in own if name not in fitting)


def stages_of(network: nn.Module) -> list[nn.Module]:
    """The parts of a network from the image to the answer, each of which may learn at its own pace."""
    stages = getattr(network, "stages", None)
    if isinstance(stages, Sequence):
        return list(stages)
    return [each for each in network.children() if any(True for _ in each.parameters())]


def paces(network: nn.Module, start: Start | None) -> list[tuple[list[nn.Parameter], float]]:
    """Parameters of each stage that learns, and the factor of their learning rate; the last stage but one has 1."""
    if start is None:
        return [(list(network.parameters()), 1.0)]
    *earlier, last = stages_of(network)
    found = [(list(last.parameters()), start.last)]
    for behind, stage in enumerate(reversed(earlier[start.frozen_stages :])):
        found.append((list(stage.parameters()), start.decay**behind))
    return found


def let_go(network: nn.Module, start: Start | None, epoch: int) -> None:
    """Make a network ready for an epoch of its training: which stages learn, and what keeps its statistics."""
    network.train()
    if start is None:
        return
    earlier = stages_of(network)[:-1]
    for place, stage in enumerate(earlier):
        is_frozen = epoch < start.frozen_epochs or place < start.frozen_stages
        for parameter in stage.parameters():
            parameter.requires_grad_(not is_frozen)
        if start.keeps_statistics or is_frozen:
            for part in stage.modules():
                if isinstance(part, _BatchNorm):
                    part.eval()


def freshly(layer: nn.Module, generator: torch.Generator) -> None:
    """Begin a last layer with small weights, so that what came before it is not shaken by its first answers."""
    for name, each in layer.named_parameters():
        with torch.no_grad():
            if name.endswith("bias"):
                each.zero_()
            else:
                each.normal_(0.0, 0.01, generator=generator)
