"""Ablation: the same training with something changed, one way after the other, held against the recipe as it is.

Every way has the same split, seed and schedule. How far it lies from the recipe as it is comes with an interval of the
difference: in each resample both have read the same groups of cases.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from node.domain.model_card import Task
from node.errors import Failed
from node.learn import bearing, members
from node.learn.comparison import FILE_NAME, Comparison, Row, put_comparison
from node.learn.evaluate import bootstrap, classifying, detection, segmenting
from node.learn.evaluate.bootstrap import Method, Statistic
from node.learn.evaluate.cohort import cohorts, groups_of
from node.learn.evaluate.evaluating import positive_of
from node.learn.evaluate.metrics import Numbers, shares
from node.learn.evaluate.settling import settle
from node.learn.place import Place
from node.learn.prediction import Prediction, read_predictions
from node.learn.recipe import Recipe
from node.learn.run import Member, Run
from node.learn.synthetic import counting
from node.learn.synthetic.drawing import widened
from node.learn.training import Ears, Ready
from node.learn.ways import Tray, changed

TITLE = "Ablation"
AS_IT_IS, TOGETHER = "as it is", "all together"
#: A figure's difference to the recipe as it is has its name and this.
CHANGE = "_change"
_LEAST_SHARE = 1e-12
_FIGURES = {
    Task.CLASSIFICATION: ("accuracy", "auc"),
    Task.SEGMENTATION: ("dice", "hd95_mm"),
    Task.DETECTION: ("map_0.1", "map_0.5", "sensitivity_at_1"),
}


def ablate(ready: Ready, place: Place, ears: Ears) -> Comparison | None:
    """Train each way of the recipe's `[ablation]`, and put them beside one another in the run's report.

    A way whose predictions are there is not trained again. `None`: the recipe asks for none.

    Raises:
        Misconfigured: a way changes what there is not, names it.
        Failed: a way's loss became no number.
    """
    asked = ready.recipe.ablation
    if asked is None:
        return None
    epochs = asked.epochs or max(1, ready.recipe.training.epochs // 2)
    ways = asked.ways
    # Every mistake is told before the first training.
    recipes = [_shortened(changed(ready.recipe, changes), epochs) for changes in ({}, *(way.changes for way in ways))]
    fold = ready.split.folds[0]
    part = members.VALIDATION if fold.validation else members.TEST
    tray = Tray(ready.dataset, ready.split, fold)
    said = []
    for number, (name, recipe) in enumerate(zip((AS_IT_IS, *(way.name for way in ways)), recipes, strict=True), 1):
        told = _read(ready, recipe, tray, place, ears, f"ablation {number} of {len(recipes)}: {name}")
        said.append(told)
    first = statistic_of(said[0], ready.recipe, part)
    drawn = [counting.figures(_member(ready, recipe).folder) for recipe in recipes]
    rows = [Row(name=AS_IT_IS, figures={**figures_of(said[0], part, first), **drawn[0]})]
    for way, told, besides in zip(ways, said[1:], drawn[1:], strict=True):
        own = statistic_of(told, ready.recipe, part)
        changes = {key: value if isinstance(value, str) else json.dumps(value) for key, value in way.changes.items()}
        rows.append(Row(name=way.name, changes=changes, figures={**figures_of(told, part, own, first), **besides}))
    if asked.together:
        told = together(said)
        own = statistic_of(told, ready.recipe, part)
        rows.append(Row(name=TOGETHER, figures=figures_of(told, part, own, first)))
    text = (
        f"Each trained for {epochs} epochs on the first fold with seed {ready.recipe.training.seeds[0]}, judged on its"
        f" {part} part. A change is that from the recipe as it is, with the interval of the difference (paired, 95 %):"
        " one that holds 0 shows nothing."
    )
    comparison = Comparison(title=TITLE, text=text, rows=tuple(rows))
    if place.leads:
        put_comparison(ready.run.folder / FILE_NAME, comparison)
    return comparison


def together(ways: Sequence[Sequence[Prediction]]) -> tuple[Prediction, ...]:
    """Return what several classifiers say together of each case: the logarithm of their mean shares.

    Raises:
        Failed: they are no classifiers, or did not read the same cases.
    """
    places = [{(each.part, each.key): each for each in way} for way in ways]
    if any(place.keys() != places[0].keys() for place in places) or not all(each.logits for each in ways[0]):
        raise Failed("only classifiers that read the same cases say something together")
    found = []
    for key, first in places[0].items():
        mean = shares(np.array([place[key].logits for place in places], np.float64)).mean(axis=0)
        logits = tuple(float(each) for each in np.log(np.maximum(mean, _LEAST_SHARE)))
        found.append(dataclasses.replace(first, logits=logits))
    return tuple(found)


def statistic_of(predictions: Sequence[Prediction], recipe: Recipe, part: str) -> Statistic:
    """Return what tells the figures of one way of weighted cases, in the order of their keys.

    Raises:
        Failed: there is nothing of that part.
    """
    cohort = cohorts(predictions, part)[0]
    assert recipe.task is not None
    names = _FIGURES[recipe.task]
    if recipe.task is Task.CLASSIFICATION:
        positive = positive_of(recipe.evaluation, recipe.classes)
        settled = settle(cohort, positive, recipe.evaluation.sensitivity)
        whole = classifying.statistic_of_some(cohort.judged, settled, len(recipe.classes))
    elif recipe.task is Task.SEGMENTATION:
        whole = segmenting.statistic_of(cohort.judged, range(1, len(recipe.classes) + 1))
    else:
        whole = detection.statistic_of(cohort.judged, range(len(recipe.classes)))

    def statistic(weights: Numbers) -> Mapping[str, Numbers]:
        found = whole(weights)
        return {name: found[name] for name in names if name in found}

    return statistic


def difference(way: Statistic, first: Statistic) -> Statistic:
    """Return what tells by how much a way's figures lie above those of the first, of the same weighted cases."""

    def statistic(weights: Numbers) -> Mapping[str, Numbers]:
        theirs = first(weights)
        return {f"{name}{CHANGE}": values - theirs[name] for name, values in way(weights).items() if name in theirs}

    return statistic


def figures_of(told: Sequence[Prediction], part: str, way: Statistic, first: Statistic | None = None) -> dict[str, Any]:
    """Return a way's figures of a part with their intervals; with a `first` way the differences to it, too."""
    judged = cohorts(told, part)[0].judged
    groups = groups_of(judged)
    strata = [each.truth for each in judged] if judged[0].truth is not None else None
    draws = bootstrap.draw(groups, strata)
    found = bootstrap.intervals(draws, [(groups, way)], Method.PERCENTILE)
    if first is not None:
        found |= bootstrap.intervals(draws, [(groups, difference(way, first))], Method.PERCENTILE)
    return found


def _shortened(recipe: Recipe, epochs: int) -> Recipe:
    training = dataclasses.replace(recipe.training, epochs=epochs, seeds=recipe.training.seeds[:1], soup=1)
    return dataclasses.replace(recipe, training=training)


def _member(ready: Ready, recipe: Recipe) -> Member:
    """The training of a way; its folder bears the digest of what that depends on."""
    return Run(folder=ready.run.folder / "ablation" / bearing.digest(recipe)).member(recipe.training.seeds[0], 0)


def _read(ready: Ready, recipe: Recipe, tray: Tray, place: Place, ears: Ears, name: str) -> tuple[Prediction, ...]:
    """What a way says of what it was not trained on."""
    member = _member(ready, recipe)
    if not member.is_done:
        ears.say(name)
        fold = ready.split.folds[0]
        examples = tray.examples(recipe)
        material = members.material_of(recipe, recipe.classes, fold, examples)
        material = dataclasses.replace(material, beside=ready.beside)
        material = widened(material, member, place, lambda: ears.training(f"{name}, synthetic images"))
        members.train_member(member, material, [examples[key] for key in fold.test], place, ears.training(name))
        place.meet()
    if not member.predictions.exists():
        raise Failed(f"{member.predictions} is not there: the first process has not written it")
    return read_predictions(member.predictions)
