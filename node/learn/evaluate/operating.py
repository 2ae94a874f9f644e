"""Where a model is set to work: the threshold for a sensitivity, and what a reader may expect there."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10, sqrt

import numpy as np
from numpy.typing import NDArray

from node.learn.evaluate.figures import NetBenefit, Predictive, Share
from node.learn.evaluate.metrics import Numbers, ratio

Positive = NDArray[np.bool_]
#: Shares of patients for which predictive values are told: screening to a referral clinic.
PREVALENCES = (0.01, 0.05, 0.1, 0.2, 0.5)
#: Thresholds of a decision curve.
THRESHOLDS = tuple(round(each / 100, 2) for each in range(1, 100))
#: Quantile of the normal distribution for 95 %.
_Z = 1.959963984540054
#: Digits that a threshold keeps, rounded down: what chose it still reaches it, written down and read again.
_DIGITS = 6


def threshold(said: Numbers, positive: Positive, sensitivity: float) -> float | None:
    """The highest threshold that so large a share of the positive cases reaches; `None` without positive cases.

    It is cut after six digits, never rounded up.
    """
    of_positive = np.sort(said[positive])[::-1]
    if not len(of_positive):
        return None
    # A share such as 0.9 of 10 is 9, whatever the last bit of the product says.
    wanted = max(1, ceil(sensitivity * len(of_positive) - 1e-9))
    return _cut(float(of_positive[wanted - 1]))


def sensitivity_at(said: Numbers, positive: Positive, weights: Numbers, at: Numbers | float) -> Numbers:
    """Share of the positive cases that reach the threshold, for each row of weights; `at` may differ by case."""
    return ratio(weights @ (positive & (said >= at)), weights @ positive)


def specificity_at(said: Numbers, positive: Positive, weights: Numbers, at: Numbers | float) -> Numbers:
    """Share of the negative cases that do not reach the threshold, likewise."""
    return ratio(weights @ (~positive & (said < at)), weights @ ~positive)


def wilson(count: int, of: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson, JASA 22 (1927) 209); from 0 to 1 where it is of nothing."""
    if not of:
        return 0.0, 1.0
    share, square = count / of, _Z**2
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = _Z * sqrt(share * (1 - share) / of + square / (4 * of**2)) / (1 + square / of)
    low, high = max(0.0, middle - half), min(1.0, middle + half)
    return (0.0 if not count else low), (1.0 if count == of else high)


def share(count: int, of: int) -> Share:
    """So many of so many, with Wilson's interval."""
    low, high = wilson(count, of)
    return Share(count=count, of=of, low=low if of else None, high=high if of else None)


def predictive(
    sensitivity: float | None, specificity: float | None, prevalences: Sequence[float] = PREVALENCES
) -> tuple[Predictive, ...]:
    """Positive and negative predictive values by Bayes' theorem, where so many of the patients have it."""
    if sensitivity is None or specificity is None:
        return ()
    found = []
    for prevalence in prevalences:
        true, false = sensitivity * prevalence, (1 - specificity) * (1 - prevalence)
        missed, right = (1 - sensitivity) * prevalence, specificity * (1 - prevalence)
        found.append(
            Predictive(
                prevalence=prevalence,
                positive_predictive_value=true / (true + false) if true + false > 0 else None,
                negative_predictive_value=right / (right + missed) if right + missed > 0 else None,
            )
        )
    return tuple(found)


def net_benefit(said: Numbers, positive: Positive, thresholds: Sequence[float] = THRESHOLDS) -> tuple[NetBenefit, ...]:
    """TP / n - FP / n × t / (1 - t) at each threshold (Vickers and Elkin, Medical Decision Making 26 (2006) 565)."""
    count = len(said)
    if not count:
        return ()
    base = float(positive.mean())
    found = []
    for at in thresholds:
        odds = at / (1 - at)
        reached = said >= at
        true, false = float((reached & positive).sum()) / count, float((reached & ~positive).sum()) / count
        found.append(NetBenefit(threshold=at, model=true - false * odds, everyone=base - (1 - base) * odds))
    return tuple(found)


def _cut(value: float) -> float:
    if value <= 0:
        return 0.0
    places = _DIGITS - 1 - floor(log10(value))
    cut = float(f"{value:.{places}f}")
    return cut if cut <= value else float(f"{cut - 10.0**-places:.{places}f}")
