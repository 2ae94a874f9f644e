"""A bundle's configuration, understood: from its `inference` file to a plan in our own terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from node.imaging.bundle.answer import answer_of, window_of
from node.imaging.bundle.constants import Constants
from node.imaging.bundle.recognition import Entry, chain, step_of
from node.imaging.bundle.terms import (
    Activation,
    Blend,
    CropForeground,
    Discretisation,
    Inversion,
    Largest,
    NotUnderstood,
    Orient,
    Pad,
    Plan,
    Respace,
    Returned,
    Scale,
    Standardise,
    Step,
    Stretch,
    Window,
)

__all__ = [
    "Activation",
    "Blend",
    "CropForeground",
    "Discretisation",
    "Inversion",
    "Largest",
    "NotUnderstood",
    "Orient",
    "Pad",
    "Plan",
    "Respace",
    "Returned",
    "Scale",
    "Standardise",
    "Step",
    "Stretch",
    "Window",
    "plan_of",
]


def plan_of(configuration: Mapping[str, Any]) -> Plan:
    """Read the plan out of a bundle's `inference` configuration, as it stands in its JSON or YAML file.

    Nothing in it is run: references and constants are looked up, everything else is left.

    Raises:
        NotUnderstood: some step is unknown, or says something that has no place in a plan.
    """
    constants = Constants(configuration)
    steps = [step for entry in chain(constants, "preprocessing") if (step := step_of(entry)) is not None]
    _check(steps)
    answer = answer_of(chain(constants, "postprocessing"), moved=any(_moves(step) for step in steps))
    if answer.returned is Returned.LABELS and answer.inversion is Inversion.LINEAR and _respaces(steps):
        raise NotUnderstood("labels are brought back by linear interpolation: there are values between them")
    window = window_of(Entry(constants, constants.section("inferer")))
    return Plan(
        steps=tuple(steps),
        window=window,
        activation=answer.activation,
        discretisation=answer.discretisation,
        threshold=answer.threshold,
        inversion=answer.inversion,
        returned=answer.returned,
        largest=answer.largest,
        merge=answer.merge,
    )


def _moves(step: Step) -> bool:
    return isinstance(step, Orient | Respace | CropForeground | Pad)


def _respaces(steps: list[Step]) -> bool:
    return any(isinstance(step, Respace) for step in steps)


def _check(steps: list[Step]) -> None:
    """Refuse an order of steps on geometry that is not one sampling of the source."""
    if sum(isinstance(step, Respace) for step in steps) > 1:
        raise NotUnderstood("the volume is resampled more than once")
    cut = padded = False
    for step in steps:
        if (cut or padded) and isinstance(step, Respace):
            raise NotUnderstood("the volume is cropped or padded before it is resampled")
        if padded and isinstance(step, Orient):
            raise NotUnderstood("the volume is turned after it is padded")
        cut, padded = cut or isinstance(step, CropForeground), padded or isinstance(step, Pad)
