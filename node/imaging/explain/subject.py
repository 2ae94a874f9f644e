"""One answer of one network, as a number that can be asked for again and again."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import torch

from node.errors import Unsuitable
from node.imaging.explain.meter import Meter

_CONVOLUTIONS = (torch.nn.Conv2d, torch.nn.Conv3d)
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
    modules = network.named_modules()
    found = [(name, module.out_channels) for name, module in modules if isinstance(module, _CONVOLUTIONS)]
    return next((name for name, channels in reversed(found) if channels != outputs), "")


@dataclass(frozen=True, slots=True)
class Course:
    """What the modules of a network handed on while it was asked once."""

    #: Dotted name of a module that handed on one tensor, and that tensor's shape; in the order in which they ended.
    maps: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def late_layer(self, network: torch.nn.Module) -> str:
        """Dotted name of what the last convolution has become before it is pooled; "" if no convolution shows.

        Normalised and activated, as Grad-CAM's authors have it: what comes out of the convolution itself still has an
        offset in every channel, which normalisation takes off. A module that is asked twice is none: which of its maps
        was meant nobody could say.
        """
        shapes = dict(self.maps)
        places = {name: place for place, (name, _) in enumerate(self.maps)}
        runs = Counter(name for name, _ in self.maps)
        of = [name for name, each in network.named_modules() if isinstance(each, _CONVOLUTIONS) and name in shapes]
        # One that sees the whole image at once says nothing of where.
        wide = [name for name in of if max(shapes[name][2:]) > 1]
        if not wide:
            return last_convolution(network)
        last = max(wide, key=places.__getitem__)
        extent, later = shapes[last][2:], self.maps[places[last] :]
        return next((name for name, shape in reversed(later) if name and runs[name] == 1 and shape[2:] == extent), last)


@contextmanager
def followed(network: torch.nn.Module) -> Iterator[Course]:
    """Inside, what every module hands on is noted; a script shows none."""
    course = Course()

    def note(name: str, _module: torch.nn.Module, _given: object, made: object) -> None:
        if isinstance(made, torch.Tensor):
            course.maps.append((name, tuple(made.shape)))

    plain = [each for each in network.named_modules() if not isinstance(each[1], torch.jit.ScriptModule)]
    hooks = [module.register_forward_hook(partial(note, name)) for name, module in plain]
    try:
        yield course
    finally:
        for hook in hooks:
            hook.remove()


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
