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
from node.domain.pin import Pin
from node.domain.priority import Lane, lane_of_requested_priority
from node.domain.rule import AllOf, AnyOf, Cap, Comparison, Missing, Not, Operator, Rule, Weight, reads_findings
from node.triage.facts import ModelResult, RankFacts, Reading
from node.triage.rank import highest_score, overtaking_window_min, rank
from node.triage.rules import compile_rules

#: A slow machine is no failure.
bounded = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
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
    assert ranking.score == 111.0
    assert ranking.reason_rows == [
        {"rule": "requested-priority", "points": 100.0, "because": "The order's priority is HIGH"},
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


# ---------------------------------------------------------------------------------------- what models may do together


def found(probability: float, model: str = "brain-t1", mode: Mode = Mode.LIVE) -> ModelResult:
    return ModelResult(model=model, mode=mode, findings=(Finding(code=BRAIN, probability=probability),))


def by_probability(name: str, points: float, model: str = "", **changed) -> Rule:
    asked = Comparison(
        field="finding.probability", operator=Operator.AT_LEAST, value=0.5, model=model, code="SCT:12738006"
    )
    return rule(name, points, asked, **changed)


WEAK = compile_rules([by_probability(f"weak-{model}", 60, model, lane=Lane.URGENT) for model in "abc"])


def test_three_models_together_stand_above_no_order_that_came_before_them() -> None:
    flagged = replace(FACTS, results=tuple(found(0.9, model) for model in "abc"))
    ordered = replace(FACTS, study_instance_uid="1.3", requested_priority="HIGH")
    by_models, by_order = (rank(each, WEAK, points_per_minute=0.1) for each in (flagged, ordered))
    assert (by_models.lane, by_order.lane) == (Lane.URGENT, Lane.URGENT)
    assert (by_models.score, by_order.score) == (100, 100)
    assert by_models.reason_rows[-1] == {
        "rule": "findings-maximum", "points": -80.0, "because": "Findings add 100 points at most",
    }  # fmt: skip
    later = replace(ordered, arrived_at=NIGHT + timedelta(minutes=1))
    assert by_models.place < rank(later, WEAK, points_per_minute=0.1).place, "who comes later waits behind"
    tight = rank(flagged, WEAK, points_per_minute=0.1, findings_maximum=20.0)
    assert tight.score == 20


def test_models_raise_one_lane_and_count_for_nothing_among_stat_studies_of_others() -> None:
    flagged = replace(FACTS, results=(found(0.9, "a"),))
    to_stat = compile_rules([by_probability("wrong", 5, lane=Lane.STAT)])
    assert rank(flagged, to_stat, points_per_minute=0.1).lane is Lane.URGENT
    by_history = compile_rules([rule("old", 7, lane=Lane.STAT), *(each.rule for each in WEAK)])
    ranking = rank(replace(flagged, patient_age_years=80.0), by_history, points_per_minute=0.1)
    assert (ranking.lane, ranking.score) == (Lane.STAT, 7)
    assert "no person made this one STAT" in ranking.reasons[-1].because
    ordered = rank(replace(flagged, requested_priority="STAT"), by_history, points_per_minute=0.1)
    assert (ordered.lane, ordered.score) == (Lane.STAT, 160), "among themselves those of an order are told apart"


# ------------------------------------------------------------------------------------------------ vetoes and pins


def test_a_veto_puts_a_study_last_unless_a_person_says_stat() -> None:
    facts = replace(FACTS, patient_age_years=80.0)
    rules = compile_rules([rule("out", 0, veto=True), rule("old", 90, lane=Lane.URGENT)])
    vetoed = rank(facts, rules, points_per_minute=0.1)
    plain = rank(replace(FACTS, arrived_at=NIGHT + timedelta(days=30)), [], points_per_minute=0.1)
    assert (vetoed.lane, vetoed.band) == (Lane.ROUTINE, 3)
    assert vetoed.place > plain.place
    stat = rank(replace(facts, requested_priority="STAT"), rules, points_per_minute=0.1)
    assert stat.lane is Lane.STAT
    assert any("not followed" in each.because for each in stat.reasons)
    pinned = rank(facts, rules, points_per_minute=0.1, pin=pin(None))
    assert (pinned.band, pinned.lane) == (-1, Lane.URGENT)
    assert rank(FACTS, rules, points_per_minute=0.1).band == 2, "what is not known vetoes nothing"


def test_a_veto_of_models_is_none() -> None:
    rules = compile_rules([by_probability("looks-fine", 0, veto=True)])
    assert rank(replace(FACTS, results=(found(0.9),)), rules, points_per_minute=0.1).band == 2


def pin(lane: Lane | None, minutes: float = 0) -> Pin:
    at = NIGHT + timedelta(minutes=minutes)
    return Pin(lane=lane, by="ada", at=at, at_s=at.timestamp(), why="asked")


@pytest.mark.parametrize(("order", "lane"), [("STAT", Lane.ROUTINE), ("", Lane.STAT), ("HIGH", Lane.URGENT)])
def test_a_pin_is_the_lane_whatever_order_and_rules_say(order: str, lane: Lane) -> None:
    facts = replace(FACTS, requested_priority=order, patient_age_years=80.0)
    ranking = rank(facts, compile_rules([rule("old", 3, lane=Lane.URGENT)]), points_per_minute=0.1, pin=pin(lane))
    assert (ranking.lane, ranking.band) == (lane, lane.order)
    assert ranking.score == (3 if lane is Lane.ROUTINE else 103), "a person's word counts once"
    assert ranking.reasons[0].because == f"Pinned to {lane} by ada at 2026-11-20 03:00 UTC: asked"


def test_pinned_first_is_above_a_stat_order_and_the_first_pinned_leads() -> None:
    stat = rank(replace(FACTS, requested_priority="STAT"), [], points_per_minute=0.1).place
    one, two = (rank(FACTS, [], points_per_minute=0.1, pin=pin(None, minutes)).place for minutes in (0, 5))
    assert one < two < stat


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
@given(_rules, _facts, _facts)
def test_models_lift_nothing_above_a_stat_order(rules, facts: RankFacts, other: RankFacts) -> None:
    stat = rank(replace(other, study_instance_uid="9", requested_priority="STAT"), rules, points_per_minute=0.1).place
    facts = replace(facts, requested_priority=facts.requested_priority.replace("STAT", "HIGH"))
    with_models = rank(facts, rules, points_per_minute=0.1).place
    without = rank(replace(facts, results=()), rules, points_per_minute=0.1).place
    assert (with_models < stat) == (without < stat)


@bounded
@given(_rules, _facts, _facts, st.integers(0, 1000))
def test_what_only_models_raised_stands_behind_an_urgent_order_that_came_no_later(
    rules, facts: RankFacts, other: RankFacts, later_min: int
) -> None:
    by_models_alone = tuple(each for each in rules if each.by_model)
    flagged = replace(
        facts,
        requested_priority="",
        study_instance_uid="9",
        arrived_at=other.arrived_at + timedelta(minutes=later_min),
    )
    ordered = replace(other, requested_priority="HIGH", study_instance_uid="1")
    places = [rank(each, by_models_alone, points_per_minute=0.1).place for each in (ordered, flagged)]
    assert places == sorted(places)


@bounded
@given(_rules, st.lists(_facts, max_size=6))
def test_models_that_find_nothing_leave_the_list_as_it_is_without_them(rules, studies: list[RankFacts]) -> None:
    """Not a minute later than with Matins off: by lane of the order, then by arrival."""
    negative = tuple(
        replace(each, study_instance_uid=f"1.{number}", results=(found(0.0), brain(0.0)))
        for number, each in enumerate(studies)
    )
    asking = tuple(each for each in rules if each.by_model and not any(each.answer(Reading(one)) for one in negative))

    def off(facts: RankFacts):
        return (lane_of_requested_priority(facts.requested_priority).order, facts.arrived_at, facts.study_instance_uid)

    order = sorted(negative, key=lambda each: rank(each, asking, points_per_minute=0.1).place)
    assert order == sorted(negative, key=off)


@bounded
@given(_rules, st.lists(_facts, min_size=2, max_size=6), st.sampled_from([0.05, 0.1, 0.2]))
def test_with_models_silent_history_delays_a_study_by_no_more_than_the_bound(
    rules, studies: list[RankFacts], points_per_minute: float
) -> None:
    silent = [replace(each, study_instance_uid=f"1.{number}", results=()) for number, each in enumerate(studies)]
    ranked = {each.study_instance_uid: rank(each, rules, points_per_minute=points_per_minute) for each in silent}
    for one in silent:
        waits = ranked[one.study_instance_uid]
        window = overtaking_window_min(waits.score, highest_score(rules, lane=waits.lane), points_per_minute)
        for other in silent:
            above = ranked[other.study_instance_uid]
            if above.lane is waits.lane and above.place < waits.place:
                assert other.arrived_at <= one.arrived_at + timedelta(minutes=window + 0.01)


_severity = st.lists(
    st.builds(
        rule,
        st.just("r"),
        st.floats(0, 60),
        st.builds(
            Comparison,
            field=st.sampled_from(["finding.probability", "finding.volume_ml"]),
            operator=st.sampled_from([Operator.ABOVE, Operator.AT_LEAST]),
            value=st.sampled_from([0.1, 0.5, 0.9, 10.0]),
            code=st.just("SCT:12738006"),
        ),
        lane=st.sampled_from([None, Lane.URGENT]),
        weight=st.none() | st.builds(Weight, points=st.floats(0, 100), code=st.just("SCT:12738006")),
        cap=st.none() | st.builds(Cap, group=st.sampled_from(["one", "two"]), points=st.just(50.0)),
    ),
    max_size=4,
).map(lambda rules: compile_rules([replace(each, id=f"r{number}") for number, each in enumerate(rules)]))


@bounded
@given(_severity, st.floats(0, 1), st.floats(0, 1), st.floats(0, 100), st.floats(0, 100), _facts)
def test_more_severe_never_ranks_lower(rules, p: float, q: float, v: float, w: float, facts: RankFacts) -> None:
    def place(probability: float, volume_ml: float):
        measured = Measurement(quantity=VOLUME, value=volume_ml, unit=MILLILITRE)
        seen = Finding(code=BRAIN, probability=probability, measurements=(measured,))
        results = (ModelResult(model="brain-t1", mode=Mode.LIVE, findings=(seen,)),)
        return rank(replace(facts, results=results), rules, points_per_minute=0.1).place

    assert place(max(p, q), max(v, w)) <= place(min(p, q), min(v, w))


@bounded
@given(_rules, _facts)
def test_history_that_is_not_known_never_lowers_a_study(rules, facts: RankFacts) -> None:
    unknown = replace(facts, history=(), patient_age_years=None)
    told = [each for each in rules if not any(part.comparison.field.startswith("history.") for part in each.parts)]
    assert rank(unknown, rules, points_per_minute=0.1).place <= rank(unknown, told, points_per_minute=0.1).place


@bounded
@given(_rules, _facts, _facts, st.sampled_from([0.05, 0.1, 0.2]))
def test_nobody_is_overtaken_after_the_window(
    rules, facts: RankFacts, newer: RankFacts, points_per_minute: float
) -> None:
    waits = rank(facts, rules, points_per_minute=points_per_minute)
    window = overtaking_window_min(waits.score, highest_score(rules, lane=waits.lane), points_per_minute)
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
