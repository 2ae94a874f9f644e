"""Weights that a training begins from: where they come from, which layers take them, and how those are let go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
        Misconfigured: the file is not there or cannot be read, or is of another network: it brings too little of it,
            or a layer of another shape before the last stage.
    """
    try:
        file = locate(start.weights, folder, folder / "recipe.toml", _KEY)
    except Unsuitable as error:
        raise Misconfigured("recipe.toml", _KEY, str(error).rstrip("."), "Or leave the table [start] out") from error
    try:
        weights = weights_of(file)
    except Misconfigured as error:
        raise Misconfigured("recipe.toml", _KEY, error.problem, "Name a file of weights that is whole") from error
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
    _refuse_other_shapes(network, own, weights, file.name)
    network.load_state_dict(fitting, strict=False)
    fresh = tuple(name for name in own if name not in fitting)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            # Where those weights had no bias, as torchvision's residual networks, none has to be the same network.
            if name in fresh and name.endswith(".bias") and f"{name.removesuffix('bias')}weight" in fitting:
                parameter.zero_()
    return fresh


def _refuse_other_shapes(
    network: nn.Module, own: Mapping[str, torch.Tensor], weights: Mapping[str, torch.Tensor], file: str
) -> None:
    """See that only the last stage begins anew for its shape; the first one would, of images with fewer channels."""
    *earlier, _ = stages_of(network)
    of_earlier = {id(each) for stage in earlier for each in stage.parameters()}
    for name, parameter in network.named_parameters():
        given = weights.get(name)
        if id(parameter) in of_earlier and given is not None and given.shape != own[name].shape:
            problem = f"{name} of {file} is {tuple(given.shape)}, that of the network {tuple(own[name].shape)}"
            remedy = "Prepare images as those weights saw them (preparation.channels = 3), or make the network alike"
            raise Misconfigured("recipe.toml", _KEY, problem, remedy)


def stages_of(network: nn.Module) -> list[nn.Module]:
    """The parts of a network from the image to the answer, each of which may learn at its own pace."""
    stages = getattr(network, "stages", None)
    if isinstance(stages, Sequence):
        return list(stages)
    return [each for each in network.children() if any(True for _ in each.parameters())]


def paces(network: nn.Module, start: Start | None) -> list[tuple[list[nn.Parameter], float]]:
    """Parameters of each stage that learns, and the factor of their learning rate; the last stage but one has 1.

    Raises:
        Misconfigured: more stages are to stay as they came than there are.
    """
    if start is None:
        return [(list(network.parameters()), 1.0)]
    *earlier, last = _parameters(network)
    _refuse_frozen(start, len(earlier))
    found = [(last, start.last)]
    for behind, stage in enumerate(reversed(earlier[start.frozen_stages :])):
        found.append((stage, start.decay**behind))
    return found


def _parameters(network: nn.Module) -> list[list[nn.Parameter]]:
    """Parameters of each stage; what belongs to none of them, such as the places of a transformer, to the first."""
    found = [list(stage.parameters()) for stage in stages_of(network)]
    known = {id(each) for stage in found for each in stage}
    found[0] += [each for each in network.parameters() if id(each) not in known]
    return found


def _refuse_frozen(start: Start, stages: int) -> None:
    key = "start.frozen_stages" if start.frozen_stages > stages else "start.frozen_epochs"
    if start.frozen_stages > stages or (start.frozen_epochs and not stages):
        problem = f"the network has {stages} stages before its last one"
        raise Misconfigured("recipe.toml", key, problem, "Ask for fewer" if stages else "Leave it out")


def let_go(network: nn.Module, start: Start | None, epoch: int) -> None:
    """Make a network ready for an epoch of its training: which stages learn, and what keeps its statistics."""
    network.train()
    if start is None:
        return
    frozen: list[nn.Module] = [network] if start.keeps_statistics else []
    for place, (stage, parameters) in enumerate(zip(stages_of(network)[:-1], _parameters(network), strict=False)):
        is_frozen = epoch < start.frozen_epochs or place < start.frozen_stages
        for parameter in parameters:
            parameter.requires_grad_(not is_frozen)
        frozen += [stage] if is_frozen else []
    for part in (part for stage in frozen for part in stage.modules()):
        if isinstance(part, _BatchNorm):
            part.eval()


def freshly(network: nn.Module, names: Sequence[str], generator: torch.Generator) -> None:
    """Begin those of `names` that are in the last stage with small weights: what came before is not shaken by them."""
    last = {id(each) for each in stages_of(network)[-1].parameters()}
    for name, each in network.named_parameters():
        if name in names and id(each) in last:
            with torch.no_grad():
                if each.ndim > 1:
                    each.normal_(0.0, 0.01, generator=generator)
                elif name.endswith("bias"):
                    each.zero_()
