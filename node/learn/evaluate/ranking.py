"""Figures of an order: how well scores put the positive cases above the negative ones.

All weigh their cases, (row, case), so that a thousand resamples cost one sorting: see `bootstrap`. Undefined is NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from node.learn.evaluate.metrics import Numbers, ratio

Positive = NDArray[np.bool_]
#: A curve keeps so many points, spread evenly over its length.
MOST_POINTS = 200


def area_and_precision(scores: Numbers, positive: Positive, weights: Numbers) -> tuple[Numbers, Numbers]:
    """AUC and average precision for each row of weights.

    AUC: the chance that a positive case has the higher score, of equal ones a half: the Mann-Whitney statistic (Hanley
    and McNeil, Radiology 143 (1982) 29). Average precision: Σ (R_n - R_n-1) P_n over the distinct scores from the
    highest, without interpolation (Zhu 2004; the area under the steps of the precision-recall curve).
    """
    true, false = _counts(scores, positive, weights)
    total_true, total_false = true[:, -1:], false[:, -1:]
    more_true, more_false = np.diff(true, axis=1), np.diff(false, axis=1)
    middle = (true[:, 1:] + true[:, :-1]) / 2
    area = ratio((more_false * middle).sum(axis=1), (total_true * total_false)[:, 0])
    answered = true[:, 1:] + false[:, 1:]
    precision = np.where(answered > 0, true[:, 1:] / np.where(answered > 0, answered, 1), 0)
    average = ratio((more_true * precision).sum(axis=1), total_true[:, 0])
    return area, average


def auc(scores: Numbers, positive: Positive) -> float:
    """AUC of cases that weigh the same; NaN where one side is missing."""
    return float(area_and_precision(scores, positive, np.ones((1, len(scores))))[0][0])


def average_precision(scores: Numbers, positive: Positive) -> float:
    """Average precision of cases that weigh the same; NaN without a positive one."""
    return float(area_and_precision(scores, positive, np.ones((1, len(scores))))[1][0])


def delong(scores: Numbers, positive: Positive) -> float:
    """Variance of the AUC (DeLong et al., Biometrics 44 (1988) 837); NaN with fewer than two cases on a side.

    By midranks (Sun and Xu, IEEE Signal Processing Letters 21 (2014) 1389). Cases are taken as independent.
    """
    above, below = scores[positive], scores[~positive]
    if min(len(above), len(below)) < 2:
        return float("nan")
    together = rankdata(np.concatenate([above, below]))
    of_positive = (together[: len(above)] - rankdata(above)) / len(below)
    of_negative = 1 - (together[len(above) :] - rankdata(below)) / len(above)
    return float(of_positive.var(ddof=1) / len(above) + of_negative.var(ddof=1) / len(below))


def roc(scores: Numbers, positive: Positive) -> Numbers:
    """(point, 2) false positive rate and sensitivity, from (0, 0) to (1, 1); empty where one side is missing."""
    true, false = _counts(scores, positive, np.ones((1, len(scores))))
    if not (true[0, -1] and false[0, -1]):
        return np.zeros((0, 2))
    return _thinned(np.stack([false[0] / false[0, -1], true[0] / true[0, -1]], axis=1))


def precision_recall(scores: Numbers, positive: Positive) -> Numbers:
    """(point, 2) recall and precision at each distinct score from the highest; empty without a positive case."""
    true, false = _counts(scores, positive, np.ones((1, len(scores))))
    if not true[0, -1]:
        return np.zeros((0, 2))
    true, false = true[0, 1:], false[0, 1:]
    return _thinned(np.stack([true / true[-1], true / (true + false)], axis=1))


def _counts(scores: Numbers, positive: Positive, weights: Numbers) -> tuple[Numbers, Numbers]:
    """(row, distinct score + 1) weights of the positives and negatives at or above each score, from the highest."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))[: len(ordered)]
    sorted_weights = weights[:, order]
    true = np.cumsum(sorted_weights * positive[order], axis=1)[:, ends]
    every = np.cumsum(sorted_weights, axis=1)[:, ends]
    start = np.zeros((len(weights), 1))
    return np.hstack([start, true]), np.hstack([start, every - true])


def _thinned(points: Numbers) -> Numbers:
    """The same curve with fewer points: corners first, then spread evenly; the ends stay."""
    if len(points) > 2:
        before, after = np.diff(points[:-1], axis=0), np.diff(points[1:], axis=0)
        bends = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-15
        points = points[np.concatenate([[True], bends, [True]])]
    if len(points) <= MOST_POINTS:
        return points
    chosen = np.unique(np.linspace(0, len(points) - 1, MOST_POINTS).round().astype(int))
    return np.asarray(points[chosen])
