"""What a rule adds: points, a weighed probability, less where its group is full; changes since a prior; vetoes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.domain.change import Change, Verdict
from node.domain.finding import MILLILITRE, VOLUME, Code, Finding
from node.domain.history import Fact, Standing
from node.domain.model_card import Mode
from node.domain.priority import Lane
from node.domain.rule import AllOf, AnyOf, Cap, Comparison, Missing, Not, Operator, Rule, Weight
from node.triage.facts import ModelResult
from node.triage.rank import rank
from node.triage.rules import compile_rules, contributions, digest_of
from tests.triage.test_rules import EMPTY, TRUE, answer, rule

bounded = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
NODULE = Code("27925004", "SCT", "Nodule")


def change(verdict: Verdict = Verdict.GROWN, **changed) -> Change:
    made = Change(
        model="lung",
        code=NODULE,
        quantity=VOLUME,
        unit=MILLILITRE,
        before=1.0,
        after=2.0,
        ratio=2.0,
        doubling_days=100.0,
        days=100,
        prior_study_instance_uid="1.1",
        verdict=verdict,
    )
    return replace(made, **changed)


def asks(field: str, operator: Operator, value, **changed) -> Comparison:
    return Comparison(field=f"change.{field}", operator=operator, value=value, code="SCT:27925004", **changed)


SHRUNK = change(Verdict.SHRUNK, ratio=0.5, doubling_days=-100.0)
STABLE = change(Verdict.STABLE, ratio=1.0, doubling_days=None)
NOT_COMPARABLE = change(Verdict.NOT_COMPARABLE, ratio=None, doubling_days=None, reason="another kernel")
SOON = asks("doubling_days", Operator.BELOW, 400.0)


@pytest.mark.parametrize(
    ("asked", "changes", "expected"),
    [
        (SOON, [change()], True),
        (SOON, [change(doubling_days=500.0)], False),
        (SOON, [SHRUNK], False),
        (SOON, [STABLE], False),
        (SOON, [change(Verdict.NEW, before=None, ratio=None, doubling_days=None)], None),
        (SOON, [NOT_COMPARABLE], None),
        (SOON, [NOT_COMPARABLE, change()], True),
        (SOON, [NOT_COMPARABLE, SHRUNK], None),
        (SOON, [], None),
        (asks("verdict", Operator.IS, "grown"), [change()], True),
        (asks("verdict", Operator.ONE_OF, ("new", "grown")), [STABLE], False),
        (asks("verdict", Operator.IS, "stable"), [NOT_COMPARABLE], None),
        (asks("ratio", Operator.AT_LEAST, 1.25), [change()], True),
        (asks("ratio", Operator.AT_LEAST, 1.25, model="lung"), [change()], True),
        (asks("ratio", Operator.AT_LEAST, 1.25, model="other"), [change()], None),
        (asks("ratio", Operator.AT_LEAST, 1.25, quantity="volume"), [change()], True),
        (asks("ratio", Operator.AT_LEAST, 1.25, quantity="diameter"), [change()], None),
        (asks("after", Operator.ABOVE, 1.5, quantity="volume"), [change()], True),
        (asks("before", Operator.ABOVE, 1.5, quantity="volume"), [change()], False),
        (asks("days", Operator.ABOVE, 30.0), [change()], True),
    ],
)
def test_changes_are_asked_by_code_model_and_quantity(asked, changes, expected) -> None:
    assert answer(asked, replace(EMPTY, changes=tuple(changes))) is expected
    assert answer(asked, replace(EMPTY, changes=tuple(reversed(changes)))) is expected


def test_a_change_of_a_model_in_shadow_says_nothing() -> None:
    facts = replace(EMPTY, changes=(change(),), results=(ModelResult(model="lung", mode=Mode.SHADOW),))
    assert answer(SOON, facts) is None


def test_a_reason_has_ratio_days_and_doubling_time() -> None:
    when = AllOf((SOON, asks("ratio", Operator.ABOVE, 1.0), asks("days", Operator.ABOVE, 0.0)))
    because = "{change.ratio} in {change.days}, doubles in {change.doubling_days}"
    facts = replace(EMPTY, changes=(change(), replace(STABLE, days=100)))
    (made,) = contributions(compile_rules([rule(when, because=because)]), facts)
    assert made.because == "2 in 100 days, doubles in 100 days"


# ------------------------------------------------------------------------------------------ probabilities, caps, vetoes


def found(probability: float | None, mode: Mode = Mode.LIVE, model: str = "lung") -> ModelResult:
    return ModelResult(model=model, mode=mode, findings=(Finding(code=NODULE, probability=probability, present=True),))


WEIGHED = rule(TRUE, points=10.0, weight=Weight(points=40.0, code="SCT:27925004"))


@pytest.mark.parametrize(
    ("results", "points"),
    [
        ((), 10.0),
        ((found(None),), 10.0),
        ((found(0.5),), 30.0),
        ((found(0.333333),), 23.33),
        ((found(0.5), found(0.9, model="other")), 46.0),
        ((found(0.9, Mode.SHADOW),), 10.0),
    ],
)
def test_a_probability_adds_its_share_of_the_weight(results, points) -> None:
    (made,) = contributions(compile_rules([WEIGHED]), replace(EMPTY, results=results))
    assert (made.points, made.by_model) == (points, True)


def test_a_group_adds_no_more_than_its_cap_and_says_so() -> None:
    cap = Cap(group="bleeding", points=50.0)
    rules = [rule(TRUE, id=name, points=30.0, cap=cap) for name in "abc"] + [rule(TRUE, id="d", points=5.0)]
    made = contributions(compile_rules(rules), EMPTY)
    assert [(each.rule, each.points) for each in made] == [("a", 30.0), ("b", 20.0), ("d", 5.0), ("c", 0.0)]
    assert made[1].because == "Because (20 of 30 points: “bleeding” adds 50 at most)"
    assert made[0].because == "Because"


def test_of_two_caps_of_a_group_the_greater_holds_so_that_one_more_rule_never_lowers() -> None:
    rules = [
        rule(TRUE, id=name, points=30.0, cap=Cap(group="g", points=most))
        for name, most in (("a", 50.0), ("b", 55.0), ("c", 20.0))
    ]
    assert sum(each.points for each in contributions(compile_rules(rules), EMPTY)) == 55.0


def test_what_a_model_says_gives_way_first_in_a_full_group() -> None:
    cap = Cap(group="bleeding", points=50.0)
    rules = [replace(WEIGHED, id="model", points=50.0, cap=cap), rule(TRUE, id="history", points=30.0, cap=cap)]
    made = {each.rule: each.points for each in contributions(compile_rules(rules), EMPTY)}
    assert made == {"history": 30.0, "model": 20.0}


VETO = rule(TRUE, id="veto", points=0.0, veto=True)


def test_a_veto_is_the_first_reason_and_puts_a_study_behind_all_others() -> None:
    rules = compile_rules([VETO, rule(TRUE, id="big", points=90.0, lane=Lane.URGENT)])
    assert contributions(rules, EMPTY)[0].veto
    vetoed = rank(EMPTY, rules, points_per_minute=0.1)
    other = rank(replace(EMPTY, study_instance_uid="9"), compile_rules([]), points_per_minute=0.1)
    assert vetoed.place > other.place
    assert vetoed.lane is Lane.ROUTINE
    assert vetoed.reasons[0].rule == "veto"
    high = rank(replace(EMPTY, requested_priority="HIGH"), rules, points_per_minute=0.1)
    assert (high.reasons[0].rule, high.lane) == ("veto", Lane.ROUTINE)


def test_a_veto_never_lowers_a_study_that_is_ordered_as_stat() -> None:
    stat = replace(EMPTY, requested_priority="STAT")
    assert rank(stat, compile_rules([VETO]), points_per_minute=0.1).place == (
        rank(stat, compile_rules([]), points_per_minute=0.1).place
    )


def test_the_digest_tells_rules_apart_and_not_their_order() -> None:
    one, two = rule(TRUE, id="a"), rule(TRUE, id="b")
    assert digest_of(compile_rules([one, two])) == digest_of(compile_rules([two, one]))
    assert digest_of(compile_rules([one, two])) != digest_of(compile_rules([one, replace(two, points=8.0)]))


def test_a_dormant_rule_is_not_asked() -> None:
    assert compile_rules([rule(TRUE, dormant=("SCT:1",))]) == ()


# ----------------------------------------------------------------------------------------------- what must never happen

_facts = st.lists(
    st.builds(
        Fact,
        code=st.sampled_from(["problem", "observation", "reason_for_request"]),
        value=st.sampled_from(["cancer", "600", "no cancer", "none"]),
        unit=st.sampled_from(["", "ng/mL", "mg/L"]),
        source=st.just("s"),
        observed_at=st.sampled_from(["", "2026-11-01", "2020", "2012-02-29"]),
        coded=st.sampled_from(["", "I10:C34.1", "LN:48065-7"]),
        standing=st.sampled_from(list(Standing)),
        ended_at=st.sampled_from(["", "2026-11-02", "?"]),
    ),
    max_size=5,
).map(tuple)
_history = st.one_of(
    st.builds(
        Comparison,
        field=st.just("history.problem"),
        operator=st.just(Operator.CODED),
        value=st.sampled_from([("I10:C*",), ("LN:48065-7",)]),
        within_years=st.sampled_from([None, 5.0]),
        older_than_years=st.sampled_from([None, 1.0]),
        including_ended=st.booleans(),
    ),
    st.builds(
        Comparison,
        field=st.just("history.observation"),
        operator=st.sampled_from([Operator.ABOVE, Operator.BELOW]),
        value=st.just(500.0),
        codes=st.just(("LN:48065-7",)),
        unit=st.just("ng/mL"),
    ),
    st.builds(
        Comparison,
        field=st.sampled_from(["history.any", "history.problem"]),
        operator=st.just(Operator.HAS_ANY),
        value=st.just(("cancer*",)),
    ),
)
_severity = st.one_of(
    st.builds(asks, st.just("ratio"), st.just(Operator.ABOVE), st.sampled_from([0.5, 1.25])),
    st.builds(
        Comparison,
        field=st.just("finding.probability"),
        operator=st.sampled_from([Operator.ABOVE, Operator.AT_LEAST]),
        value=st.sampled_from([0.2, 0.5]),
        code=st.just("SCT:27925004"),
    ),
)


def _joined(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, min_size=1, max_size=3).flatmap(
            lambda parts: st.sampled_from([AllOf(tuple(parts)), AnyOf(tuple(parts))])
        ),
        max_leaves=4,
    )


def _rules(clauses):
    made = st.builds(
        rule,
        clauses,
        points=st.integers(0, 50).map(float),
        weight=st.none() | st.just(Weight(points=40.0, code="SCT:27925004")),
        cap=st.none() | st.builds(Cap, group=st.sampled_from(["x", "y"]), points=st.just(60.0)),
        lane=st.sampled_from([None, Lane.URGENT]),
    )
    return st.lists(made, min_size=1, max_size=5).map(
        lambda rules: [replace(each, id=f"r{number}") for number, each in enumerate(rules)]
    )


@bounded
@given(_rules(_joined(st.one_of(_severity, _history))), _facts, st.floats(0, 1), st.floats(0, 1), st.floats(0.1, 9))
def test_more_severe_never_ranks_lower(rules: list[Rule], history, one: float, two: float, ratio: float) -> None:
    def place(probability: float, grown: float):
        facts = replace(EMPTY, history=history, results=(found(probability),), changes=(change(ratio=grown),))
        return rank(facts, compile_rules(rules), points_per_minute=0.1).place

    assert place(max(one, two), ratio) <= place(min(one, two), ratio)
    assert place(one, ratio * 2) <= place(one, ratio)


@bounded
@given(_rules(st.one_of(_joined(_history), _joined(_history).map(Not))), _facts)
def test_history_of_which_nothing_is_known_never_lowers_and_what_raises_stands_among_the_facts(rules, history) -> None:
    compiled = compile_rules(rules)
    without = rank(replace(EMPTY), compile_rules([]), points_per_minute=0.1)
    unknown = rank(replace(EMPTY), compiled, points_per_minute=0.1)
    known = rank(replace(EMPTY, history=history), compiled, points_per_minute=0.1)
    assert unknown.place == without.place, "what is not known is no reason"
    assert known.place <= unknown.place


@bounded
@given(_rules(_joined(st.one_of(_severity, _history))), _facts, st.randoms(use_true_random=False))
def test_the_order_of_facts_and_rules_changes_nothing(rules, history, shuffle) -> None:
    facts = replace(EMPTY, history=history, results=(found(0.4),), changes=(change(), SHRUNK))
    mixed = replace(facts, history=tuple(shuffle.sample(history, len(history))), changes=(SHRUNK, change()))
    said = rank(facts, compile_rules(rules), points_per_minute=0.1)
    assert rank(mixed, compile_rules(shuffle.sample(rules, len(rules))), points_per_minute=0.1) == said


def test_points_while_something_is_missing_count_in_their_group() -> None:
    unknown = Comparison(field="patient_age_years", operator=Operator.ABOVE, value=50.0)
    cap = Cap(group="g", points=10.0)
    waits = rule(unknown, id="a", when_missing=Missing.POINTS, points_when_missing=8.0, cap=cap)
    made = contributions(compile_rules([waits, rule(TRUE, id="b", points=7.0, cap=cap)]), EMPTY)
    assert sum(each.points for each in made) == 10.0
