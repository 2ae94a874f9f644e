"""Rule files: what the wider vocabulary takes, what it refuses, and the examples of every rule that is shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.catalogue import finding_codes, load_models_leniently, load_rules, load_rules_leniently
from node.domain.rule import Cap, Comparison, Operator, Rule, Weight
from node.errors import Misconfigured
from node.triage.examples import wrong_examples
from node.triage.rules import compile_rules
from node.triage.scrutiny import fields_of, highest_points, notes_on

ROOT = Path(__file__).parents[2]
KNOWN = {("m", "SCT:1"), ("m", "SCT:2")}
FRAME = 'title = "T"\nbecause = "B"\nversion = "1"\nsource = "S"\n'
POINTS = "then = { points = 10 }\n"


def read(folder: Path, body: str, name: str = "r", known=KNOWN) -> Rule:
    (folder / f"{name}.toml").write_text(FRAME + body)
    (rule,) = [each for each in load_rules(folder, known) if each.id == name]
    return rule


def when(clause: str, then: str = POINTS) -> str:
    return f"when = {{ {clause} }}\n{then}"


OBSERVED = 'field = "history.observation", op = ">=", value = 500, code = "LN:48065-7", unit = "ng/mL"'


def test_an_observation_has_codes_a_unit_and_an_age(tmp_path: Path) -> None:
    clause = OBSERVED.replace('"LN:48065-7"', '["LN:48065-7", "LN:7799-0"]') + ", within_years = 0.5"
    assert read(tmp_path, when(clause)).when == Comparison(
        field="history.observation",
        operator=Operator.AT_LEAST,
        value=500.0,
        codes=("LN:48065-7", "LN:7799-0"),
        unit="ng/mL",
        within_years=0.5,
    )


def test_a_change_has_model_code_and_quantity(tmp_path: Path) -> None:
    clause = 'field = "change.after", op = ">", value = 8, model = "m", code = "SCT:1", quantity = "long_axis"'
    assert read(tmp_path, when(clause)).when == Comparison(
        field="change.after", operator=Operator.ABOVE, value=8.0, model="m", code="SCT:1", quantity="long_axis"
    )


def test_a_rule_may_weigh_a_probability_and_belong_to_a_group(tmp_path: Path) -> None:
    then = (
        'then = { points = 5, points_per_probability = { code = "SCT:1", points = 40 },'
        ' cap = { group = "g", points = 60 } }\n'
    )
    rule = read(tmp_path, when('field = "finding.present", op = "is", value = true, code = "SCT:2"', then))
    assert (rule.weight, rule.cap) == (Weight(points=40.0, code="SCT:1"), Cap(group="g", points=60.0))
    assert rule.highest_points == 45.0


MODALITY = 'field = "modality", op = "is", value = "MR"'
VETO = "then = { veto = true }\n"


@pytest.mark.parametrize(
    ("body", "key", "problem"),
    [
        (when('field = "history.problem", op = "coded", value = "I10:I26"'), "when.value", "list"),
        (when('field = "history.problem", op = "coded", value = ["I26"]'), "when.value[0]", "no code"),
        (when('field = "history.problem", op = "coded", value = ["I10:*26"]'), "when.value[0]", "no code"),
        (when('field = "modality", op = "coded", value = ["I10:I26"]'), "when.op", "does not go"),
        (when('field = "history.problem", op = ">", value = 3'), "when.op", "does not go"),
        (when(OBSERVED.replace(', unit = "ng/mL"', "")), "when.unit", "needs a unit"),
        (when(OBSERVED.replace(', code = "LN:48065-7"', "")), "when.code", "needs a code"),
        (when(OBSERVED.replace("LN:48065-7", "D-dimer")), "when.code", "no code"),
        (when(OBSERVED.replace("500", '"high"')), "when.value", "none"),
        (when('field = "history.observation", op = "has", value = "x", unit = "mL"'), "when.unit", "no unit"),
        (when(f"{MODALITY}, within_years = 1"), "when.within_years", "does not go"),
        (when('field = "history.any", op = "known", value = true, within_years = 1'), "when.within_years", "does not"),
        (when('field = "history.any", op = "has", value = "x", within_years = -1'), "when.within_years", "years"),
        (when('field = "history.any", op = "has", value = "x", including_ended = 1'), "when.including_ended", "true"),
        (when('field = "history.problem", op = "has", value = "x", code = "SCT:1"'), "when.code", "does not go"),
        (when('field = "change.verdict", op = "is", value = "bigger", code = "SCT:1"'), "when.value", "never be"),
        (when('field = "change.verdict", op = "is", value = "not comparable", code = "SCT:1"'), "when.value", "never"),
        (when('field = "change.verdict", op = "is", value = "new"'), "when.code", "needs a code"),
        (when('field = "change.after", op = ">", value = 1, code = "SCT:1"'), "when.quantity", "needs a quantity"),
        (when('field = "change.ratio", op = ">", value = 1, code = "SCT:1", quantity = "size"'), "when.quantity", "no"),
        (when('field = "change.days", op = "known", value = true, code = "SCT:1"'), "when.op", "does not go"),
        (when('field = "day_of_week", op = "is", value = "someday"'), "when.value", "never be"),
        (when('field = "finding.present", op = "is", value = true, code = "SCT:9"'), "when.code", "no model finds"),
        (
            when('field = "change.verdict", op = "is", value = "new", code = "SCT:1"', 'then = { lane = "STAT" }\n'),
            "then.lane",
            "asks a model",
        ),
        (
            when(MODALITY, 'then = { lane = "STAT", points_per_probability = { code = "SCT:1", points = 4 } }\n'),
            "then.lane",
            "asks a model",
        ),
        (
            when(MODALITY, 'then = { points_per_probability = { code = "SCT:9", points = 4 } }\n'),
            "then.points_per_probability.code",
            "no model finds",
        ),
        (
            when(MODALITY, 'then = { points = 70, points_per_probability = { code = "SCT:1", points = 40 } }\n'),
            "then.points",
            "110",
        ),
        (
            when(MODALITY, 'then = { points_per_probability = { code = "SCT:1", points = 4, size = 1 } }\n'),
            "then.points_per_probability.size",
            "unknown key",
        ),
        (
            when(MODALITY, 'then = { points = 1, cap = { group = " ", points = 4 } }\n'),
            "then.cap.group",
            "empty",
        ),
        (when(MODALITY, 'then = { points = 1, cap = { group = "g", points = -4 } }\n'), "then.cap.points", "-4"),
        (when(MODALITY, "then = { veto = true, points = 3 }\n"), "then.veto", "something else"),
        (when('field = "finding.present", op = "is", value = false, code = "SCT:1"', VETO), "then.veto", "model"),
        (when('field = "change.verdict", op = "is", value = "stable", code = "SCT:1"', VETO), "then.veto", "model"),
        (when('field = "history.any", op = "known", value = false', VETO), "then.veto", "missing"),
        (when('not = { field = "history.any", op = "has", value = "pain" }', VETO), "then.veto", "not"),
        ("when_missing = { points = 3 }\n" + when(MODALITY, VETO), "then.veto", "missing"),
        ('requires = ["SCT"]\n' + when(MODALITY), "requires[0]", "no code"),
        (when(MODALITY) + '[[examples]]\ntitle = "x"\nsays = "perhaps"\nfacts = {}\n', "examples[0].says", "fires"),
        (
            when(MODALITY) + '[[examples]]\ntitle = "x"\nsays = "not"\nfacts = { modalty = ["CT"] }\n',
            "examples[0].facts.modalty",
            "unknown key",
        ),
        (
            when(MODALITY) + '[[examples]]\ntitle = "x"\nsays = "not"\nfacts = { history = [{ topic = "illness" }] }\n',
            "examples[0].facts.history[0].topic",
            "illness",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_key(tmp_path: Path, body: str, key: str, problem: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        read(tmp_path, body)
    assert caught.value.key == key
    assert problem in caught.value.problem
    assert caught.value.remedy


def test_a_veto_may_deny_what_is_always_known(tmp_path: Path) -> None:
    assert read(tmp_path, when('not = { field = "hour_of_day", op = "<", value = 7 }', VETO)).veto


def test_a_rule_that_needs_a_model_sleeps_until_there_is_one(tmp_path: Path) -> None:
    body = 'requires = ["SCT:9"]\n' + when('field = "finding.present", op = "is", value = true, code = "SCT:9"')
    asleep = read(tmp_path, body)
    assert asleep.dormant == ("SCT:9",)
    assert compile_rules([asleep]) == ()
    assert notes_on(asleep, KNOWN, ()) == ("dormant: no model of this node finds SCT:9",)
    awake = read(tmp_path, body, known={*KNOWN, ("new", "SCT:9")})
    assert awake.dormant == ()
    assert notes_on(awake, KNOWN, ()) == ("no live model finds SCT:9: not answered until one does",)
    assert notes_on(awake, {("new", "SCT:9")}, ()) == ()


def test_a_rule_on_what_nobody_tells_is_noted(tmp_path: Path) -> None:
    rule = read(tmp_path, when('field = "history.medication", op = "coded", value = ["ATC:B01A*"]'))
    assert "medication" in notes_on(rule, (), ())[0]
    assert notes_on(rule, (), ("fhir",)) == ()
    assert fields_of(rule) == ("history.medication",)


def test_two_caps_of_one_group_are_a_mistake_and_the_greater_holds(tmp_path: Path) -> None:
    for name, cap in (("a", 20), ("b", 30)):
        then = f'then = {{ points = 25, cap = {{ group = "g", points = {cap} }} }}\n'
        (tmp_path / f"{name}.toml").write_text(FRAME + when(MODALITY, then))
    rules, (problem,) = load_rules_leniently(tmp_path, KNOWN)
    assert (Path(problem.file).name, problem.key) == ("b.toml", "then.cap.points")
    assert highest_points(rules) == 30.0


def test_an_example_that_the_rule_does_not_keep_to_is_named_with_what_is_not_known(tmp_path: Path) -> None:
    example = '[[examples]]\ntitle = "any head"\nsays = "fires"\nfacts = { body_part = ["HEAD"] }\n'
    (wrong,) = wrong_examples(read(tmp_path, when(MODALITY) + example))
    assert wrong == (
        "the example “any head” is to say “fires”, and the rule says “unknown” (modalities in the study not known)"
    )


# -------------------------------------------------------------------------------------------------------------- shipped

MODELS, _ = load_models_leniently(ROOT / "models", [], {})
SHIPPED = load_rules(ROOT / "rules", finding_codes(MODELS))


@pytest.mark.parametrize("rule", SHIPPED, ids=lambda rule: rule.id)
def test_every_shipped_rule_says_what_its_examples_say(rule: Rule) -> None:
    assert wrong_examples(rule) == []
    assert {each.says.value for each in rule.examples} == {"fires", "not", "unknown"}


def test_the_shipped_rules_have_sane_points() -> None:
    assert len(SHIPPED) >= 14
    assert all(rule.highest_points <= 60 for rule in SHIPPED)
    assert [rule.id for rule in SHIPPED if rule.veto] == ["phantom"]
    assert sum(not rule.dormant for rule in SHIPPED) >= 12
