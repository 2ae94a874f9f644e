from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.domain.finding import Code, Finding
from node.domain.model_card import Mode
from node.domain.priority import Lane
from node.domain.rule import Comparison, Operator, Rule, Weight
from node.domain.scenario import MATINS, OFF, Discipline, Room, SimulatedModel
from node.triage.facts import ModelResult, RankFacts
from node.triage.rank import rank
from node.triage.rules import compile_rules
from node.triage.simulate.reading_room import read_all
from node.triage.simulate.sample import Answers, Sample, draw
from tests.triage.simulate.rooms import model, room

PURE = Discipline(name="points", points_per_minute=0.0)
ONE = Room(radiologists=1)


def sample(
    arrived: list[float],
    reading: list[float],
    *,
    lanes: list[Lane] | None = None,
    ready: list[float] | None = None,
    flagged: list[bool] | None = None,
    probability: list[float] | None = None,
) -> Sample:
    count = len(arrived)
    answers = Answers(
        ready_min=np.array(ready or arrived, float),
        flagged=np.array(flagged or [False] * count),
        probability=np.array(probability or [0.0] * count),
    )
    return Sample(
        arrived_min=np.array(arrived, float),
        reading_min=np.array(reading, float),
        ordered=np.array([lane.order for lane in lanes or [Lane.ROUTINE] * count]),
        kind=np.zeros(count, int),
        has={"disease": np.zeros(count, bool)},
        answers=(answers,),
    )


def finished(given: Sample, discipline: Discipline = OFF, place: Room = ONE, **changes: object) -> list[float]:
    return read_all(given, (model(**changes),), discipline, place).tolist()


FOUND, SURE = Code("1", "SCT", "Found"), Code("2", "SCT", "Sure")
#: One rule of each kind that has models in it: flat points and a lane, and points times the probability.
RULES = compile_rules(
    [
        Rule(
            id="flag", title="t", because="b", points=35.0, lane=Lane.URGENT, source="s", version="1",
            when=Comparison(field="finding.present", operator=Operator.IS, value=True, code="SCT:1"),
        ),
        Rule(
            id="sure", title="t", because="b", weight=Weight(points=90.0, code="SCT:2"), source="s", version="1",
            when=Comparison(field="finding.present", operator=Operator.IS, value=True, code="SCT:2"),
        ),
    ]
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    studies=st.lists(
        st.tuples(st.sampled_from(list(Lane)), st.booleans(), st.integers(0, 5), st.integers(0, 1000)),
        min_size=1, max_size=25, unique_by=lambda each: each[3],
    ),
    # No difference of points is worth a whole number of minutes: no two keys differ in the last bit alone.
    points_per_minute=st.sampled_from([0.0, 0.0531, 0.1037, 1.013]),
)  # fmt: skip
def test_studies_are_read_in_the_order_in_which_the_node_ranks_them(studies, points_per_minute: float) -> None:
    # All wait behind one that takes a day, so the whole order shows.
    studies = sorted(studies, key=lambda each: each[3])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    requested = {Lane.STAT: "STAT", Lane.URGENT: "HIGH", Lane.ROUTINE: ""}

    def facts(number: int, lane: Lane, flagged: bool, fifths: int, minute: int) -> RankFacts:
        findings = (Finding(code=FOUND, present=flagged), Finding(code=SURE, present=True, probability=fifths / 5))
        return RankFacts(
            study_instance_uid=f"1.{number}",
            arrived_at=begin + timedelta(minutes=minute),
            hour_of_day=0,
            requested_priority=requested[lane],
            results=(ModelResult(model="model", mode=Mode.LIVE, findings=findings),),
        )

    places = [
        rank(facts(number, *each), RULES, points_per_minute=points_per_minute).place
        for number, each in enumerate(studies)
    ]
    given = sample(
        [-1.0, *(float(minute) for *_, minute in studies)],
        [1500.0] + [1.0] * len(studies),
        lanes=[Lane.ROUTINE, *(lane for lane, *_ in studies)],
        flagged=[False, *(flagged for _, flagged, *_ in studies)],
        probability=[0.0, *(fifths / 5 for _, _, fifths, _ in studies)],
    )
    ours = Discipline(name="ours", points_per_minute=points_per_minute)
    ends = finished(given, ours, points=90.0, points_if_flagged=35.0)[1:]
    assert sorted(range(len(ends)), key=ends.__getitem__) == sorted(range(len(ends)), key=places.__getitem__)


def test_a_flag_brings_no_study_above_one_that_a_person_ordered_and_that_came_earlier() -> None:
    lanes = [Lane.ROUTINE, Lane.URGENT, Lane.ROUTINE]
    given = sample([0, 2, 1], [10, 10, 10], lanes=lanes, flagged=[False, False, True], probability=[0, 0, 1])
    given = replace(given, arrived_min=np.array([0.0, 1.0, 2.0]))
    assert finished(given, MATINS) == [10.0, 20.0, 30.0]


def test_an_interrupted_reading_is_resumed_where_it_was() -> None:
    given = sample([0, 4, 5], [10, 3, 2], lanes=[Lane.ROUTINE, Lane.STAT, Lane.ROUTINE])
    assert finished(given, place=Room(interrupted_by=(Lane.STAT,))) == [13.0, 7.0, 15.0]
    assert finished(given) == [10.0, 13.0, 15.0]


def test_the_last_of_those_that_are_read_is_interrupted_and_never_its_own_lane() -> None:
    lanes = [Lane.STAT, Lane.ROUTINE, Lane.URGENT, Lane.STAT, Lane.STAT]
    given = sample([0, 1, 2, 3, 4], [20, 20, 20, 5, 5], lanes=lanes)
    place = Room(radiologists=2, interrupted_by=(Lane.STAT, Lane.URGENT))
    # The urgent one takes the place of the routine one, is itself interrupted, and the second STAT waits for the first.
    assert finished(given, place=place) == [20.0, 39.0, 32.0, 8.0, 13.0]


def test_an_answer_that_comes_while_a_study_waits_moves_it() -> None:
    given = sample([0, 1, 2], [10, 10, 10], ready=[np.inf, np.inf, 5], flagged=[False, False, True])
    assert finished(given, MATINS) == [10.0, 30.0, 20.0]
    late = sample([0, 1, 2], [10, 10, 10], ready=[np.inf, np.inf, 15], flagged=[False, False, True])
    assert finished(late, MATINS) == [10.0, 20.0, 30.0]


def test_an_answer_interrupts_where_its_lane_may() -> None:
    given = sample([0, 1], [10, 10], ready=[np.inf, 4], flagged=[False, True])
    assert finished(given, MATINS, Room(interrupted_by=(Lane.URGENT,))) == [20.0, 14.0]


def test_a_model_without_an_answer_changes_nothing() -> None:
    given = draw(room(0.08, models=[model(failure_rate=1.0)]), 0)
    assert finished(given, MATINS, failure_rate=1.0) == finished(given, replace(MATINS, lanes=False, points=False))


def test_with_ageing_alone_the_order_is_first_come() -> None:
    given = draw(room(0.08, models=[model()]), 0)
    off = finished(given)
    assert finished(given, Discipline(name="a", lanes=False, points=False, points_per_minute=3.0)) == off


def test_a_discipline_may_leave_a_model_off() -> None:
    given = draw(room(0.08, models=[model()]), 0)
    assert finished(given, Discipline(name="other", models=("other",))) != finished(given, MATINS)
    assert finished(given, Discipline(name="this", models=("model",))) == finished(given, MATINS)


def test_nobody_reads_when_nobody_is_on_duty_and_who_goes_finishes_first() -> None:
    day = Room(radiologists=(0,) * 8 + (1,) * 12 + (0,) * 4)
    assert finished(sample([0.0, 10.0], [5.0, 5.0]), place=day) == [485.0, 490.0]
    # Begun at 19:55, and the next one waits for eight in the morning.
    assert finished(sample([1195.0, 1196.0], [10.0, 5.0]), place=day) == [1205.0, 1440.0 + 485.0]


@pytest.mark.parametrize("interrupted_by", [(), (Lane.URGENT,)])
@pytest.mark.parametrize("discipline", [OFF, MATINS, PURE])
def test_one_reader_is_busy_for_the_same_minutes_whatever_the_order(discipline: Discipline, interrupted_by) -> None:
    given = draw(room(0.08, models=[model(auc=0.9, sensitivity=None)]), 1)
    models: tuple[SimulatedModel, ...] = (model(auc=0.9, sensitivity=None),)
    ends = read_all(given, models, discipline, Room(interrupted_by=interrupted_by))
    assert np.isfinite(ends).all()
    assert (ends - given.arrived_min - given.reading_min).min() > -1e-9
    # The end of each busy time is when as much has been read as has come.
    assert ends.max() == pytest.approx(read_all(given, models, OFF, ONE).max())
