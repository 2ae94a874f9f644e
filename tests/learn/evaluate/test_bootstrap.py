"""Intervals: drawn by group, repeatable, and right as often as they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.learn.evaluate import metrics, ranking
from node.learn.evaluate.bootstrap import Draws, Method, draw, intervals
from node.learn.evaluate.metrics import Numbers


def names(count: int, each: int = 1) -> list[str]:
    return [f"group {place // each}" for place in range(count)]


def mean_of(values: Numbers):
    return lambda weights: {"mean": metrics.mean(values, weights)}


def width(draws: Draws, groups: list[str], values: Numbers) -> float:
    found = intervals(draws, [(groups, mean_of(values))])["mean"]
    assert found.low is not None
    assert found.high is not None
    return found.high - found.low


def test_the_interval_of_a_mean_is_that_of_theory():
    values = np.random.default_rng(0).normal(size=400)
    draws = draw(names(400), replicates=2000)
    expected = 2 * 1.96 * values.std() / 20
    assert width(draws, names(400), values) == pytest.approx(expected, rel=0.1)


def test_cases_of_one_patient_count_as_one():
    values = np.repeat(np.random.default_rng(0).normal(size=100), 4)
    torn = width(draw(names(400)), names(400), values)
    together = width(draw(names(400, 4)), names(400, 4), values)
    # Four equal cases a patient: the interval is that of 100 values, twice as wide as of 400.
    assert together / torn == pytest.approx(2, rel=0.15)


def test_a_seed_draws_the_same_again():
    first, again, other = (draw(names(50), replicates=20, seed=seed).counts for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_resample_lacks_a_class():
    strata = [0] * 40 + [1] * 3
    counts = draw(names(43), strata, replicates=200).counts
    assert (counts[1:201, :].sum(axis=1) == 43).all()
    columns = draw(names(43), strata).columns(names(43))
    assert (counts[1:201][:, columns[40:]].sum(axis=1) == 3).all()


def test_a_class_of_one_group_is_drawn_with_the_others():
    counts = draw(names(21), [0] * 20 + [1], replicates=200).counts[1:201]
    column = draw(names(21)).columns(["group 20"])[0]
    assert set(np.unique(counts[:, column])) > {0.0, 1.0}
    assert (counts.sum(axis=1) == 21).all()


def test_several_seeds_are_drawn_together():
    values = np.random.default_rng(0).normal(size=(2, 200))
    draws = draw(names(200))
    found = intervals(draws, [(names(200), mean_of(values[0])), (names(200), mean_of(values[0]))])["mean"]
    # The second seed says the same: nothing is learnt of other patients by it.
    alone = intervals(draws, [(names(200), mean_of(values[0]))])["mean"]
    assert (found.low, found.high, found.spread) == (alone.low, alone.high, 0.0)
    both = intervals(draws, [(names(200), mean_of(each)) for each in values])["mean"]
    assert both.value == pytest.approx(values.mean())
    assert both.spread == pytest.approx(values.mean(axis=1).std(ddof=1))
    assert both.seeds == pytest.approx(values.mean(axis=1))


def test_what_is_not_defined_has_no_interval():
    found = intervals(draw(names(5)), [(names(5), mean_of(np.full(5, np.nan)))])["mean"]
    assert (found.value, found.low, found.high, found.seeds) == (None, None, None, (None,))


def test_a_share_that_never_varies_has_the_interval_of_wilson_and_another_figure_none():
    values = np.ones(12)
    draws = draw(names(12, 2))
    found = intervals(draws, [(names(12, 2), mean_of(values))], rests_on={"mean": 6})["mean"]
    # Six groups, all of them right: not more than a share of 0.61 is shown by that.
    assert (found.value, found.low, found.high) == (1.0, pytest.approx(0.6097, abs=1e-4), 1.0)
    never = intervals(draws, [(names(12, 2), mean_of(0 * values))], rests_on={"mean": 6})["mean"]
    assert (never.low, never.high) == (0.0, pytest.approx(1 - 0.6097, abs=1e-4))
    # A distance of one and the same length, or the Dice of one case alone, shows no spread and no certainty either.
    for value, rests_on in ((7.0, {}), (0.87, {"mean": 6}), (0.0, {})):
        same = intervals(draws, [(names(12, 2), mean_of(value * values))], rests_on=rests_on)["mean"]
        assert (same.value, same.low, same.high) == (pytest.approx(value), None, None)


def test_bca_moves_the_interval_of_a_skewed_figure_and_shares_keep_their_range():
    values = np.random.default_rng(4).exponential(size=60)
    draws = draw(names(60), replicates=4000)
    plain, corrected = (
        intervals(draws, [(names(60), mean_of(values))], method)["mean"] for method in (Method.PERCENTILE, Method.BCA)
    )
    assert plain.high is not None
    assert corrected.high is not None
    assert plain.low is not None
    assert corrected.low is not None
    assert corrected.high > plain.high
    assert corrected.low > plain.low


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(4, 40), st.sampled_from(list(Method)))
def test_an_interval_holds_its_figure(seed: int, count: int, method: Method):
    random = np.random.default_rng(seed)
    positive = np.arange(count) % 3 == 0
    scores = np.round(random.normal(size=count) + positive, 1)

    def statistic(weights: Numbers) -> dict[str, Numbers]:
        area, average = ranking.area_and_precision(scores, positive, weights)
        return {"auc": area, "ap": average}

    draws = draw(names(count), positive.tolist(), replicates=60, seed=seed)
    rests_on = dict.fromkeys(("auc", "ap"), int(positive.sum()))
    for figure in intervals(draws, [(names(count), statistic)], method, rests_on=rests_on).values():
        assert figure.value is not None
        assert figure.low is not None
        assert figure.high is not None
        assert figure.low <= figure.value <= figure.high


def test_nineteen_of_twenty_intervals_hold_the_true_auc():
    # Normal scores, one apart: the true AUC is Φ(1 / √2). Full simulation: benchmarks/intervals.py.
    true, held, trials = 0.7602499, 0, 120
    positive = np.arange(120) % 3 == 0
    for trial in range(trials):
        scores = np.random.default_rng(trial).normal(size=120) + positive

        def statistic(weights: Numbers, scores: Numbers = scores) -> dict[str, Numbers]:
            return {"auc": ranking.area_and_precision(scores, positive, weights)[0]}

        found = intervals(draw(names(120), positive.tolist(), replicates=300, seed=trial), [(names(120), statistic)])
        low, high = found["auc"].low, found["auc"].high
        assert low is not None
        assert high is not None
        held += low <= true <= high
    # 95 % of 120 is 114; as few as 106 come by chance once in 500 times.
    assert 106 <= held < trials
