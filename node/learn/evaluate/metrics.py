"""Figures of answers: of a confusion matrix, and of the shares that were given to the classes.

A confusion matrix is (…, truth, answer), counts of cases or weights of them; axes in front are kept, so that a
thousand resamples are one call. What is not defined is NaN here, and `None` once it is told (`number`): a rate of no
cases is never 0. Definitions: Fawcett, Pattern Recognition Letters 27 (2006) 861; Brodersen et al., ICPR 2010
(balanced accuracy); Brier, Monthly Weather Review 78 (1950) 1.
"""

from __future__ import annotations

from math import isfinite

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Labels = NDArray[np.int64]


def number(value: float | np.float64) -> float | None:
    """A number as it is told: `None` where it is not defined."""
    return float(value) if isfinite(value) else None


def shares(logits: Numbers) -> Numbers:
    """(case, class) softmax of (case, class) logits."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)


def confusion(truth: Labels, answer: Labels, classes: int, weights: Numbers | None = None) -> Numbers:
    """(truth, answer) sums of weights; with (row, case) weights one matrix a row."""
    pairs = truth * classes + answer
    if weights is None:
        return np.bincount(pairs, minlength=classes**2).reshape(classes, classes).astype(np.float64)
    each = np.zeros((len(pairs), classes**2))
    each[np.arange(len(pairs)), pairs] = 1
    return np.asarray((weights @ each).reshape(*weights.shape[:-1], classes, classes))


def accuracy(matrix: Numbers) -> Numbers:
    """Share of the cases that were answered rightly."""
    return ratio(_right(matrix).sum(axis=-1), matrix.sum(axis=(-2, -1)))


def recall(matrix: Numbers) -> Numbers:
    """Of each class: TP / (TP + FN), also called sensitivity."""
    return ratio(_right(matrix), matrix.sum(axis=-1))


def precision(matrix: Numbers) -> Numbers:
    """Of each class: TP / (TP + FP), also called positive predictive value."""
    return ratio(_right(matrix), matrix.sum(axis=-2))


def specificity(matrix: Numbers) -> Numbers:
    """Of each class: TN / (TN + FP)."""
    of_class, answered = matrix.sum(axis=-1), matrix.sum(axis=-2)
    total = matrix.sum(axis=(-2, -1))[..., np.newaxis]
    false = answered - _right(matrix)
    return ratio(total - of_class - false, total - of_class)


def f1(matrix: Numbers) -> Numbers:
    """Of each class: 2 TP / (2 TP + FP + FN), the harmonic mean of precision and recall."""
    return ratio(2 * _right(matrix), matrix.sum(axis=-1) + matrix.sum(axis=-2))


def balanced_accuracy(matrix: Numbers) -> Numbers:
    """Mean recall of the classes that have cases."""
    return macro(recall(matrix), matrix.sum(axis=-1) > 0)


def macro(values: Numbers, counted: NDArray[np.bool_]) -> Numbers:
    """Mean of (…, class) values over the classes that count; undefined where one of these is."""
    return ratio(np.where(counted, values, 0).sum(axis=-1), counted.sum(axis=-1))


def weighted(values: Numbers, cases: Numbers) -> Numbers:
    """Mean of (…, class) values, each class by its cases; undefined where a class with cases is."""
    return ratio((np.where(cases > 0, values, 0) * cases).sum(axis=-1), cases.sum(axis=-1))


def brier(given: Numbers, truth: Labels) -> Numbers:
    """Of each case: the squared differences of the shares from 0 and 1, summed over the classes (Brier 1950), 0 to 2.

    Of two classes it is that of one of them, 0 to 1: half the sum.
    """
    wanted = np.eye(given.shape[1])[truth]
    summed = ((given - wanted) ** 2).sum(axis=1)
    return np.asarray(summed / 2 if given.shape[1] == 2 else summed)


def log_loss(logits: Numbers, truth: Labels) -> Numbers:
    """Of each case: minus the natural logarithm of the share of its true class; of (case, class) logits."""
    highest = logits.max(axis=1)
    total = highest + np.log(np.exp(logits - highest[:, np.newaxis]).sum(axis=1))
    return np.asarray(total - logits[np.arange(len(truth)), truth])


def ratio(above: Numbers, below: Numbers) -> Numbers:
    """A quotient; NaN where it would be of nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(np.asarray(below) > 0, np.asarray(above, np.float64) / below, np.nan))


def mean(values: Numbers, weights: Numbers) -> Numbers:
    """Mean of the (case) values that are defined, by (row, case) weights: one a row."""
    known = np.isfinite(values)
    return ratio(weights @ np.where(known, values, 0), weights @ known.astype(np.float64))


def _right(matrix: Numbers) -> Numbers:
    return np.diagonal(matrix, axis1=-2, axis2=-1)
