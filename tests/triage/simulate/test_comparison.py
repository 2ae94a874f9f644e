"""The simulation against queueing theory: within four standard errors, with a fixed seed."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.domain.priority import Lane
from node.domain.scenario import OFF, Discipline, Duration, Run, Spread
from node.triage.simulate import theory
from node.triage.simulate.comparison import Comparison, simulate
from node.triage.simulate.student import Estimate, quantile
from tests.triage.simulate.rooms import model, room

FLAG = Discipline(name="flag", points=False, points_per_minute=0.0)
POINTS = Discipline(name="points", lanes=False, points_per_minute=0.0)
AGEING = Discipline(name="ageing", lanes=False, points_per_minute=0.1)
STAT_URGENT = (Lane.STAT, Lane.URGENT)


def agrees(found: Estimate, expected: float) -> bool:
    """Within four standard errors of the mean over the replications."""
    half = (found.high - found.low) / 2
    # An interval that is all but infinite would agree with anything.
    assert half < 0.5 * expected
    return abs(found.value - expected) <= 4 * half / quantile(found.count - 1)


def off(comparison: Comparison, group: str = "everybody") -> dict[str, Estimate]:
    return comparison.of(OFF.name, group).waits_min


@pytest.mark.parametrize("readers", [1, 3])
def test_first_come_waits_as_erlang_says(readers: int) -> None:
    rate = 0.08 * readers
    found = off(simulate(room(rate, readers=readers)))
    assert agrees(found["mean"], theory.wait_first_come(rate, 10, readers))
    for share, figure in ((0.5, "median"), (0.95, "p95"), (0.99, "p99")):
        assert agrees(found[figure], theory.wait_first_come_quantile(share, rate, 10, readers)), figure


@pytest.mark.parametrize("readers", [1, 2])
def test_orders_that_do_not_interrupt_wait_as_cobham_says(readers: int) -> None:
    rate, shares = 0.08 * readers, (0.1, 0.3, 0.6)
    found = simulate(room(rate, readers=readers, stat=shares[0], urgent=shares[1]))
    stat, urgent, routine = theory.waits_uninterrupted([rate * share for share in shares], 10, readers)
    assert agrees(off(found, "ordered STAT")["mean"], stat)
    assert agrees(off(found, "ordered URGENT")["mean"], urgent)
    assert agrees(off(found)["mean"], shares[0] * stat + shares[1] * urgent + shares[2] * routine)


@pytest.mark.parametrize("readers", [1, 3])
def test_orders_that_interrupt_wait_by_formula(readers: int) -> None:
    rate, shares = 0.08 * readers, (0.2, 0.3, 0.5)
    found = simulate(room(rate, readers=readers, stat=shares[0], urgent=shares[1], interrupted_by=STAT_URGENT))
    stat, urgent, _ = theory.waits_interrupted([rate * share for share in shares], 10, readers)
    assert agrees(off(found, "ordered STAT")["mean"], stat)
    assert agrees(off(found, "ordered URGENT")["mean"], urgent)
    assert agrees(off(found)["mean"], theory.wait_first_come(rate, 10, readers))


@pytest.mark.parametrize(
    "reading",
    [Duration(mean_min=10, spread=Spread.FIXED), Duration(mean_min=10, spread=Spread.LOGNORMAL, deviation_min=8)],
    ids=["fixed", "lognormal"],
)
@pytest.mark.parametrize("interrupted", [False, True])
def test_readings_of_any_spread_wait_by_formula(reading: Duration, interrupted: bool) -> None:
    interrupting = STAT_URGENT if interrupted else ()
    found = simulate(room(0.08, reading=reading, stat=0.3, interrupted_by=interrupting))
    formula = theory.waits_interrupted_general if interrupted else theory.waits_uninterrupted_general
    stat, routine = formula([0.024, 0.056], [10, 10], [reading.second_moment_min2] * 2)
    assert agrees(off(found, "ordered STAT")["mean"], stat)
    assert agrees(off(found)["mean"], 0.3 * stat + 0.7 * routine)


def test_intervals_of_95_percent_hold_the_truth_as_often_as_they_say() -> None:
    quiet = Duration(mean_min=5.0)
    runs = [Run(studies=800, replications=10, seed=seed) for seed in range(60)]
    means = [off(simulate(room(0.08, reading=quiet, run=run)))["mean"] for run in runs]
    truth = theory.wait_first_come(0.08, 5.0)
    held = sum(each.low <= truth <= each.high for each in means)
    # Of 60, 57 are expected, give or take 1.7.
    assert 51 <= held <= 60


def test_the_published_case_is_reproduced() -> None:
    found = simulate(room(0.08, models=[model()], interrupted_by=(Lane.URGENT,), disciplines=[FLAG]))
    diseased, others = theory.waits_of_triage(0.08, 10, 0.1, 0.9, 0.9)
    for group, triaged in (("diseased", diseased), ("others", others)):
        assert agrees(off(found, group)["mean"], 40.0)
        told = found.of("flag", group)
        assert agrees(told.waits_min["mean"], triaged)
        difference = told.differences_min["mean"]
        assert difference.low < triaged - 40 < difference.high
    # The same studies: the difference is known better than either wait.
    narrow, wide = found.of("flag", "others").differences_min["mean"], found.of("flag", "others").waits_min["mean"]
    assert narrow.high - narrow.low < 0.5 * (wide.high - wide.low)


def test_what_is_missed_waits_longer_for_it() -> None:
    found = simulate(room(0.08, models=[model()], disciplines=[FLAG]))
    assert found.of("flag", "disease, missed").differences_min["mean"].low > 0
    assert found.of("flag", "others").differences_min["mean"].low > 0
    assert found.of("flag", "diseased").differences_min["mean"].high < 0


def test_points_alone_let_some_wait_for_ever_and_ageing_does_not() -> None:
    scored = model(sensitivity=None, auc=0.95, lane=None)
    found = simulate(room(0.08, models=[scored], disciplines=[POINTS, AGEING], run=Run(studies=10_000, seed=3)))
    alone, ageing = found.of("points", "others"), found.of("ageing", "others")
    assert alone.ratios["max"].low > 3
    assert alone.ratios["p99"].low > 1.8
    assert ageing.ratios["p99"].high < 1.4
    assert ageing.ratios["max"].high < 1.5
    # For it the diseased wait a little longer than by points alone, and far less than without.
    assert found.of("ageing", "diseased").waits_min["mean"].value < 0.5 * off(found, "diseased")["mean"].value


def test_the_same_seed_gives_the_same_figures_and_another_gives_others() -> None:
    small = room(0.08, run=Run(studies=500, replications=3, seed=1))
    again = simulate(small)
    assert simulate(small) == again
    assert simulate(replace(small, run=replace(small.run, seed=2))).figures != again.figures


def test_a_group_that_is_too_rare_has_no_figures() -> None:
    rare = room(0.08, models=[model()], prevalence=1e-8, run=Run(studies=200, replications=2))
    with pytest.raises(KeyError):
        simulate(rare).of(OFF.name, "diseased")


def test_progress_is_told_after_each_replication() -> None:
    told: list[None] = []
    simulate(room(0.08, run=Run(studies=200, replications=3)), lambda: told.append(None))
    assert len(told) == 3
