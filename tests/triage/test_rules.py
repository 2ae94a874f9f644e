"""What a rule answers: true, false or unknown, and in which words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from node.domain.change import Change, Verdict
from node.domain.finding import MILLILITRE, MILLIMETRE, VOLUME, Code, Finding, Measurement
from node.domain.history import TOPICS, Fact
from node.domain.measures import TERMS, Quantity
from node.domain.model_card import Mode
from node.domain.priority import Lane
from node.domain.rule import FIELDS, AllOf, AnyOf, Comparison, Missing, Not, Operator, Rule
from node.triage.clauses import LONGEST_SEARCHED, part_of
from node.triage.facts import ModelResult, RankFacts, values
from node.triage.rules import compile_rules, contributions, unanswered

BRAIN = Code("12738006", "SCT", "Brain")
EMPTY = RankFacts(study_instance_uid="1.2", arrived_at=datetime(2026, 11, 20, 3, 0, tzinfo=UTC), hour_of_day=4)
FULL = replace(
    EMPTY,
    modalities=("MR", "SR"),
    body_parts=("BRAIN",),
    study_description="MR Head",
    patient_age_years=72.0,
    patient_sex="F",
    requested_priority="HIGH",
    history=(
        Fact(code="reason_for_request", value="Sudden headache, no papilledema", source="dataset"),
        Fact(code="patient_location", value="ICU", source="dataset"),
    ),
    results=(
        ModelResult(
            model="brain-t1",
            mode=Mode.LIVE,
            findings=(
                Finding(
                    code=BRAIN,
                    measurements=(Measurement(quantity=VOLUME, value=812.4, unit=MILLILITRE),),
                    probability=0.9,
                ),
            ),
        ),
    ),
)
TRUE = Comparison(field="hour_of_day", operator=Operator.IS, value=4.0)
FALSE = Comparison(field="hour_of_day", operator=Operator.IS, value=5.0)
UNKNOWN = Comparison(field="patient_age_years", operator=Operator.ABOVE, value=50.0)


def rule(when, **changed) -> Rule:
    made = Rule(id="r", title="Title", because="Because", when=when, points=7.0, source="s", version="1")
    return replace(made, **changed)


def answer(when, facts: RankFacts):
    (compiled,) = compile_rules([rule(when)])
    fired = bool(contributions([compiled], facts))
    unknown = bool(unanswered([compiled], facts))
    assert not (fired and unknown)
    return None if unknown else fired


@pytest.mark.parametrize(
    ("clause", "expected"),
    [
        (AllOf((TRUE, TRUE)), True),
        (AllOf((TRUE, FALSE)), False),
        (AllOf((UNKNOWN, FALSE)), False),
        (AllOf((FALSE, UNKNOWN)), False),
        (AllOf((TRUE, UNKNOWN)), None),
        (AnyOf((FALSE, FALSE)), False),
        (AnyOf((FALSE, TRUE)), True),
        (AnyOf((UNKNOWN, TRUE)), True),
        (AnyOf((TRUE, UNKNOWN)), True),
        (AnyOf((FALSE, UNKNOWN)), None),
        (Not(TRUE), False),
        (Not(FALSE), True),
        (Not(UNKNOWN), None),
        (Not(AnyOf((UNKNOWN, FALSE))), None),
    ],
)
def test_unknown_is_neither_true_nor_false(clause, expected) -> None:
    assert answer(clause, EMPTY) is expected


@pytest.mark.parametrize(
    ("field", "operator", "value", "expected"),
    [
        ("modality", Operator.IS, "sr", True),
        ("modality", Operator.ONE_OF, ("CT", "mr"), True),
        ("modality", Operator.IS, "CT", False),
        ("body_part", Operator.ONE_OF, ("HEAD",), False),
        ("study_description", Operator.MATCHES, r"\bhead\b", True),
        ("patient_age_years", Operator.AT_LEAST, 72.0, True),
        ("patient_age_years", Operator.ABOVE, 72.0, False),
        ("patient_age_years", Operator.AT_MOST, 72.0, True),
        ("patient_age_years", Operator.BELOW, 72.0, False),
        ("patient_age_years", Operator.IS, 72.0, True),
        ("patient_sex", Operator.IS, "F", True),
        ("requested_priority", Operator.ONE_OF, ("STAT", "HIGH"), True),
        ("patient_location", Operator.IS, "icu", True),
        ("history.reason_for_request", Operator.HAS, "sudden headache", True),
        ("history.reason_for_request", Operator.HAS, "papilledema", False),
        ("history.reason_for_request", Operator.MATCHES, "papilledema", True),
        ("history.reason_for_request", Operator.HAS_ANY, ("stroke", "headache*"), True),
        ("history.any", Operator.HAS, "headache", True),
        ("history.any", Operator.HAS, "ICU", False),
        ("history.allergy", Operator.HAS, "iodine", None),
        ("history.allergy", Operator.KNOWN, False, True),
        ("history.allergy", Operator.KNOWN, True, False),
        ("history.reason_for_request", Operator.KNOWN, True, True),
        ("hour_of_day", Operator.BELOW, 6.0, True),
    ],
)
def test_each_field_and_operator(field: str, operator: Operator, value, expected) -> None:
    assert answer(Comparison(field=field, operator=operator, value=value), FULL) is expected
    if operator is not Operator.KNOWN and FIELDS[field].nullable:
        assert answer(Comparison(field=field, operator=operator, value=value), EMPTY) is None


@pytest.mark.parametrize(
    ("field", "operator", "value", "code", "expected"),
    [
        ("finding.volume_ml", Operator.BELOW, 900.0, "SCT:12738006", True),
        ("finding.volume_ml", Operator.ABOVE, 900.0, "SCT:12738006", False),
        ("finding.volume_ml", Operator.BELOW, 900.0, "SCT:1", None),
        ("finding.probability", Operator.AT_LEAST, 0.9, "SCT:12738006", True),
        ("finding.present", Operator.IS, True, "SCT:12738006", True),
    ],
)
@pytest.mark.parametrize("model", ["", "brain-t1"])
def test_findings_are_asked_by_code_and_model(field, operator, value, code, expected, model) -> None:
    assert answer(Comparison(field=field, operator=operator, value=value, code=code, model=model), FULL) is expected
    elsewhere = Comparison(field=field, operator=operator, value=value, code=code, model="other")
    assert answer(elsewhere, FULL) is None


def test_a_model_that_looks_for_something_else_has_not_answered() -> None:
    absent = Comparison(field="finding.present", operator=Operator.IS, value=False, code="SCT:1")
    assert answer(replace(absent, model="brain-t1"), FULL) is True
    assert answer(absent, FULL) is None


def test_a_model_in_shadow_or_one_without_a_result_says_nothing() -> None:
    present = Comparison(field="finding.present", operator=Operator.IS, value=False, code="SCT:12738006")
    shadow = replace(FULL, results=(replace(FULL.results[0], mode=Mode.SHADOW),))
    assert answer(present, shadow) is None
    assert answer(present, replace(FULL, results=())) is None


@pytest.mark.parametrize(
    "measurement",
    [
        Measurement(quantity=VOLUME, value=1.0, unit=MILLIMETRE),
        Measurement(quantity=BRAIN, value=1.0, unit=MILLILITRE),
        Measurement(quantity=VOLUME, value=float("nan"), unit=MILLILITRE),
    ],
    ids=["another unit", "another quantity", "no number"],
)
def test_what_is_not_that_measurement_is_not_known(measurement: Measurement) -> None:
    result = ModelResult(model="m", mode=Mode.LIVE, findings=(Finding(code=BRAIN, measurements=(measurement,)),))
    small = Comparison(field="finding.volume_ml", operator=Operator.BELOW, value=900.0, code="SCT:12738006")
    assert answer(small, replace(FULL, results=(result,))) is None


LESION = Code("52988006", "SCT", "Lesion")


def lesions(**changes: object) -> RankFacts:
    """A segment of two lesions, the larger 12 mm long, and one that is absent."""

    def of(quantity: Quantity, value: float) -> Measurement:
        term = TERMS[quantity]
        return Measurement(quantity=term.code, unit=term.unit, derivation=term.derivation, value=value)

    whole = Finding(
        code=LESION, segment_number=1, measurements=(of(Quantity.VOLUME, 5.0), of(Quantity.LESION_COUNT, 2.0))
    )
    each = [
        Finding(
            code=LESION,
            segment_number=1,
            lesion_number=number,
            measurements=(of(Quantity.LONG_AXIS, long_mm), of(Quantity.VOLUME, volume_ml), of(Quantity.MEAN, 40.0)),
            sentence=f"Lesion {number}: {long_mm:g} mm.",
        )
        for number, long_mm, volume_ml in ((1, 12.0, 4.0), (2, 6.0, 1.0))
    ]
    absent = Finding(code=BRAIN, present=False)
    return replace(FULL, results=(ModelResult(model="m", mode=Mode.LIVE, findings=(whole, *each, absent)),), **changes)


@pytest.mark.parametrize(
    ("field", "operator", "value", "expected"),
    [
        ("finding.long_axis_mm", Operator.ABOVE, 10.0, True),
        ("finding.short_axis_mm", Operator.ABOVE, 10.0, None),
        ("finding.lesion_count", Operator.AT_LEAST, 2.0, True),
        ("finding.volume_ml", Operator.BELOW, 4.5, False),
        ("finding.lesion_volume_ml", Operator.BELOW, 1.5, True),
        ("finding.lesion_volume_ml", Operator.ABOVE, 4.5, False),
        ("finding.mean_hu", Operator.IS, 40.0, True),
    ],
)
def test_sizes_counts_and_attenuation_are_asked_of_lesions_and_of_the_whole(field, operator, value, expected) -> None:
    asked = Comparison(field=field, operator=operator, value=value, code="SCT:52988006")
    assert answer(asked, lesions()) is expected


def test_a_finding_that_is_absent_is_not_present() -> None:
    asked = Comparison(field="finding.present", operator=Operator.IS, value=True, code="SCT:12738006")
    assert answer(asked, lesions()) is False


def test_a_reason_may_quote_the_sentences_on_what_it_asks_for() -> None:
    when = Comparison(field="finding.long_axis_mm", operator=Operator.ABOVE, value=10.0, code="SCT:52988006")
    (made,) = contributions(compile_rules([rule(when, because="Large. {sentence}")]), lesions())
    assert made.because == "Large. Lesion 1: 12 mm. Lesion 2: 6 mm."


def test_the_sentence_is_filled_with_what_was_found() -> None:
    when = AllOf(
        (
            Comparison(field="patient_age_years", operator=Operator.ABOVE, value=18.0),
            Comparison(field="finding.volume_ml", operator=Operator.BELOW, value=900.0, code="SCT:12738006"),
            Comparison(field="modality", operator=Operator.IS, value="MR"),
            Comparison(field="history.any", operator=Operator.HAS, value="sudden headache"),
            Comparison(field="finding.present", operator=Operator.IS, value=True, code="SCT:12738006"),
        )
    )
    because = "{finding.volume_ml} at {patient_age_years} in {modality}: {mention}; {finding.present}"
    (made,) = contributions(compile_rules([rule(when, because=because)]), FULL)
    assert made.because == "812 mL at 72 years in “MR”: “Sudden headache, no papilledema”; yes"


def test_a_long_text_is_shown_around_the_mention_and_on_one_line() -> None:
    text = "word " * 100 + "\nsudden headache\n" + "word " * 100
    facts = replace(FULL, history=(Fact(code="reason_for_request", value=text, source="dataset"),))
    when = Comparison(field="history.any", operator=Operator.HAS, value="sudden headache")
    (made,) = contributions(compile_rules([rule(when, because="{mention}")]), facts)
    assert "word sudden headache word" in made.because
    assert len(made.because) < 130
    assert "\n" not in made.because


def test_braces_in_the_data_are_not_filled_again() -> None:
    facts = replace(FULL, study_description="{patient_sex} {0.__class__}")
    when = Comparison(field="study_description", operator=Operator.MATCHES, value="sex")
    (made,) = contributions(compile_rules([rule(when, because="{study_description}")]), facts)
    assert made.because == "“{patient_sex} {0.__class__}”"


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (Missing.SKIP, []),
        (Missing.FLAG, [(0.0, None, "Title: cannot be answered, age not known")]),
        (Missing.POINTS, [(3.0, None, "Title: cannot be answered, age not known")]),
    ],
)
def test_what_is_missing_is_never_silently_no(missing: Missing, expected) -> None:
    compiled = compile_rules([rule(UNKNOWN, when_missing=missing, points_when_missing=3.0, lane=Lane.URGENT)])
    made = contributions(compiled, EMPTY)
    if missing is Missing.FLAG:
        compiled = compile_rules([rule(UNKNOWN, when_missing=missing, lane=Lane.URGENT)])
        made = contributions(compiled, EMPTY)
    assert [(each.points, each.lane, each.because) for each in made] == expected
    assert unanswered(compiled, EMPTY) == {"r": "age"}


def test_most_points_come_first_and_names_decide_between_equals() -> None:
    rules = [rule(TRUE, id="b"), rule(TRUE, id="c", points=9.0), rule(TRUE, id="a")]
    assert [each.rule for each in contributions(compile_rules(rules), FULL)] == ["c", "a", "b"]


GROWN = Change(
    model="m",
    code=BRAIN,
    quantity=VOLUME,
    unit=MILLILITRE,
    before=1.0,
    after=2.0,
    ratio=2.0,
    doubling_days=90.0,
    days=90,
    prior_study_instance_uid="1.1",
    verdict=Verdict.GROWN,
)


def test_every_field_of_the_vocabulary_can_be_looked_up() -> None:
    numbers = [
        Finding(
            code=BRAIN,
            probability=0.5,
            lesion_number=lesion,
            measurements=tuple(
                Measurement(quantity=each.code, unit=each.unit, derivation=each.derivation, value=1.0)
                for each in TERMS.values()
            ),
        )
        for lesion in (0, 1)
    ]
    facts = replace(
        FULL,
        day_of_week="SUNDAY",
        prior_days=31.0,
        history=tuple(Fact(code=code, value="x", source="dataset") for code in TOPICS),
        changes=(GROWN,),
        results=(ModelResult(model="m", mode=Mode.LIVE, findings=tuple(numbers)),),
    )
    for field in FIELDS.values():
        code = "SCT:12738006" if field.is_finding else ""
        assert list(values((field.name, "", code, ""), facts)), field.name


def test_a_regular_expression_is_looked_for_in_so_much_of_a_text_as_takes_no_time() -> None:
    test = part_of(Comparison(field="study_description", operator=Operator.MATCHES, value="needle")).test
    assert test("x" * (LONGEST_SEARCHED - 6) + "needle")
    assert not test("x" * LONGEST_SEARCHED + "needle")
