"""How far a map is to be trusted: figures kept with it. A measure is a module, and costs forwards as a map does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from node.imaging.explain.faithfulness import deletion, infidelity, randomisation, sensitivity
from node.imaging.explain.subject import Subject

#: Explains another subject, or another input of the same, in the same way.
Again = Callable[[Subject], torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A map, what it is of, and how to make another."""

    subject: Subject
    #: float32 of the input's spatial axes; above 0 speaks for the answer.
    weights: torch.Tensor
    again: Again
    #: What making another costs, in forwards.
    forwards: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure."""

    name: str
    #: What a map that costs so many forwards costs to be measured.
    forwards: Callable[[float], float]
    #: Figures by name; empty where there is nothing to say.
    figures: Callable[[Explained], Mapping[str, float]]


#: In the order in which they are taken while the budget lasts: first whether the map has to do with the model at all.
MEASURES = (
    Measure(
        name="model randomisation",
        forwards=randomisation.forwards,
        figures=lambda each: randomisation.figures(each.subject, each.weights, each.again, each.seed),
    ),
    Measure(
        name="deletion and insertion",
        forwards=deletion.forwards,
        figures=lambda each: deletion.figures(each.subject, each.weights),
    ),
    Measure(
        name="infidelity",
        forwards=infidelity.forwards,
        figures=lambda each: infidelity.figures(each.subject, each.weights, each.seed),
    ),
    Measure(
        name="max-sensitivity",
        forwards=sensitivity.forwards,
        figures=lambda each: sensitivity.figures(each.subject, each.again, each.seed),
    ),
)
