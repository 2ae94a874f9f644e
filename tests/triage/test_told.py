"""What a rule makes of a patient's history: yes, no, or nobody knows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from node.domain.history import Fact, Standing
from node.domain.rule import Comparison, Missing, Operator
from node.triage.rules import compile_rules, contributions, unanswered
from tests.triage.test_rules import EMPTY, answer, rule

# The study arrives on 2026-11-20.


def fact(topic: str = "problem", value: str = "Pulmonary embolism", coded: str = "I10:I26.9", **changed) -> Fact:
    return replace(Fact(code=topic, value=value, source="fhir", coded=coded), **changed)


def said(comparison: Comparison, *facts: Fact):
    return answer(comparison, replace(EMPTY, history=facts))


def coded(*codes: str, **changed) -> Comparison:
    return replace(Comparison(field="history.problem", operator=Operator.CODED, value=codes), **changed)


EMBOLISM = coded("I10:I26*")
NO = {"standing": Standing.NO}


@pytest.mark.parametrize(
    ("codes", "fact_code", "expected"),
    [
        (("I10:I26*",), "I10:I26.9", True),
        (("I10:I26*",), "I10:I269", True),
        (("I10:I26.9",), "I10C:I26.9", True),
        (("I10:i26.9",), "I10:I269", True),
        (("I10:I26",), "I10:I26.9", None),
        (("I10:I26*",), "I10:I27.0", None),
        (("SCT:59282003", "I10:I26*"), "SCT:59282003", True),
        (("SCT:5928*",), "I10:I26.9", None),
        (("LN:48065-7",), "LN:480657", None),
    ],
)
def test_codes_are_compared_whole_or_by_how_they_begin(codes, fact_code, expected) -> None:
    assert said(coded(*codes), fact(coded=fact_code)) is expected


def test_no_fact_at_all_is_unknown_and_so_is_what_a_list_does_not_name() -> None:
    assert said(EMBOLISM) is None
    assert said(EMBOLISM, fact("medication", "Aspirin", "ATC:B01AC06")) is None
    assert said(EMBOLISM, fact(coded="I10:I10", value="Hypertension")) is None


def test_what_is_told_of_something_else_neither_takes_points_nor_hides_what_is_not_known() -> None:
    facts = replace(EMPTY, history=(fact(coded="I10:I10", value="Hypertension"),))
    missing = rule(EMBOLISM, when_missing=Missing.POINTS, points_when_missing=5.0)
    (made,) = contributions(compile_rules([missing]), facts)
    assert made.points == 5.0
    (made,) = contributions(compile_rules([replace(missing, when_missing=Missing.FLAG)]), facts)
    assert "problem (not among those that are told)" in made.because


def test_a_text_that_speaks_of_something_else_does_not_ask_for_it() -> None:
    has = Comparison(field="history.reason_for_request", operator=Operator.HAS, value="embolism")
    assert said(has, fact("reason_for_request", "Knee pain", "")) is False
    anywhere = replace(has, field="history.any")
    assert said(anywhere, fact("allergy", "Pollen", "")) is None
    assert said(anywhere, fact("allergy", "Pollen", ""), fact("reason_for_request", "Knee pain", "")) is False


def test_a_refuted_fact_is_no_unless_another_source_says_yes() -> None:
    assert said(EMBOLISM, fact(**NO)) is False
    assert said(EMBOLISM, fact(**NO), fact(coded="I10:I26.0")) is True
    assert said(EMBOLISM, fact(coded="I10:J18.9", value="Pneumonia", **NO)) is None, "it denies something else"
    assert said(EMBOLISM, fact(value="No known problems", coded="", **NO)) is False


def test_a_refusal_of_something_else_is_no_answer_however_it_is_asked() -> None:
    same = Comparison(field="history.problem", operator=Operator.IS, value="pulmonary embolism")
    assert said(same, fact(value="Pneumonia", coded="", **NO)) is None
    assert said(same, fact(coded="", **NO)) is False


def test_years_are_those_of_the_calendar() -> None:
    dated = fact(observed_at="2022-11-20")
    assert said(replace(EMBOLISM, within_years=4.0), dated) is True
    assert said(replace(EMBOLISM, older_than_years=4.0), dated) is False
    assert said(replace(EMBOLISM, older_than_years=3.99), dated) is True


def test_what_has_ended_counts_only_where_the_rule_says_so() -> None:
    over = fact(observed_at="2019-05-02", ended_at="2020-01-01")
    assert said(EMBOLISM, over) is False
    assert said(replace(EMBOLISM, including_ended=True), over) is True
    assert said(EMBOLISM, replace(over, ended_at="2027-01-01")) is True, "it ends after the study"
    assert said(EMBOLISM, replace(over, ended_at="some day")) is None


@pytest.mark.parametrize(
    ("observed_at", "within", "older"),
    [
        ("2025-11-20", True, False),
        ("2024-11-20", True, False),
        ("2024-11-19", False, True),
        ("20241120", True, False),
        ("2024-11-20T23:59:00+01:00", True, False),
        ("2024", None, None),
        ("2024-12", True, False),
        ("2023", False, True),
        ("2026-12-01", True, False),
        ("", None, None),
        ("in spring", None, None),
    ],
)
def test_the_age_of_a_fact_counts_from_the_arrival_and_without_a_date_nobody_knows(observed_at, within, older) -> None:
    dated = fact(observed_at=observed_at)
    assert said(replace(EMBOLISM, within_years=2.0), dated) is within
    assert said(replace(EMBOLISM, older_than_years=2.0), dated) is older
    assert said(EMBOLISM, dated) is True


DIMER = Comparison(
    field="history.observation", operator=Operator.AT_LEAST, value=500.0, codes=("LN:48065-7",), unit="ng/mL{FEU}"
)


def dimer(value: str, unit: str = "ng/mL", observed_at: str = "2026-11-19", **changed) -> Fact:
    return fact("observation", value, "LN:48065-7", unit=unit, observed_at=observed_at, **changed)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([dimer("600")], True),
        ([dimer("0.6", "mg/L{FEU}")], True),
        ([dimer("400")], False),
        ([dimer("600", "mg/L{DDU}")], None),
        ([dimer("600", "")], None),
        ([dimer("high")], None),
        ([dimer("nan")], None),
        ([fact("observation", "600", "LN:1-8", unit="ng/mL")], None),
        ([dimer("600", observed_at="2026-11-01"), dimer("400")], False),
        ([dimer("400", observed_at="2026-11-01"), dimer("600")], True),
        ([dimer("600", observed_at="")], True),
        ([dimer("600", **NO)], False),
        ([], None),
    ],
)
def test_the_newest_observation_is_compared_in_its_unit_or_not_at_all(facts, expected) -> None:
    assert said(DIMER, *facts) is expected
    assert said(DIMER, *reversed(facts)) is expected


def test_an_observation_without_a_date_is_not_within_any_years() -> None:
    assert said(replace(DIMER, within_years=1.0), dimer("600", observed_at="")) is None
    assert said(replace(DIMER, within_years=1.0), dimer("600", observed_at="2020-01-01")) is False


def test_phrases_are_looked_for_in_what_stands() -> None:
    has = Comparison(field="history.allergy", operator=Operator.HAS_ANY, value=("penicillin*", "contrast medi*"))
    assert said(has, fact("allergy", "Iodinated contrast media", "")) is True
    assert said(has, fact("allergy", "Penicillin G", "", **NO)) is False
    assert said(has, fact("allergy", "Pollen", "")) is None
    assert said(has, fact("allergy", "No known allergies", "", **NO)) is False
    assert said(has) is None


def test_what_other_systems_tell_is_not_in_the_text_of_the_order() -> None:
    has = Comparison(field="history.any", operator=Operator.HAS, value="embolism")
    assert said(has, fact()) is None
    assert said(has, fact("reason_for_request", "Embolism?", "")) is True


def test_a_reason_names_the_fact_that_was_noticed_with_its_date() -> None:
    compiled = compile_rules([rule(EMBOLISM, because="Before: {history.problem}")])
    facts = (fact(observed_at="2021-03-04T08:00"), fact(coded="I10:I10", value="Hypertension"))
    (made,) = contributions(compiled, replace(EMPTY, history=facts))
    assert made.because == "Before: “Pulmonary embolism” (2021-03-04)"
    compiled = compile_rules([rule(DIMER, because="D-dimer {history.observation}")])
    (made,) = contributions(compiled, replace(EMPTY, history=(dimer("600"), dimer("300", observed_at="2020-01-01"))))
    assert made.because == "D-dimer 600 ng/mL (2026-11-19)"


@pytest.mark.parametrize(
    ("asked", "told", "why"),
    [
        (DIMER, dimer("600", "mmol/L"), "observation (not in ng/mL{FEU})"),
        (DIMER, dimer("high"), "observation (not a number)"),
        (replace(EMBOLISM, within_years=1.0), fact(), "problem (without a date)"),
        (EMBOLISM, fact("medication"), "problem"),
    ],
)
def test_what_is_not_known_is_said_with_its_reason(asked, told, why) -> None:
    assert unanswered(compile_rules([rule(asked)]), replace(EMPTY, history=(told,))) == {"r": why}
