"""Confidence intervals of a mean over replications."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import atan, cos, fsum, pi, sin, sqrt
from statistics import fmean, stdev

_CONFIDENCE = 0.95
#: Halvings of the interval in which a quantile is looked for: more than a double has digits.
_HALVINGS = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A mean over replications and its interval of 95 %."""

    value: float
    low: float
    high: float
    #: How many replications, or studies, it rests on.
    count: int


def estimate(values: Sequence[float]) -> Estimate | None:
    """The mean of independent replications with Student's interval; of fewer than two there is none."""
    if len(values) < 2:
        return None
    value = fmean(values)
    half = quantile(len(values) - 1) * stdev(values) / sqrt(len(values))
    return Estimate(value=value, low=value - half, high=value + half, count=len(values))


@cache
def quantile(degrees: int, confidence: float = _CONFIDENCE) -> float:
    """Of Student's t, the value that |t| stays below with that probability."""
    low, high = 0.0, 1.0
    while within(high, degrees) < confidence:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if within(middle, degrees) < confidence else (low, middle)
    return high


def within(t: float, degrees: int) -> float:
    """The probability that |t| stays below (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = atan(t / sqrt(degrees))
    odd = degrees % 2
    term, terms = (cos(angle) if odd else 1.0), []
    for n in range(odd, degrees - 1, 2):
        terms.append(term)
        term *= cos(angle) ** 2 * (n + 1) / (n + 2)
    total = sin(angle) * fsum(terms)
    return 2 / pi * (angle + total) if odd else total
