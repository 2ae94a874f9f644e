"""Figures of answers and of ranks, against what is computed by hand, and against scikit-learn where it is there."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.learn.evaluate import metrics, ranking
from node.learn.evaluate.classifying import rates

TRUTH = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
ANSWER = np.array([0, 0, 0, 1, 1, 1, 2, 2, 0, 0])


def of(truth: np.ndarray, answer: np.ndarray, classes: int) -> dict[str, float | None]:
    found = rates(metrics.confusion(truth, answer, classes))
    return {name: metrics.number(np.float64(value)) for name, value in found.items()}


def test_rates_of_ten_cases_counted_by_hand():
    found = of(TRUTH, ANSWER, 3)
    assert found["accuracy"] == pytest.approx(6 / 10)
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 2 / 3 + 1 / 3) / 3)
    assert [found[f"{label} precision"] for label in range(3)] == pytest.approx([3 / 5, 2 / 3, 1 / 2])
    assert [found[f"{label} recall"] for label in range(3)] == pytest.approx([3 / 4, 2 / 3, 1 / 3])
    assert [found[f"{label} specificity"] for label in range(3)] == pytest.approx([4 / 6, 6 / 7, 6 / 7])
    assert [found[f"{label} f1"] for label in range(3)] == pytest.approx([6 / 9, 4 / 6, 2 / 5])
    assert found["f1_weighted"] == pytest.approx((4 * 6 / 9 + 3 * 4 / 6 + 3 * 2 / 5) / 10)
    assert found["recall_weighted"] == found["accuracy"]


def test_what_is_not_defined_is_nothing_and_not_zero():
    found = of(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]), 3)
    assert (found["2 recall"], found["2 precision"], found["2 f1"]) == (None, None, None)
    # A class without cases takes no part in the mean.
    assert found["recall_macro"] == pytest.approx(0.5)
    never = of(np.array([0, 0, 1, 1]), np.array([0, 0, 0, 0]), 2)
    assert (never["1 precision"], never["precision_macro"], never["1 f1"]) == (None, None, 0.0)
    nothing = of(np.zeros(0, int), np.zeros(0, int), 2)
    assert set(nothing.values()) == {None}


def test_auc_counts_pairs_and_half_of_ties():
    scores, positive = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True])
    # Pairs: 0.4 > 0.1, 0.4 = 0.4, 0.8 > both.
    assert ranking.auc(scores, positive) == pytest.approx(3.5 / 4)
    # Thresholds 0.8, 0.4, 0.1: recall 1/2, 1, 1 with precision 1, 2/3, 1/2.
    assert ranking.average_precision(scores, positive) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert metrics.number(np.float64(ranking.auc(scores, np.ones(4, bool)))) is None
    assert metrics.number(np.float64(ranking.average_precision(scores, np.zeros(4, bool)))) is None
    assert metrics.number(np.float64(ranking.auc(np.zeros(0), np.zeros(0, bool)))) is None


def test_a_curve_runs_from_corner_to_corner():
    scores, positive = np.array([0.1, 0.4, 0.4, 0.8]), np.array([False, True, False, True])
    assert ranking.roc(scores, positive).tolist() == [[0, 0], [0, 0.5], [0.5, 1], [1, 1]]
    assert ranking.precision_recall(scores, positive).tolist() == [[0.5, 1], [1, 2 / 3], [1, 0.5]]


def test_a_thinned_curve_keeps_its_area():
    random = np.random.default_rng(5)
    positive = random.random(4000) < 0.3
    scores = random.normal(size=4000) + positive
    x, y = ranking.roc(scores, positive).T
    assert len(x) <= ranking.MOST_POINTS
    assert np.trapezoid(y, x) == pytest.approx(ranking.auc(scores, positive), abs=2e-3)


def test_the_variance_of_delong_is_that_of_its_definition():
    random = np.random.default_rng(1)
    positive = np.arange(30) < 12
    scores = np.round(random.normal(size=30) + positive, 1)
    above, below = scores[positive], scores[~positive]
    wins = (above[:, None] > below) + 0.5 * (above[:, None] == below)
    expected = wins.mean(axis=1).var(ddof=1) / 12 + wins.mean(axis=0).var(ddof=1) / 18
    assert ranking.delong(scores, positive) == pytest.approx(expected)
    assert np.isnan(ranking.delong(scores[:1], positive[:1]))


def test_losses_of_shares():
    logits = np.log(np.array([[0.7, 0.2, 0.1], [0.25, 0.25, 0.5]]))
    truth = np.array([0, 1])
    assert metrics.log_loss(logits, truth) == pytest.approx(-np.log([0.7, 0.25]))
    assert metrics.brier(np.exp(logits), truth) == pytest.approx([0.09 + 0.04 + 0.01, 0.0625 + 0.5625 + 0.25])
    # Of two classes it is the score of one of them.
    assert metrics.brier(np.array([[0.3, 0.7]]), np.array([1])) == pytest.approx([0.09])
    assert metrics.log_loss(np.array([[1e4, -1e4]]), np.array([1])) == pytest.approx([2e4])


cases = st.lists(st.tuples(st.integers(-8, 8), st.booleans()), min_size=2, max_size=40)


@settings(max_examples=60, deadline=None)
@given(cases)
def test_auc_knows_the_order_alone(drawn: list[tuple[int, bool]]):
    scores = np.array([each[0] for each in drawn], float)
    positive = np.array([each[1] for each in drawn])
    plain = ranking.auc(scores, positive)
    assert plain == pytest.approx(ranking.auc(np.arctan(scores) * 3 + 7, positive), nan_ok=True)
    assert plain == pytest.approx(1 - ranking.auc(-scores, positive), nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(cases, st.integers(0, 2**32 - 1))
def test_a_case_that_weighs_two_is_a_case_that_is_there_twice(drawn: list[tuple[int, bool]], seed: int):
    scores = np.array([each[0] for each in drawn], float)
    positive = np.array([each[1] for each in drawn])
    times = np.random.default_rng(seed).integers(0, 4, len(drawn))
    area, average = ranking.area_and_precision(scores, positive, times[None].astype(float))
    assert area[0] == pytest.approx(ranking.auc(np.repeat(scores, times), np.repeat(positive, times)), nan_ok=True)
    expected = ranking.average_precision(np.repeat(scores, times), np.repeat(positive, times))
    assert average[0] == pytest.approx(expected, nan_ok=True)


def test_all_agrees_with_scikit_learn():
    if importlib.util.find_spec("sklearn") is None:
        pytest.skip("scikit-learn is not installed here: it is compared in an environment of its own (extra train)")
    from sklearn import metrics as theirs

    random = np.random.default_rng(3)
    truth = random.integers(0, 3, 400)
    logits = np.round(random.normal(size=(400, 3)) + 1.3 * np.eye(3)[truth], 1)
    shares, answer = metrics.shares(logits), logits.argmax(axis=1)
    found = of(truth, answer, 3)
    assert found["accuracy"] == pytest.approx(theirs.accuracy_score(truth, answer))
    assert found["balanced_accuracy"] == pytest.approx(theirs.balanced_accuracy_score(truth, answer))
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = theirs.precision_recall_fscore_support(truth, answer, average=average)
        mine = [found[f"{name}_{average}"] for name in ("precision", "recall", "f1")]
        assert mine == pytest.approx([precision, recall, f1])
    for label in range(3):
        positive = truth == label
        assert ranking.auc(shares[:, label], positive) == pytest.approx(
            theirs.roc_auc_score(positive, shares[:, label])
        )
        assert ranking.average_precision(shares[:, label], positive) == pytest.approx(
            theirs.average_precision_score(positive, shares[:, label])
        )
        assert ((shares[:, label] - positive) ** 2).mean() == pytest.approx(
            theirs.brier_score_loss(positive, shares[:, label])
        )
    assert metrics.log_loss(logits, truth).mean() == pytest.approx(theirs.log_loss(truth, shares))
    assert metrics.confusion(truth, answer, 3).tolist() == theirs.confusion_matrix(truth, answer).tolist()
