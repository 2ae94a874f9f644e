"""Networks that answer as one are judged as one, by cases that none of them has seen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from node.domain.model_card import Task
from node.learn import teams
from node.learn.evaluate.cohort import cohorts, joined
from node.learn.evaluate.evaluating import Terms, evaluate
from node.learn.members import WHOLE, fold_of
from node.learn.place import Place
from node.learn.prediction import Prediction, SegmentFigures, write_predictions
from node.learn.recipe import Judging, Recipe, Training
from node.learn.recipe_export import Exporting, Members
from node.learn.run import Run
from node.learn.split import Fold, Split

SEEDS, FOLDS, COUNT = (3, 4, 5), 2, 60
KEYS = [f"{place:02}" for place in range(COUNT)]
OUT_OF_FOLD = Split(
    method="by hand",
    dataset_digest="",
    folds=(Fold(train=tuple(KEYS[1::2]), test=tuple(KEYS[::2])), Fold(train=tuple(KEYS[::2]), test=tuple(KEYS[1::2]))),
)
OFFICIAL = Split(
    method="by hand",
    dataset_digest="",
    folds=(
        Fold(train=("a",), validation=("b",), test=tuple(KEYS)),
        Fold(train=("b",), validation=("a",), test=tuple(KEYS)),
    ),
)
PLACE = Place(device=torch.device("cpu"))


def said(seed: int, fold: int, keys: tuple[str, ...], part: str = "test") -> list[Prediction]:
    """A class, with noise that is another for each network."""
    random = np.random.default_rng([seed, fold])
    noise = {key: random.normal(0, 2.5, 2) for key in KEYS}
    found = []
    for key in keys:
        truth = KEYS.index(key) // 2 % 2 if key in KEYS else 0
        logits = noise.get(key, np.zeros(2)) + 2 * np.eye(2)[truth]
        found.append(
            Prediction(key=key, group=key, part=part, seed=seed, fold=fold, truth=truth, logits=tuple(logits.tolist()))
        )
    return found


def trained(folder: Path, split: Split) -> Run:
    run = Run(folder=folder)
    for seed in SEEDS:
        for number, fold in enumerate(split.folds):
            member = run.member(seed, number)
            member.folder.mkdir(parents=True)
            validated = said(seed, number, fold.validation, "validation")
            write_predictions(member.predictions, [*validated, *said(seed, number, fold.test)])
    return run


def recipe(members: Members) -> Recipe:
    return Recipe(task=Task.CLASSIFICATION, training=Training(seeds=SEEDS), export=Exporting(members=members))


def together(folder: Path, split: Split, members: Members) -> tuple[Prediction, ...]:
    return teams.together(trained(folder, split), recipe(members), split, PLACE, dict)


def softmax(row: tuple[float, ...]) -> np.ndarray:
    powers = np.exp(np.array(row))
    return powers / powers.sum()


def test_seeds_that_were_trained_on_everything_are_calibrated_by_what_the_seeds_of_each_fold_say_as_one(tmp_path: Path):
    found = together(tmp_path, OUT_OF_FOLD, Members.WHOLE_SEEDS)
    assert [(each.key, each.seed) for each in sorted(found, key=lambda each: each.key)] == [(key, 3) for key in KEYS]
    assert {each.fold for each in found} == {0, 1}
    one = next(each for each in found if each.key == "07")
    parts = [softmax(said(seed, 1, ("07",))[0].logits) for seed in SEEDS]
    assert softmax(one.logits) == pytest.approx(np.mean(parts, axis=0))
    alone = [each for seed in SEEDS for fold in (0, 1) for each in said(seed, fold, OUT_OF_FOLD.folds[fold].test)]
    terms = Terms(replicates=20)
    judged = evaluate(alone, Judging(), Task.CLASSIFICATION, ("no", "yes"), together=found, terms=terms)
    assert judged.together is not None
    assert (judged.together.method, judged.together.cases) == ("out of fold", COUNT)
    one_seed, as_one = (
        each.classification.classes[1].calibration.scalings[0]  # type: ignore[union-attr]
        for each in (judged, judged.together)
    )
    assert one_seed is not None
    assert as_one is not None
    # Three that are averaged are less sure of what is not so: the calibration of one would be another.
    assert as_one.temperature < 0.8 * one_seed.temperature
    assert teams.together(Run(folder=tmp_path), recipe(Members.WHOLE_SEEDS), OUT_OF_FOLD, PLACE, dict) == found


def test_folds_that_share_a_test_part_are_judged_each_by_itself_and_as_one(tmp_path: Path):
    alone = tuple(each for fold in (0, 1) for each in said(3, fold, OFFICIAL.folds[fold].test))
    assert [(one.seed, {each.fold for each in one.judged}) for one in cohorts(alone)] == [(3, {0}), (3, {1})]
    terms = Terms(replicates=20)
    found = evaluate(alone, Judging(), Task.CLASSIFICATION, ("no", "yes"), terms=terms)
    accuracies = [
        evaluate(said(3, fold, tuple(KEYS)), Judging(), Task.CLASSIFICATION, ("no", "yes"), terms=terms)
        for fold in (0, 1)
    ]
    each = [one.classification.figures["accuracy"].value for one in accuracies]  # type: ignore[union-attr]
    assert found.classification is not None
    assert found.classification.figures["accuracy"].seeds == tuple(each)
    assert found.method == "held out"
    assert any("share one test part" in note for note in found.notes)
    as_one = together(tmp_path, OFFICIAL, Members.FOLDS)
    assert sorted(each.key for each in as_one if each.part == "test") == KEYS
    assert sorted(each.key for each in as_one if each.part == "validation") == ["a", "b"]


def test_masks_of_folds_that_share_a_test_part_are_all_judged():
    def mask(fold: int, dice: float) -> Prediction:
        figures = SegmentFigures(dice=dice, hd95_mm=1.0, surface_dice=1.0, volume_ml=1.0, true_volume_ml=1.0)
        return Prediction(key="a", group="a", part="test", fold=fold, segments={1: figures})

    found = evaluate([mask(0, 0.9), mask(1, 0.5)], Judging(), Task.SEGMENTATION, ("blob",), terms=Terms(replicates=5))
    assert found.segmentation is not None
    assert found.segmentation.figures["dice"].value == pytest.approx(0.7)


@pytest.mark.parametrize(
    ("split", "members", "count"),
    [
        (OUT_OF_FOLD, Members.FIRST, 0),
        (OUT_OF_FOLD, Members.FOLDS, 0),
        (OUT_OF_FOLD, Members.WHOLE, 0),
        (OUT_OF_FOLD, Members.SEEDS, 1),
        (OUT_OF_FOLD, Members.WHOLE_SEEDS, 2),
        (OFFICIAL, Members.FOLDS, 1),
    ],
)
def test_only_networks_that_have_cases_in_common_that_none_has_seen_are_asked_as_one(
    tmp_path: Path, split: Split, members: Members, count: int
):
    assert len(teams.teams_of(Run(folder=tmp_path), recipe(members), split)) == count


def test_a_training_on_everything_leaves_an_official_test_part_alone():
    assert fold_of(OFFICIAL, WHOLE, official=True).train == ("a", "b")
    assert set(fold_of(OFFICIAL, WHOLE).train) == {"a", "b", *KEYS}
    assert fold_of(OUT_OF_FOLD, WHOLE).train == tuple(KEYS)


def test_what_one_network_alone_has_read_stays_as_it_is():
    (one,) = joined(said(3, 0, ("00",), "validation"))
    assert one == said(3, 0, ("00",), "validation")[0]
