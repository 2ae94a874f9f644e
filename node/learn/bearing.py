"""What of a recipe the networks of a run depend on, and what may be another once they are trained.

Weights that are there are kept where no key on which they depend has changed: what is compared, searched, judged or
exported does not change them. What they were made to say may have to be said anew, which takes no training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

from node.domain.model_card import Task
from node.learn.boxes.table import Detecting
from node.learn.explained.table import Explaining
from node.learn.recipe import Judging, Recipe
from node.learn.recipe_export import Exporting
from node.learn.recipe_text import recipe_text, value_text
from node.learn.run import Run


def bearing(recipe: Recipe) -> Recipe:
    """Return what the weights of a training depend on, its seed apart; all else is at its default."""
    # Validation chooses between weights where a training may end early, and sees what is mirrored or magnified.
    seen = Judging(**shown(recipe)) if recipe.training.patience else Judging()
    return replace(
        recipe,
        name="",
        card="",
        training=replace(recipe.training, seeds=(0,)),
        evaluation=seen,
        explanations=Explaining(),
        detection=recipe.detection if recipe.task is Task.DETECTION else Detecting(),
        radiomics=None,
        export=Exporting(),
        search=None,
        ablation=None,
    )


def answering(recipe: Recipe) -> Recipe:
    """Return what the answers of the first network depend on, its seed apart: its weights, and how it is asked."""
    asked = Judging(**shown(recipe), tolerance_mm=recipe.evaluation.tolerance_mm)
    return replace(bearing(recipe), evaluation=asked, networks=())


def searching(recipe: Recipe) -> Recipe:
    """Return what the trials of a search depend on: more of them may be made, but not others."""
    looked = recipe.search and replace(recipe.search, trials=1, minutes=0.0, seed=0)
    training = replace(recipe.training, seeds=recipe.training.seeds[:1])
    return replace(bearing(recipe), training=training, evaluation=Judging(**shown(recipe)), search=looked)


def shown(recipe: Recipe) -> dict[str, Any]:
    """Return how a network is shown a case: keys of `[evaluation]`, and of a card's `[preparation]`."""
    return {"flips": recipe.evaluation.flips, "views": recipe.evaluation.views}


def digest(recipe: Recipe) -> str:
    """Return twelve hexadecimal digits that are others where the answers of a training would be."""
    return hashlib.sha256(recipe_text(answering(recipe)).encode()).hexdigest()[:12]


def differences(before: Recipe, now: Recipe) -> tuple[str, ...]:
    """Say key by key in what two recipes differ, as "training.epochs was 2 and is 3".

    Networks that are added change nothing in those that were there.
    """
    now = replace(now, networks=now.networks[: len(before.networks)])
    return tuple(
        f"{name} was {_said(one)} and is {_said(other)}" for name, one, other in _pairs(before, now) if one != other
    )


def forget_answers(run: Run, before: Recipe, now: Recipe) -> None:
    """Remove what a run's networks said, where by a changed recipe they would say something else; weights stay."""
    # How it was made is told anew: with more seeds it took longer.
    run.making.unlink(missing_ok=True)
    if _team(before) == _team(now) and answering(before) == answering(now):
        return
    run.together.unlink(missing_ok=True)
    if answering(before) != answering(now):
        for member in (*run.folder.glob("seed-*/*"), *run.folder.glob("network-*/seed-*/*")):
            (member / "predictions.jsonl").unlink(missing_ok=True)


def _team(recipe: Recipe) -> tuple[Any, ...]:
    """Whose answers are put together."""
    return recipe.export.members, recipe.training.seeds, len(recipe.networks)


def _pairs(before: Recipe, now: Recipe) -> Iterator[tuple[str, Any, Any]]:
    for field in fields(Recipe):
        one, other = getattr(before, field.name), getattr(now, field.name)
        if is_dataclass(one) and is_dataclass(other):
            for inner in fields(one):
                yield f"{field.name}.{inner.name}", getattr(one, inner.name), getattr(other, inner.name)
        else:
            yield field.name, one, other


def _said(value: Any) -> str:
    if value is None:
        return "left out"
    return value_text(value)
