"""The place of a study: lanes, points, waiting; and what must never happen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.catalogue import load_rules
from node.domain.finding import MILLILITRE, VOLUME, Code, Finding, Measurement
from node.domain.history import Fact
from node.domain.model_card import Mode
from node.domain.priority import Lane
from node.domain.rule import AllOf, AnyOf, Comparison, Missing, Not, Operator, Rule, reads_findings
from node.triage.facts import ModelResult, RankFacts
from node.triage.rank import highest_score, overtaking_window_min, rank
from node.triage.rules import compile_rules

#: A slow machine is no failure.
bounded = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
ROOT = Path(__file__).parents[2]
NIGHT = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
BRAIN = Code("12738006", "SCT", "Brain")
FACTS = RankFacts(study_instance_uid="1.2", arrived_at=NIGHT, hour_of_day=4)
OLD = Comparison(field="patient_age_years", operator=Operator.ABOVE, value=70.0)


def rule(name: str, points: float, when=OLD, **changed) -> Rule:
    made = Rule(id=name, title="T", because="B", when=when, points=points, source="s", version="1")
    return replace(made, **changed)


def brain(volume_ml: float, mode: Mode = Mode.LIVE) -> ModelResult:
    measured = Measurement(quantity=VOLUME, value=volume_ml, unit=MILLILITRE)
    return ModelResult(model="brain-t1", mode=mode, findings=(Finding(code=BRAIN, measurements=(measured,)),))


# -------------------------------------------------------------------------------------------------------------- lanes


@pytest.mark.parametrize(
    ("said", "lane", "because"),
    [
        ("STAT", Lane.STAT, ["The order's priority is STAT"]),
        ("high ", Lane.URGENT, ["The order's priority is HIGH"]),
        ("ROUTINE", Lane.ROUTINE, []),
        ("LOW", Lane.ROUTINE, []),
        ("", Lane.ROUTINE, []),
        ("ASAP", Lane.ROUTINE, ["The order's priority “ASAP” is not known and counts as routine"]),
    ],
)
def test_the_order_gives_the_lane_and_says_so(said: str, lane: Lane, because: list[str]) -> None:
    ranking = rank(replace(FACTS, requested_priority=said), [], points_per_minute=0.1)
    assert (ranking.lane, [reason.because for reason in ranking.reasons]) == (lane, because)


@pytest.mark.parametrize(
    ("order", "by_rule", "lane"),
    [
        ("STAT", Lane.URGENT, Lane.STAT),
        ("ROUTINE", Lane.URGENT, Lane.URGENT),
        ("HIGH", Lane.ROUTINE, Lane.URGENT),
        ("", Lane.STAT, Lane.STAT),
        ("", None, Lane.ROUTINE),
    ],
)
def test_a_rule_raises_a_lane_and_never_lowers_it(order: str, by_rule: Lane | None, lane: Lane) -> None:
    facts = replace(FACTS, requested_priority=order, patient_age_years=80.0)
    assert rank(facts, compile_rules([rule("r", 1, lane=by_rule)]), points_per_minute=0.1).lane is lane


def test_the_score_is_the_sum_of_the_reasons_and_rows_carry_them() -> None:
    facts = replace(FACTS, requested_priority="HIGH", patient_age_years=80.0)
    ranking = rank(facts, compile_rules([rule("a", 1), rule("b", 10)]), points_per_minute=0.1)
    assert ranking.score == 11.0
    assert ranking.reason_rows == [
        {"rule": "requested-priority", "points": 0.0, "because": "The order's priority is HIGH"},
        {"rule": "b", "points": 10.0, "because": "B"},
        {"rule": "a", "points": 1.0, "because": "B"},
    ]


def test_a_naive_time_of_arrival_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        replace(FACTS, arrived_at=datetime(2026, 11, 20, 3, 0))  # noqa: DTZ001


def test_waiting_overtakes_points_after_the_minutes_promised() -> None:
    rules = compile_rules([rule("r", 10)])
    waits = rank(FACTS, rules, points_per_minute=0.1)
    window = overtaking_window_min(waits.score, highest_score(rules), 0.1)
    assert window == pytest.approx(100)

    def newer(minutes: float):
        facts = replace(FACTS, arrived_at=NIGHT + timedelta(minutes=minutes), patient_age_years=80.0)
        return rank(facts, rules, points_per_minute=0.1)

    assert newer(99).place < waits.place < newer(101).place


def test_equals_are_read_in_the_order_of_arrival_then_of_uid() -> None:
    def place(uid: str, later_us: int = 0):
        facts = replace(FACTS, study_instance_uid=uid, arrived_at=NIGHT + timedelta(microseconds=later_us))
        return rank(facts, [], points_per_minute=0.0).place

    assert place("1.1") < place("1.2") < place("1.1", later_us=1)


# ------------------------------------------------------------------------------------------------------ shipped rules


@pytest.fixture(scope="module")
def shipped():
    return compile_rules(load_rules(ROOT / "rules", {("brain-t1", "SCT:12738006")}))


@pytest.mark.parametrize(
    ("text", "lane"),
    [
        ("Sudden severe headache and left hemiparesis", Lane.URGENT),
        ("papilloedema", Lane.URGENT),
        ("Follow-up. No focal deficit, no papilledema", Lane.ROUTINE),
        ("Headache for years", Lane.ROUTINE),
    ],
)
def test_a_red_flag_in_the_request_for_a_head_is_urgent(shipped, text: str, lane: Lane) -> None:
    facts = replace(
        FACTS,
        modalities=("MR",),
        study_description="MRI Brain without contrast",
        history=(Fact(code="reason_for_request", value=text, source="dataset"),),
    )
    ranking = rank(facts, shipped, points_per_minute=0.1)
    assert ranking.lane is lane
    if lane is Lane.URGENT:
        assert ranking.score == 40
        assert text in ranking.reasons[0].because
    knee = replace(facts, study_description="MRI knee", body_parts=("KNEE",))
    assert rank(knee, shipped, points_per_minute=0.1).lane is Lane.ROUTINE


@pytest.mark.parametrize(
    ("volume_ml", "age", "score"), [(812.0, 40.0, 10), (1825.0, 40.0, 0), (812.0, 4.0, 0), (812.0, None, 0)]
)
def test_a_small_brain_of_an_adult_adds_points(shipped, volume_ml: float, age: float | None, score: float) -> None:
    facts = replace(FACTS, patient_age_years=age, results=(brain(volume_ml),))
    ranking = rank(facts, shipped, points_per_minute=0.1)
    assert (ranking.score, ranking.lane) == (score, Lane.ROUTINE)
    if score:
        assert ranking.reasons[0].because.startswith("The brain outline measures 812 mL at 40 years, below 900 mL")
    assert rank(replace(facts, results=(brain(volume_ml, Mode.SHADOW),)), shipped, points_per_minute=0.1).score == 0


# ----------------------------------------------------------------------------------------------- what must never happen

_numbers = st.sampled_from([0.0, 1.0, 18.0, 70.0, 900.0])


def _comparisons() -> st.SearchStrategy[Comparison]:
    number = st.sampled_from([Operator.BELOW, Operator.ABOVE, Operator.AT_LEAST, Operator.AT_MOST, Operator.IS])
    code = st.sampled_from(["SCT:12738006", "SCT:1"])
    model = st.sampled_from(["", "brain-t1", "other"])
    return st.one_of(
        st.builds(Comparison, field=st.just("patient_age_years"), operator=number, value=_numbers),
        st.builds(Comparison, field=st.just("history.any"), operator=st.just(Operator.HAS), value=st.just("cancer")),
        st.builds(Comparison, field=st.just("history.any"), operator=st.just(Operator.KNOWN), value=st.booleans()),
        st.builds(
            Comparison,
            field=st.sampled_from(["finding.volume_ml", "finding.probability"]),
            operator=number,
            value=_numbers,
            code=code,
            model=model,
        ),
        st.builds(
            Comparison,
            field=st.just("finding.present"),
            operator=st.just(Operator.IS),
            value=st.booleans(),
            code=code,
            model=model,
        ),
    )


_clauses = st.recursive(
    _comparisons(),
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(AllOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
        st.builds(AnyOf, st.lists(inner, min_size=1, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


def _lawful(made: Rule) -> Rule:
    """What the loader would have refused, made acceptable."""
    if reads_findings(made):
        lane = Lane.URGENT if made.lane is Lane.STAT else made.lane
        return replace(made, lane=lane, when_missing=Missing.FLAG, points_when_missing=0.0)
    return made


_rules = st.lists(
    st.builds(
        rule,
        st.just("r"),
        st.floats(0, 100),
        _clauses,
        lane=st.sampled_from([None, *Lane]),
        when_missing=st.sampled_from(list(Missing)),
        points_when_missing=st.just(5.0),
    ).map(_lawful),
    max_size=4,
).map(lambda rules: compile_rules([replace(each, id=f"r{number}") for number, each in enumerate(rules)]))

_findings = st.builds(
    Finding,
    code=st.sampled_from([BRAIN, Code("1", "SCT", "Other")]),
    probability=st.none() | st.floats(0, 1),
    measurements=st.lists(
        st.builds(Measurement, quantity=st.just(VOLUME), value=_numbers, unit=st.just(MILLILITRE)), max_size=2
    ).map(tuple),
)
_results = st.lists(
    st.builds(
        ModelResult,
        model=st.sampled_from(["brain-t1", "other"]),
        mode=st.sampled_from([Mode.LIVE, Mode.SHADOW]),
        findings=st.lists(_findings, max_size=3).map(tuple),
    ),
    max_size=3,
).map(tuple)
_facts = st.builds(
    RankFacts,
    study_instance_uid=st.sampled_from(["1.1", "1.2", "1.3"]),
    arrived_at=st.integers(0, 10_000).map(lambda minutes: NIGHT + timedelta(minutes=minutes)),
    hour_of_day=st.integers(0, 23),
    requested_priority=st.sampled_from(["STAT", "HIGH", "ROUTINE", ""]),
    patient_age_years=st.none() | _numbers.filter(lambda age: age < 120),
    history=st.lists(
        st.builds(
            Fact,
            code=st.just("reason_for_request"),
            value=st.sampled_from(["cancer", "no cancer", "pain"]),
            source=st.just("dataset"),
        ),
        max_size=3,
    ).map(tuple),
    results=_results,
)


@bounded
@given(_rules, _facts)
def test_a_model_never_lowers_a_study_nor_makes_it_stat(rules, facts: RankFacts) -> None:
    with_models = rank(facts, rules, points_per_minute=0.1)
    without = rank(replace(facts, results=()), rules, points_per_minute=0.1)
    assert with_models.place <= without.place
    assert with_models.score >= without.score
    assert with_models.lane is not Lane.STAT or without.lane is Lane.STAT


@bounded
@given(_rules, _facts)
def test_a_model_in_shadow_has_no_say(rules, facts: RankFacts) -> None:
    shadows = tuple(replace(result, mode=Mode.SHADOW) for result in facts.results)
    assert rank(replace(facts, results=shadows), rules, points_per_minute=0.1) == rank(
        replace(facts, results=()), rules, points_per_minute=0.1
    )


@bounded
@given(_rules, _rules, _facts)
def test_one_more_rule_never_lowers_a_study(rules, more, facts: RankFacts) -> None:
    assert rank(facts, (*rules, *more), points_per_minute=0.1).place <= rank(facts, rules, points_per_minute=0.1).place


@bounded
@given(_rules, _facts, st.randoms(use_true_random=False))
def test_the_order_of_facts_and_rules_is_no_matter(rules, facts: RankFacts, shuffle) -> None:
    def shuffled(values):
        return tuple(shuffle.sample(list(values), len(values)))

    again = replace(
        facts,
        history=shuffled(facts.history),
        results=shuffled([replace(each, findings=shuffled(each.findings)) for each in facts.results]),
    )
    assert rank(again, shuffled(rules), points_per_minute=0.1) == rank(facts, rules, points_per_minute=0.1)


@bounded
@given(_rules, _facts, _facts, st.sampled_from([0.05, 0.1, 0.2]))
def test_nobody_is_overtaken_after_the_window(
    rules, facts: RankFacts, newer: RankFacts, points_per_minute: float
) -> None:
    waits = rank(facts, rules, points_per_minute=points_per_minute)
    window = overtaking_window_min(waits.score, highest_score(rules), points_per_minute)
    late = replace(newer, arrived_at=facts.arrived_at + timedelta(minutes=window + 0.01))
    ranking = rank(late, rules, points_per_minute=points_per_minute)
    assert ranking.lane.order < waits.lane.order or ranking.place > waits.place


@bounded
@given(_rules, st.lists(_facts, max_size=6))
def test_the_order_is_the_same_after_a_restart(rules, studies: list[RankFacts]) -> None:
    def order(facts: list[RankFacts]):
        fresh = compile_rules([each.rule for each in rules])
        return sorted(rank(each, fresh, points_per_minute=0.1).place for each in facts)

    assert order(studies) == order(studies[::-1])
