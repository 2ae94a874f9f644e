"""Ways beside one another: trained once, judged on the same cases, their differences paired."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from node.errors import Failed, Misconfigured
from node.learn import ablation, members
from node.learn.comparison import read_comparisons
from node.learn.learners import Example, Material
from node.learn.prediction import Prediction, write_predictions
from node.learn.recipe_ways import Ablation, Way
from node.learn.run import Member
from node.learn.training import Ears
from tests.learn.ready import HERE, RECIPE, SPLIT, logits, ready

WAYS = Ablation(
    epochs=2,
    ways=(
        Way(name="the same again", changes={"training.clip": 1.0}),
        Way(name="with a median", changes={"preparation.filters": ["median"]}),
    ),
)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Material]:
    """What was trained; with a median it reads much worse."""
    seen: list[Material] = []

    def train_member(member: Member, material: Material, test: Sequence[Example], *_: Any) -> None:
        seen.append(material)
        assert material.recipe.preparation
        quality = -0.5 if material.recipe.preparation.filters else 1.5
        said = [
            Prediction(
                key=each.case.key,
                group=each.group,
                part=part,
                truth=each.case.label,
                logits=logits(each.case.label or 0, quality, number),
            )
            for part, cases in (("validation", material.validation), ("test", test))
            for number, each in enumerate(cases)
        ]
        member.folder.mkdir(parents=True)
        member.weights.touch()
        write_predictions(member.predictions, said)

    monkeypatch.setattr(members, "train_member", train_member)
    return seen


def test_each_way_is_held_against_the_recipe_as_it_is(
    tmp_path: Path, trained: list[Material], monkeypatch: pytest.MonkeyPatch
) -> None:
    stands = ready(tmp_path, dataclasses.replace(RECIPE, ablation=WAYS), monkeypatch)
    made = ablation.ablate(stands, HERE, Ears())
    assert read_comparisons(tmp_path / "comparison.json") == (made,)
    assert made
    assert [row.name for row in made.rows] == ["as it is", "the same again", "with a median"]
    assert made.rows[2].changes == {"preparation.filters": '["median"]'}
    same, worse = (row.figures["auc_change"] for row in made.rows[1:])
    # What never varies has no interval.
    assert (same.value, same.low, same.high) == (0, None, None)
    assert worse.value is not None
    assert worse.high is not None
    assert worse.high < 0
    whole = [row.figures["auc"].value for row in made.rows]
    assert whole[0] is not None
    assert whole[2] == pytest.approx(whole[0] + worse.value)
    assert {material.recipe.training.epochs for material in trained} == {2}
    assert all([each.case.key for each in material.train] == list(SPLIT.folds[0].train) for material in trained)
    assert "validation part" in made.text


def test_ways_may_speak_together(tmp_path: Path, trained: list[Material], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = dataclasses.replace(WAYS, together=True)
    made = ablation.ablate(ready(tmp_path, dataclasses.replace(RECIPE, ablation=asked), monkeypatch), HERE, Ears())
    assert made
    assert made.rows[-1].name == "all together"
    change, worst = made.rows[-1].figures["auc_change"].value, made.rows[-2].figures["auc_change"].value
    assert change is not None
    assert worst is not None
    assert worst < change
    one = Prediction(key="a", group="a", part="test", truth=0, logits=(0.0, 2.0))
    other = dataclasses.replace(one, logits=(0.0, -2.0))
    (said,) = ablation.together([[one], [other]])
    assert said.logits[0] == pytest.approx(said.logits[1])
    with pytest.raises(Failed, match="the same cases"):
        ablation.together([[one], [dataclasses.replace(one, key="b")]])


def test_what_was_trained_is_not_trained_again(
    tmp_path: Path, trained: list[Material], monkeypatch: pytest.MonkeyPatch
) -> None:
    stands = ready(tmp_path, dataclasses.replace(RECIPE, ablation=WAYS), monkeypatch)
    first = ablation.ablate(stands, HERE, Ears())
    assert len(trained) == 3
    assert ablation.ablate(stands, HERE, Ears()) == first
    assert len(trained) == 3


def test_a_wrong_way_is_told_before_anything_is_trained(
    tmp_path: Path, trained: list[Material], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = Ablation(ways=(*WAYS.ways, Way(name="faster", changes={"training.speed": 2})))
    with pytest.raises(Misconfigured, match="unknown key"):
        ablation.ablate(ready(tmp_path, dataclasses.replace(RECIPE, ablation=wrong), monkeypatch), HERE, Ears())
    assert trained == []


def test_without_the_table_nothing_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ablation.ablate(ready(tmp_path, RECIPE, monkeypatch), HERE, Ears()) is None
