"""What explaining will cost, told before it is done, and what of it fits the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from node.imaging.explain import methods
from node.imaging.explain.faithfulness import MEASURES


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One map that is to be made."""

    method: str
    #: Label of the answer.
    target: str = ""
    samples: int
    #: Of the network, as the method costs.
    forwards: float
    #: Seconds that they take.
    seconds: float
    #: Why it is not what was asked for; empty where it is.
    reduced: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What fits, and what does not."""

    steps: tuple[Step, ...]
    #: What to measure of each map, where the budget lasts: forwards and seconds of everything together.
    measured_forwards: float
    measured_s: float
    #: Sentences on what is left out.
    left_out: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """Of the maps, without what is measured of them."""
        return sum(step.seconds for step in self.steps)

    @property
    def forwards(self) -> float:
        """Of the maps, without what is measured of them."""
        return sum(step.forwards for step in self.steps)

    def sentence(self, forward_s: float, budget_s: float) -> str:
        """The cost for people."""
        return (
            f"{self.forwards:.0f} forwards of {seconds(forward_s)} are {seconds(self.seconds)}, and"
            f" {self.measured_forwards:.0f} ({seconds(self.measured_s)}) to measure how faithful the maps are;"
            f" the budget is {seconds(budget_s)}"
        )


def plan(
    wanted: Sequence[str], network: torch.nn.Module, forward_s: float, budget_s: float, targets: Sequence[str]
) -> Plan:
    """Fit the methods, for each target in turn, into the budget: whole, with fewer samples, or not at all."""
    steps: list[Step] = []
    left_out: list[str] = []
    opaque = isinstance(network, torch.jit.ScriptModule)
    for name in wanted:
        method = methods.named(name)
        if opaque and method.GRADIENTS:
            left_out.append(
                f"{name} was left out: TorchScript does not let gradients be followed through its layers;"
                " occlusion, lime and kernel-shap go without"
            )
            continue
        for target in targets:
            room = budget_s - sum(step.seconds for step in steps)
            step = step_for(name, forward_s, room)
            if step is None:
                least = forward_s * method.forwards(method.FEWEST)
                left_out.append(
                    f"{name} of {target} was left out: it takes {seconds(least)} at least,"
                    f" {seconds(max(0.0, room))} of {seconds(budget_s)} are left"
                )
            else:
                steps.append(replace(step, target=target))
    measured = sum(measure.forwards(step.forwards) for step in steps for measure in MEASURES)
    return Plan(
        steps=tuple(steps),
        measured_forwards=measured,
        measured_s=measured * forward_s,
        left_out=tuple(left_out),
    )


def step_for(name: str, forward_s: float, room_s: float) -> Step | None:
    """One map with as many samples as fit; `None` where not even the fewest do."""
    method = methods.named(name)
    samples = method.USUAL
    while samples >= method.FEWEST:
        forwards = method.forwards(samples)
        if forwards * forward_s <= room_s:
            reduced = f"{samples} samples in place of {method.USUAL}" if samples < method.USUAL else ""
            return Step(method=name, samples=samples, forwards=forwards, seconds=forwards * forward_s, reduced=reduced)
        samples -= 1
    return None


def seconds(value: float) -> str:
    """Two digits, and the unit."""
    return f"{value:.2g} s" if value < 10 else f"{value:.0f} s"
