"""The number of a target: a probability where it is calibrated, else a score; and whether it counts as there."""

from __future__ import annotations

import math
from dataclasses import dataclass

from node.domain.target import Target

#: Numbers closer to 0 or 1 than this have no logit that means anything.
_NEAREST = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """What a finding says of one target: exactly one of the two numbers, and the decision if there is one."""

    probability: float | None
    score: float | None
    present: bool | None

    @property
    def value(self) -> float:
        """The number that is there."""
        found = self.score if self.probability is None else self.probability
        assert found is not None
        return found


def number_of(target: Target, score: float) -> Number:
    """The number that is told of a target, whose model gave `score`, 0–1.

    A calibration is of the number that is told: its logit is that of `score`, which may stem from several images.
    """
    calibration = target.calibration
    if calibration is None:
        return Number(probability=None, score=score, present=_present(target, score))
    scaled = logit(score) / calibration.temperature + calibration.bias
    probability = sigmoid(scaled)
    return Number(probability=probability, score=None, present=_present(target, probability))


def logit(score: float) -> float:
    """The inverse of `sigmoid`, finite for every number from 0 to 1."""
    within = min(max(score, _NEAREST), 1 - _NEAREST)
    return math.log(within / (1 - within))


def sigmoid(value: float) -> float:
    """0 to 1, whatever the value."""
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def _present(target: Target, value: float) -> bool | None:
    return None if target.operating_point is None else value >= target.operating_point
