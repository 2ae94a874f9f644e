"""Calibration and operating points: the number that is fitted here is the number that the node tells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.domain.finding import Code
from node.domain.model_card import Task
from node.domain.target import Calibration, Target
from node.imaging.bundle.logits import against_the_rest
from node.imaging.tasks.classification import findings
from node.learn.evaluate import calibration, metrics, operating
from node.learn.evaluate.cohort import Cohort
from node.learn.evaluate.figures import Scaling
from node.learn.evaluate.settling import settle
from node.learn.prediction import Prediction
from tests.imaging.tasks.cards import asking, images, numbers

CODES = tuple(Code(f"M-{place}", "99TEST", name) for place, name in enumerate(("benign", "malignant", "normal")))


def predictions(count: int = 240, *, folds: int = 1, sharp: float = 2.0, part: str = "test") -> tuple[Prediction, ...]:
    """Three classes; `sharp` says by how much the network is too sure of itself."""
    random = np.random.default_rng(8)
    truth = random.integers(0, 3, count)
    logits = sharp * (random.normal(size=(count, 3)) + 1.5 * np.eye(3)[truth])
    return tuple(
        Prediction(
            key=f"case {place:03}",
            group=f"group {place // 2}",
            part=part,
            fold=place // 2 % folds,
            truth=int(truth[place]),
            logits=tuple(float(np.float32(each)) for each in logits[place]),
        )
        for place in range(count)
    )


def cohort(judged: Sequence[Prediction], choosing: Sequence[Prediction] | None = None) -> Cohort:
    judged = tuple(judged)
    return Cohort(seed=0, judged=judged, choosing=judged if choosing is None else tuple(choosing))


@pytest.mark.parametrize("exclusive", [True, False])
def test_what_is_calibrated_is_the_very_number_that_the_node_tells(exclusive: bool):
    said = predictions()
    settled = [settle(cohort(said), label, 0.9) for label in range(3)]
    targets = tuple(
        Target(
            index=label,
            label=code.meaning,
            code=code,
            operating_point=settled[label].threshold,
            calibration=Calibration(
                temperature=scaling.temperature, bias=scaling.bias, cases=240, fitted_on="2026-01-01", fitted_at="here"
            ),
        )
        for label, code in enumerate(CODES)
        if (scaling := settled[label].scaling) is not None
    )
    assert len(targets) == 3
    card = asking(Task.CLASSIFICATION, *targets, exclusive=exclusive)
    present = []
    for place, each in enumerate(said):
        row = np.array(each.logits, np.float32)
        reading = numbers([list(row if exclusive else against_the_rest(row))])
        found = findings(card, images((4, 4)), reading)
        told = [one.told[place] for one in settled]
        # A logarithm of sums, in single precision, lies between where the targets do not exclude each other.
        assert [one.probability for one in found] == pytest.approx(told, abs=1e-12 if exclusive else 1e-6)
        present.append([one.present for one in found])
    for label, one in enumerate(settled):
        decided = np.array([each[label] for each in present])
        assert decided[one.positive].mean() >= 0.9 - (0 if exclusive else 0.02)
        if exclusive:
            assert decided.tolist() == (one.told >= one.threshold).tolist()


def test_a_network_that_is_too_sure_is_brought_back():
    random = np.random.default_rng(0)
    honest = random.normal(0, 2, 4000)
    positive = random.random(4000) < 1 / (1 + np.exp(-honest))
    # Too sure by 2.5, and shifted by 1: z = 2.5 honest + 1, so that T = 2.5 and b = -0.4.
    shares = 1 / (1 + np.exp(-(2.5 * honest + 1)))
    scaling = calibration.fit(shares, positive)
    assert scaling is not None
    assert scaling.temperature == pytest.approx(2.5, rel=0.1)
    assert scaling.bias == pytest.approx(-0.4, abs=0.1)
    assert (scaling.cases, scaling.positives) == (4000, int(positive.sum()))
    edges, weights = calibration.equal_width(), np.ones((1, 4000))
    before = calibration.ece(shares, positive, weights, edges)[0]
    told = calibration.probability(shares, scaling)
    after = calibration.ece(told, positive, weights, edges)[0]
    assert after < 0.03 < 0.08 < before
    assert after < 2.5 * calibration.by_chance(told, edges)


def test_cases_that_are_parted_without_error_leave_a_temperature():
    shares = np.repeat([0.01, 0.99], 20)
    scaling = calibration.fit(shares, shares > 0.5)
    assert scaling is not None
    assert 0.1 < scaling.temperature < 10
    assert calibration.fit(shares[:24], shares[:24] > 0.5) is None, "four positive cases show nothing"


@pytest.mark.parametrize("wrong", [0, 1, 3])
@pytest.mark.parametrize("sure", [1e-15, 1e-9, 1e-6, 1e-3, 0.3])
def test_however_sure_a_network_is_of_itself_it_is_told_only_what_so_many_cases_show(sure: float, wrong: int):
    positive = np.arange(40) >= 20
    shares = np.where(positive, 1 - sure, sure)
    shares[20 : 20 + wrong] = sure
    scaling = calibration.fit(shares, positive)
    assert scaling is not None
    told = calibration.probability(shares, scaling)
    # Of 20 that look like it, so many have it, by Platt's counts; never 0 and 1.
    assert told[:20] == pytest.approx((20 / 22 + wrong * 21 / 22) / (20 + wrong), abs=1e-5)
    assert told[-1] == pytest.approx(21 / 22, abs=1e-5)
    # It is where the loss is least.
    slope, bias = 1 / scaling.temperature, scaling.bias
    z, wanted = calibration.logit(shares), np.where(positive, 21 / 22, 1 / 22)

    def loss(slope: float, bias: float) -> float:
        return float((np.logaddexp(0, slope * z + bias) - wanted * (slope * z + bias)).mean())

    assert all(
        loss(slope, bias) <= loss(slope * one, bias + other) + 1e-12 for one in (0.9, 1.1) for other in (-0.1, 0, 0.1)
    )


def test_no_case_is_calibrated_by_its_own_group():
    said = predictions(folds=4)
    shares = metrics.shares(np.array([each.logits for each in said]))[:, 1]
    positive = np.array([each.truth == 1 for each in said])
    folds = [each.fold for each in said]
    plain = calibration.crossed(shares, positive, folds)
    assert plain is not None
    # What becomes true of the cases of one fold changes every fold but that one.
    lied = np.where(np.array(folds) == 2, ~positive, positive)
    other = calibration.crossed(shares, lied, folds)
    assert other is not None
    same = np.isclose(plain, other, atol=1e-12)
    assert same[np.array(folds) == 2].all()
    assert not same[np.array(folds) != 2].any()


def test_parts_tear_no_group_apart_and_hold_positives_each():
    said = predictions()
    groups = [each.group for each in said]
    positive = np.array([each.truth == 1 for each in said])
    parts = calibration.parted(groups, positive)
    assert len(set(zip(groups, parts, strict=True))) == len(set(groups))
    assert {part for part, is_positive in zip(parts, positive, strict=True) if is_positive} == set(range(10))


def test_the_error_of_two_bins_by_hand():
    said = np.array([0.1, 0.3, 0.8, 0.9])
    positive = np.array([False, True, True, True])
    edges = np.array([0.0, 0.5, 1.0])
    # Below: 0.2 said, 0.5 found; above: 0.85 said, 1 found; half of the cases each.
    found = calibration.ece(said, positive, np.ones((1, 4)), edges)[0]
    assert found == pytest.approx((0.3 + 0.15) / 2)
    bins = calibration.reliability(said, positive, edges)
    assert [(each.cases, each.said, each.found) for each in bins] == [
        (2, pytest.approx(0.2), 0.5),
        (2, pytest.approx(0.85), 1.0),
    ]
    assert np.isnan(calibration.ece(said, positive, np.zeros((1, 4)), edges)[0])


def test_the_parts_of_the_brier_score_make_it_where_bins_are_of_one_number():
    said = np.repeat([0.05, 0.35, 0.95], 40)
    positive = np.random.default_rng(1).random(120) < said
    bins = calibration.reliability(said, positive, calibration.equal_width())
    parts = calibration.decomposed(bins)
    assert parts is not None
    assert parts[0] - parts[1] + parts[2] == pytest.approx(((said - positive) ** 2).mean())


def test_bins_of_equal_mass_hold_equally_many():
    said = np.random.default_rng(3).beta(0.5, 3, 1000)
    counts = [each.cases for each in calibration.reliability(said, said > 0.2, calibration.equal_mass(said))]
    assert len(counts) == 10
    assert max(counts) - min(counts) <= 1


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=50), st.floats(0.05, 1))
def test_the_threshold_is_the_highest_that_reaches_the_sensitivity(scores: list[float], wanted: float):
    said = np.array(scores)
    positive = np.ones(len(said), bool)
    at = operating.threshold(said, positive, wanted)
    assert at is not None
    weights = np.ones((1, len(said)))
    assert operating.sensitivity_at(said, positive, weights, at)[0] >= wanted - 1e-9
    # A little higher than the six digits that it keeps, it reaches too few.
    assert operating.sensitivity_at(said, positive, weights, at * (1 + 2e-5) + 1e-12)[0] < wanted


def test_a_threshold_without_positive_cases_is_none():
    assert operating.threshold(np.array([0.1]), np.array([False]), 0.9) is None


def test_the_interval_of_wilson():
    # 81 of 263: Newcombe, Statistics in Medicine 17 (1998) 857, table I, method 3.
    assert operating.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert operating.wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert operating.wilson(0, 0) == (0.0, 1.0)


def test_predictive_values_follow_the_prevalence():
    (one,) = operating.predictive(0.9, 0.8, (0.1,))
    assert one.positive_predictive_value == pytest.approx(0.09 / (0.09 + 0.18))
    assert one.negative_predictive_value == pytest.approx(0.72 / (0.72 + 0.01))
    (nobody,) = operating.predictive(0.0, 1.0, (0.1,))
    assert nobody.positive_predictive_value is None
    assert operating.predictive(None, 0.8) == ()


def test_net_benefit_of_calling_everyone_positive_is_that_of_a_threshold_that_all_reach():
    said, positive = np.array([0.6, 0.7, 0.2, 0.9]), np.array([True, False, False, True])
    low, half = operating.net_benefit(said, positive, (0.1, 0.5))
    assert low.model == pytest.approx(low.everyone)
    assert half.model == pytest.approx(2 / 4 - 1 / 4)
    assert half.everyone == pytest.approx(0.0)


def test_what_validated_chooses_and_what_tests_is_held_out():
    judged, chosen = predictions(100), predictions(240, part="validation")
    one = settle(cohort(judged, chosen), 1, 0.9)
    again = settle(cohort(chosen), 1, 0.9)
    assert one.scaling == again.scaling
    assert one.threshold == again.threshold
    assert one.held_out_at is None
    assert one.held_out is not None
    assert np.array_equal(one.held_out, one.told)
    assert again.held_out_at is not None
    assert isinstance(again.scaling, Scaling)
