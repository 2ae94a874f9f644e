from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.priority import Lane
from node.domain.scenario import OFF, Discipline, Run
from node.triage.simulate.hindsight import FEWEST, Impact, Read, first_come, impact
from node.triage.simulate.reading_room import read_all
from node.triage.simulate.sample import draw
from tests.triage.simulate.rooms import model, room

ROUTINE = Lane.ROUTINE.order


def read(listed: float, reported: float, ordered: Lane = Lane.ROUTINE, found: bool | None = False) -> Read:
    return Read(listed_min=listed, reported_min=reported, ordered=ordered.order, lane=ordered, found=found)


def test_without_matins_the_same_reports_come_in_the_order_of_arrival() -> None:
    reads = [read(0, 30), read(1, 10), read(2, 20)]
    assert first_come(reads) == [10, 20, 30]


def test_the_lane_that_was_ordered_holds_without_matins_too() -> None:
    reads = [read(0, 20), read(1, 30), read(2, 10, Lane.STAT)]
    assert first_come(reads) == [20, 30, 10]


def test_nobody_is_reported_before_having_come() -> None:
    reads = [read(0, 5), read(6, 9, Lane.STAT), read(1, 12)]
    assert first_come(reads) == [5, 9, 12]


@given(
    st.lists(
        st.tuples(st.integers(0, 500), st.integers(1, 200), st.sampled_from(list(Lane))), min_size=1, max_size=60
    )
)  # fmt: skip
def test_every_report_has_its_study_and_none_comes_too_early(drawn) -> None:
    reads = [read(float(listed), float(listed + waits), lane) for listed, waits, lane in drawn]
    otherwise = first_come(reads)
    assert sorted(otherwise) == sorted(each.reported_min for each in reads)
    assert all(moment >= each.listed_min for moment, each in zip(otherwise, reads, strict=True))


def one_week() -> list[Read]:
    """A simulated week, as the node would have recorded it."""
    scenario = room(0.08, models=[model()], run=Run(studies=800, seed=5))
    sample = draw(scenario, 0)
    ends = read_all(sample, scenario.models, Discipline(name="flag", points=False, points_per_minute=0), scenario.room)
    return [
        Read(listed_min=arrived, reported_min=end, ordered=ROUTINE, lane=Lane.ROUTINE, found=bool(flagged))
        for arrived, end, flagged in zip(sample.arrived_min, ends, sample.answers[0].flagged, strict=True)
    ]


@pytest.fixture(scope="module")
def measured() -> dict[str, Impact]:
    return {each.group: each for each in impact(one_week())}


def test_a_week_that_was_triaged_is_measured_against_the_one_that_was_not(measured: dict[str, Impact]) -> None:
    found, not_found = measured["finding present"], measured["nothing found"]
    assert found.studies + not_found.studies == measured["everybody"].studies == 800
    low, high = found.difference_min["mean"].low, found.difference_min["mean"].high
    assert low is not None
    assert high is not None
    assert low < found.difference_min["mean"].value < high < 0
    assert (not_found.difference_min["mean"].low or 0) > 0
    # What one gains the others lose, for the reports came at the same moments.
    assert measured["everybody"].difference_min["mean"].value == pytest.approx(0, abs=1e-9)


def test_the_order_that_was_not_is_the_one_that_a_simulation_without_matins_has() -> None:
    scenario = room(0.08, models=[model()], run=Run(studies=800, seed=5))
    sample = draw(scenario, 0)
    off = read_all(sample, scenario.models, OFF, scenario.room)
    (told,) = [each for each in impact(one_week()) if each.group == "finding present"]
    flagged = sample.answers[0].flagged
    # The same studies and the same reader, but the flagged take the readings of others: close, not equal.
    simulated = float(np.mean((off - sample.arrived_min)[flagged]))
    assert told.first_come_min["mean"].value == pytest.approx(simulated, rel=0.1)


def test_too_few_studies_have_no_figures_and_a_tail_needs_more(measured: dict[str, Impact]) -> None:
    few = {each.group: each for each in impact(one_week()[: FEWEST - 1])}
    assert few["everybody"].studies == FEWEST - 1
    assert not few["everybody"].waited_min
    found = measured["finding present"]
    assert 100 < found.studies < 500
    assert set(found.waited_min) == {"mean", "median", "p95", "max"}
    assert set(measured["everybody"].waited_min) == {"mean", "median", "p95", "p99", "max"}
    assert found.waited_min["max"].low is None


def test_the_interval_is_wider_for_neighbours_that_wait_alike_than_for_strangers() -> None:
    reads = one_week()
    waits = [each.reported_min - each.listed_min for each in reads]
    shuffled = np.random.default_rng(0).permutation(waits)
    strangers = [replace(each, reported_min=each.listed_min + wait) for each, wait in zip(reads, shuffled, strict=True)]

    def width(given: list[Read]) -> float:
        mean = impact(given)[0].waited_min["mean"]
        assert mean.low is not None
        assert mean.high is not None
        return mean.high - mean.low

    assert width(reads) > 1.5 * width(strangers)


def test_the_same_week_is_measured_the_same_twice_whatever_the_order_of_its_rows() -> None:
    reads = one_week()[:100]
    assert impact(reads) == impact(reads[::-1])


def test_nothing_is_measured_of_nobody() -> None:
    assert impact([]) == ()
