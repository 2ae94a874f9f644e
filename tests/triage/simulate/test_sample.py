from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from node.domain.priority import Lane
from node.domain.scenario import Arrivals, Disease, Duration, Kind, Run, Scenario, Spread
from node.triage.simulate.sample import draw
from tests.triage.simulate.rooms import model, room

MANY = Run(studies=40_000, seed=11)


def test_studies_come_as_often_as_the_hours_say() -> None:
    by_hour = tuple(float(hour % 4) for hour in range(24))
    scenario = replace(room(0.1, run=MANY), arrivals=Arrivals(per_hour=6.0, by_hour=by_hour))
    arrived = draw(scenario, 0).arrived_min
    assert (np.diff(arrived) >= 0).all()
    assert len(arrived) / arrived[-1] == pytest.approx(0.1, rel=0.03)
    counts = np.bincount((arrived % 1440 // 60).astype(int), minlength=24)
    assert counts[::4].sum() == 0
    expected = len(arrived) * np.array(by_hour) / sum(by_hour)
    assert (np.abs(counts - expected) <= 4 * np.sqrt(expected) + 1).all()


def test_each_stream_is_its_own_so_that_scenarios_compare() -> None:
    without, with_model = room(0.08, run=MANY), room(0.08, models=[model()], run=MANY)
    one, other = draw(without, 2), draw(with_model, 2)
    assert (one.arrived_min == other.arrived_min).all()
    assert (one.reading_min == other.reading_min).all()
    assert (one.arrived_min != draw(without, 3).arrived_min).all()


def test_a_model_that_says_yes_or_no_is_as_sensitive_as_it_says_and_calibrated() -> None:
    drawn = draw(room(0.08, models=[model(sensitivity=0.8, specificity=0.95)], run=MANY), 0)
    (answers,), has = drawn.answers, drawn.has["disease"]
    assert has.mean() == pytest.approx(0.1, abs=0.006)
    assert answers.flagged[has].mean() == pytest.approx(0.8, abs=0.025)
    assert answers.flagged[~has].mean() == pytest.approx(0.05, abs=0.005)
    for flag in (True, False):
        told = answers.flagged == flag
        assert answers.probability[told].mean() == pytest.approx(has[told].mean(), abs=0.02)


@pytest.mark.parametrize("ratio", [1.0, 1.5])
def test_a_binormal_model_has_its_auc_and_is_calibrated(ratio: float) -> None:
    given = model(sensitivity=None, auc=0.9, specificity=0.9, deviation_ratio=ratio)
    drawn = draw(room(0.08, models=[given], run=MANY), 0)
    (answers,), has = drawn.answers, drawn.has["disease"]
    assert answers.flagged[~has].mean() == pytest.approx(0.1, abs=0.007)
    edges = np.quantile(answers.probability, np.linspace(0, 1, 11))
    for low, high in pairwise(edges):
        told = (answers.probability >= low) & (answers.probability <= high)
        assert answers.probability[told].mean() == pytest.approx(has[told].mean(), abs=0.03)
    if ratio == 1.0:
        order = np.argsort(np.argsort(answers.probability))
        auc = (order[has].sum() - has.sum() * (has.sum() - 1) / 2) / (has.sum() * (~has).sum())
        assert auc == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize(("sensitivity", "specificity"), [(1.0, 1.0), (0.0, 1.0), (1.0, 0.0)])
def test_a_model_may_be_perfect_or_useless(sensitivity: float, specificity: float) -> None:
    given = model(sensitivity=sensitivity, specificity=specificity)
    drawn = draw(room(0.08, models=[given], run=Run(studies=2000)), 0)
    (answers,), has = drawn.answers, drawn.has["disease"]
    assert answers.flagged[has].all() == bool(sensitivity)
    assert answers.flagged[~has].any() == (not specificity)


def test_models_look_only_at_kinds_that_can_show_their_disease_and_sometimes_fail() -> None:
    scenario = Scenario(
        title="two kinds",
        arrivals=Arrivals(per_hour=5),
        kinds=tuple(Kind(name=name, reading=Duration(mean_min=10)) for name in ("CT", "MR")),
        diseases=(Disease(name="disease", prevalence=0.3, kinds=("MR",)),),
        models=(model(failure_rate=0.25, time=Duration(mean_min=3)),),
        run=Run(studies=20_000),
    )
    drawn = draw(scenario, 0)
    (answers,) = drawn.answers
    assert not drawn.has["disease"][drawn.kind == 0].any()
    assert np.isinf(answers.ready_min[drawn.kind == 0]).all()
    mr = drawn.kind == 1
    assert np.isinf(answers.ready_min[mr]).mean() == pytest.approx(0.25, abs=0.02)
    taken = (answers.ready_min - drawn.arrived_min)[np.isfinite(answers.ready_min)]
    assert taken.mean() == pytest.approx(3, rel=0.05)


@pytest.mark.parametrize(
    "reading",
    [
        Duration(mean_min=12),
        Duration(mean_min=12, spread=Spread.FIXED),
        Duration(mean_min=12, spread=Spread.LOGNORMAL, deviation_min=6),
    ],
    ids=lambda reading: reading.spread,
)
def test_readings_have_their_mean_and_their_second_moment(reading: Duration) -> None:
    minutes = draw(room(0.05, reading=reading, run=MANY), 0).reading_min
    assert minutes.mean() == pytest.approx(12, rel=0.02)
    assert (minutes**2).mean() == pytest.approx(reading.second_moment_min2, rel=0.05)


def test_a_disease_may_take_longer_to_read_and_the_traffic_knows() -> None:
    long = Disease(name="disease", prevalence=0.2, reading=Duration(mean_min=40))
    other = Disease(name="other", prevalence=0.5, reading=Duration(mean_min=20))
    scenario = replace(room(0.05, run=MANY), diseases=(long, other))
    drawn = draw(scenario, 0)
    assert drawn.reading_min[drawn.has["disease"]].mean() == pytest.approx(40, rel=0.04)
    assert drawn.reading_min.mean() == pytest.approx(scenario.traffic / 0.05, rel=0.03)


def test_orders_are_as_frequent_as_their_shares() -> None:
    scenario = room(0.05, stat=0.1, urgent=0.2, models=[model()], run=MANY)
    scenario = replace(scenario, diseases=(replace(scenario.diseases[0], urgent=0.5),))
    drawn = draw(scenario, 0)
    has = drawn.has["disease"]
    assert (drawn.ordered == Lane.STAT.order).mean() == pytest.approx(0.1, abs=0.007)
    assert (drawn.ordered[~has] == Lane.URGENT.order).mean() == pytest.approx(0.2, abs=0.01)
    assert (drawn.ordered[has] == Lane.URGENT.order).mean() == pytest.approx(0.2 + 0.7 * 0.5, abs=0.03)
