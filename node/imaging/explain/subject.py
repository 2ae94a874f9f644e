"""One answer of one network, as a number that can be asked for again and again."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from node.errors import Unsuitable
from node.imaging.explain.meter import Meter

#: Names of the dictionaries in which PyTorch keeps the hooks of a module.
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class Question(torch.nn.Module):
    """The network as a function with one number an input: a target's logit, or those of a region summed."""

    def __init__(self, network: torch.nn.Module, channel: int, region: torch.Tensor | None, meter: Meter) -> None:
        super().__init__()
        self.network = network
        self.channel = channel
        #: (slice, row, column) or (row, column) float32, 1 where the class was predicted; `None` of a classifier.
        self.region = region
        self.meter = meter

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Map (n, channel, …) to (n,)."""
        self.meter.passes(len(inputs))
        answer = logits_of(self.network(inputs))[:, self.channel]
        return answer if self.region is None else (answer * self.region).flatten(1).sum(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is explained."""

    question: Question
    #: (1, channel, …) float32.
    inputs: torch.Tensor
    #: What stands for "nothing there": the same shape.
    baseline: torch.Tensor
    #: Dotted name of the layer that Grad-CAM looks at; empty where the network shows none.
    layer: str = ""

    @property
    def spatial(self) -> tuple[int, ...]:
        """Size of the input along its spatial axes."""
        return tuple(self.inputs.shape[2:])

    @property
    def batch(self) -> int:
        """How many inputs the network is given at once: images are small, volumes are not."""
        return 8 if len(self.spatial) == 2 else 1

    @property
    def module(self) -> torch.nn.Module:
        """The layer that Grad-CAM looks at.

        Raises:
            Unsuitable: the network shows none.
        """
        if not self.layer:
            raise Unsuitable("the network shows no convolution to look at")
        return self.question.network.get_submodule(self.layer)

    def score(self, inputs: torch.Tensor) -> torch.Tensor:
        """The numbers of (n, channel, …), a batch at a time, as (n,)."""
        with torch.no_grad():
            return torch.cat([self.question(piece) for piece in torch.split(inputs, self.batch)])

    def shuffled(self, seed: int) -> Subject | None:
        """The same with the numbers of each of the network's weights in another order; `None` if that changes nothing.

        The network itself stays as it is: while others wait they may be served by it.
        """
        network = copy.deepcopy(self.question.network)
        generator = torch.Generator().manual_seed(seed)
        moved = False
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.numel() > 1:
                    order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                    parameter.copy_(parameter.flatten()[order].view_as(parameter))
                    moved = True
        question = Question(network, self.question.channel, self.question.region, self.question.meter)
        return replace(self, question=question) if moved else None


def logits_of(output: object) -> torch.Tensor:
    """The tensor of a network's output: itself, or the first of several (deep supervision gives the finest first).

    Raises:
        Unsuitable: there is none.
    """
    if isinstance(output, dict):
        output = next(iter(output.values()), None)
    while isinstance(output, list | tuple) and output:
        output = output[0]
    if not isinstance(output, torch.Tensor) or output.ndim < 2:
        raise Unsuitable("the network's output is no array of logits")
    return output


def last_convolution(network: torch.nn.Module, outputs: int | None = None) -> str:
    """Dotted name of the last convolution, "" if none shows; with `outputs`, of those that have other many channels.

    The last convolution of a segmentation network is its answer already: what it rests on is the one before.
    """
    kinds = (torch.nn.Conv2d, torch.nn.Conv3d)
    found = [(name, module.out_channels) for name, module in network.named_modules() if isinstance(module, kinds)]
    return next((name for name, channels in reversed(found) if channels != outputs), "")


@contextmanager
def laid_open(network: torch.nn.Module) -> Iterator[None]:
    """Inside, no activation overwrites its input, so hooks see what there was; afterwards all is as before.

    Hooks that are set inside and forgotten there are removed.
    """
    opened = [module for module in network.modules() if not isinstance(module, torch.jit.ScriptModule)]
    in_place = [module for module in opened if getattr(module, "inplace", False) is True]
    hooked = [(hooks, set(hooks)) for module in network.modules() for hooks in _hooks_of(module)]
    for module in in_place:
        module.inplace = False  # type: ignore[assignment]
    try:
        yield
    finally:
        for module in in_place:
            module.inplace = True  # type: ignore[assignment]
        for hooks, before in hooked:
            for key in set(hooks) - before:
                del hooks[key]


def _hooks_of(module: torch.nn.Module) -> list[dict[int, object]]:
    return [found for name in _HOOKS if isinstance(found := getattr(module, name, None), dict)]
