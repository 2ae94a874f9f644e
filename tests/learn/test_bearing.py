"""A recipe that is changed once networks are trained: what they do not depend on may, what they depend on is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn import bearing, beginning, searching, soup, training
from node.learn.prediction import read_predictions
from node.learn.radiomics.table import Radiomics
from node.learn.recipe import Augmentation, Further, Judging, Recipe, Training
from node.learn.recipe_export import Exporting, Members
from node.learn.recipe_text import recipe_text
from node.learn.recipe_ways import Ablation, Room, Searching, Way
from node.learn.run import Run
from node.learn.split import Fold, Split
from tests.learn import synthetic
from tests.learn.toys import HERE, TINY, classifying, stands, trained_for

RECIPE = trained_for(classifying(), seeds=(0, 1), epochs=1)
WAYS = Ablation(ways=(Way(name="slower", changes={"training.learning_rate": 0.001}),))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthetic.class_folders(tmp_path_factory.mktemp("bearing") / "set")


@pytest.mark.parametrize(
    "more",
    [
        {"name": "another"},
        {"card": "card.toml"},
        {"evaluation": Judging(positive="benign", sensitivity=0.8, flips=(1,), tolerance_mm=2.0, subgroups=("sex",))},
        {"export": Exporting(members=Members.SEEDS, report=True, largest_mb=20.0)},
        {"ablation": WAYS},
        {"search": Searching(trials=3)},
        {"radiomics": Radiomics()},
        {"training": dataclasses.replace(RECIPE.training, seeds=(0, 1, 2))},
    ],
)
def test_weights_do_not_depend_on_what_is_judged_compared_searched_or_exported(more: dict[str, Any]) -> None:
    assert bearing.bearing(dataclasses.replace(RECIPE, **more)) == bearing.bearing(RECIPE)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"training": dataclasses.replace(RECIPE.training, learning_rate=0.5)}, "training.learning_rate was 0.01 and"),
        ({"augmentation": Augmentation(flip=(0,))}, "augmentation.flip was [] and is [0]"),
        ({"augmentation": None}, "augmentation was {  } and is left out"),
        ({"split": dataclasses.replace(RECIPE.split, folds=3)}, "split.folds was 0 and is 3"),
        ({"classes": ("a", "b")}, 'classes was [] and is ["a", "b"]'),
    ],
)
def test_what_weights_depend_on_is_named_with_both_its_values(more: dict[str, Any], told: str) -> None:
    found = bearing.differences(bearing.bearing(RECIPE), bearing.bearing(dataclasses.replace(RECIPE, **more)))
    assert len(found) == 1
    assert told in found[0]


def test_where_validation_chooses_the_weights_what_it_sees_bears_on_them() -> None:
    flipped = dataclasses.replace(RECIPE, evaluation=Judging(flips=(1,)))
    patient = trained_for(RECIPE, patience=2)
    assert bearing.bearing(flipped) == bearing.bearing(RECIPE)
    chosen = dataclasses.replace(patient, evaluation=Judging(flips=(1,)))
    assert bearing.differences(bearing.bearing(patient), bearing.bearing(chosen)) == (
        "evaluation.flips was [] and is [1]",
    )
    assert bearing.digest(flipped) != bearing.digest(RECIPE) == bearing.digest(dataclasses.replace(RECIPE, name="b"))


def test_a_search_may_go_on_for_longer_but_not_look_elsewhere(tmp_path: Path) -> None:
    def asked(**more: Any) -> Recipe:
        room = {"training.learning_rate": Room(low=1e-4, high=1.0)}
        return Recipe(task=Task.CLASSIFICATION, training=Training(), search=Searching(**({"space": room} | more)))

    run = Run(folder=tmp_path)
    (tmp_path / "journal.log").touch()
    run.recipe.write_text(recipe_text(asked()))
    beginning.refuse_other(run, asked(trials=99, minutes=10.0))
    with pytest.raises(Misconfigured, match=r"search.space was .*learning_rate.* and is .*training\.batch"):
        beginning.refuse_other(run, asked(space={"training.batch": Room(choices=(8, 16))}))


def test_networks_that_a_search_is_added_to_are_told_by_what_is_asked_now_and_are_no_others(tmp_path: Path) -> None:
    first = Further(name="ResNet", arguments=TINY)
    before = dataclasses.replace(trained_for(RECIPE, patience=2), networks=(first,), evaluation=Judging(flips=(1,)))
    run = Run(folder=tmp_path)
    run.member(0, 0).folder.mkdir(parents=True)
    run.recipe.write_text(recipe_text(before))
    run.search.folder.mkdir()
    ready = training.Ready(
        dataset=cast("Any", None), sheet=cast("Any", None), split=Split(method="", dataset_digest="", folds=()),
        recipe=before, run=run.search, beside=tmp_path,
    )  # fmt: skip
    asked = Judging(flips=(1,), positive="benign")
    best = dataclasses.replace(trained_for(before, learning_rate=0.5), evaluation=asked)
    kept = searching._kept(ready, best, training.Ears())
    assert kept == dataclasses.replace(before, evaluation=asked)
    other = dataclasses.replace(first, arguments=TINY | {"block_inplanes": [3, 4, 4, 4]})
    with pytest.raises(Misconfigured, match="another recipe or data set: networks was"):
        searching._kept(ready, dataclasses.replace(best, networks=(other,)), training.Ears())


def trained_again(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds that are trained from here on."""
    seen: list[int] = []
    fit = soup.fit

    def counted(learner: Any, said: Training, folder: Path, seed: int, *more: Any) -> Any:
        seen.append(seed)
        return fit(learner, said, folder, seed, *more)

    monkeypatch.setattr(soup, "fit", counted)
    return seen


def test_a_run_goes_on_with_another_evaluation_export_ablation_and_more_seeds_and_trains_only_what_is_not_there(
    dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    run = Run(folder=tmp_path)
    training.train(stands(dataset, tmp_path, RECIPE), HERE, training.Ears())
    weights = run.member(0, 0).weights.read_bytes()
    first = read_predictions(run.member(0, 0).predictions)
    run.making.write_text("{}")
    again = trained_again(monkeypatch)
    changed = dataclasses.replace(
        RECIPE,
        ablation=WAYS,
        export=Exporting(members=Members.SEEDS),
        evaluation=Judging(positive="benign", sensitivity=0.5),
    )
    judged = training.train(stands(dataset, tmp_path, changed), HERE, training.Ears())
    assert judged.judging["positive"] == "benign"
    assert judged.together is not None
    assert not run.making.exists()
    assert again == []
    assert read_predictions(run.member(0, 0).predictions) == first
    team = run.together.read_bytes()
    more = dataclasses.replace(changed, training=dataclasses.replace(changed.training, seeds=(0, 1, 2)))
    assert training.train(stands(dataset, tmp_path, more), HERE, training.Ears()).seeds == (0, 1, 2)
    assert again == [2]
    assert run.together.read_bytes() != team
    flipped = dataclasses.replace(more, evaluation=Judging(flips=(1,)))
    begun = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    dry = training.Wish(recipe=flipped, beside=dataset.parent, dataset=dataset, run=run, is_dry=True)
    training.prepare(dry, training.Ears())
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == begun
    training.train(stands(dataset, tmp_path, flipped), HERE, training.Ears())
    assert again == [2]
    assert read_predictions(run.member(0, 0).predictions) != first
    assert run.member(0, 0).weights.read_bytes() == weights
    training.train(stands(dataset, tmp_path, RECIPE), HERE, training.Ears())
    asked_again = read_predictions(run.member(0, 0).predictions)
    assert [each.key for each in asked_again] == [each.key for each in first]
    assert all(
        one.logits == pytest.approx(other.logits, abs=1e-5) for one, other in zip(asked_again, first, strict=True)
    )
    with pytest.raises(Misconfigured, match=r"another recipe or data set: training\.epochs was 1 and is 3"):
        stands(dataset, tmp_path, trained_for(RECIPE, epochs=3))


def test_what_others_train_with_is_not_changed_under_their_hands(dataset: Path, tmp_path: Path) -> None:
    stands(dataset, tmp_path, RECIPE)
    (tmp_path / "seed-0" / "fold-0").mkdir(parents=True)
    with Run(folder=tmp_path).held(), pytest.raises(Misconfigured, match="another process trains in it"):
        stands(dataset, tmp_path, dataclasses.replace(RECIPE, export=Exporting(report=True)))


def test_a_training_that_nothing_validates_is_told_before_it_begins(dataset: Path, tmp_path: Path) -> None:
    told: list[str] = []
    recipe = dataclasses.replace(
        trained_for(RECIPE, patience=3), split=dataclasses.replace(RECIPE.split, shares=(0.8, 0.0, 0.2))
    )
    wish = training.Wish(recipe=recipe, beside=tmp_path, dataset=dataset, run=Run(folder=tmp_path / "run"))
    training.prepare(wish, training.Ears(say=lambda text: told.append(str(text))))
    assert "no case validates the training: early stopping is off, and the last weights are kept" in told


def test_a_class_that_a_written_split_does_not_train_on_is_named_before_anything_is_trained() -> None:
    split = Split(method="", dataset_digest="", folds=(Fold(train=("a", "b"), test=("c",)),))
    with pytest.raises(Misconfigured, match="fold 1: no case of yes is trained on"):
        beginning.refuse_unfit(split, ("no", "yes"), {"a": 0, "b": 0, "c": 1})
