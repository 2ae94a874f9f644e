"""What the networks of a model say as one, of cases that none of them has seen: its calibration is made of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from node.domain.model_card import Task
from node.learn import checkpoint, members
from node.learn.architectures import of_network
from node.learn.evaluate.cohort import joined
from node.learn.learners import Example
from node.learn.place import Place
from node.learn.prediction import Prediction, read_predictions, write_predictions
from node.learn.recipe import Recipe
from node.learn.recipe_export import Members
from node.learn.run import Member, Run
from node.learn.split import Split


def together(
    run: Run, recipe: Recipe, split: Split, place: Place, examples: Callable[[], Mapping[str, Example]]
) -> tuple[Prediction, ...]:
    """Read what they say, or have it said and kept; nothing where the model is one network, or none can be judged.

    Of networks that were trained on everything it is what those of the folds say, all seeds of a fold together. The
    folds themselves can be judged together where they share a test part alone.

    Args:
        run: whose trainings are done.
        recipe: with everything derived.
        split: how the cases were parted.
        place: where networks are asked; the first of several processes writes.
        examples: makes the cases ready, where networks have to be asked again.

    Raises:
        Misconfigured: weights or predictions of a training are not there.
    """
    teams = teams_of(run, recipe, split)
    stands = run.together.exists()
    if not teams:
        return ()
    if stands:
        return read_predictions(run.together)
    if recipe.task is Task.CLASSIFICATION:
        each_said = (each for team in teams for member in team for each in read_predictions(member.predictions))
        said = joined(each_said, folds=recipe.export.members is Members.FOLDS)
    else:
        ready = examples()
        said = tuple(each for team in teams for each in _asked(recipe, split, team, ready, place))
    if place.leads:
        checkpoint.write_whole(run.together, lambda path: write_predictions(path, said))
    return said


def teams_of(run: Run, recipe: Recipe, split: Split) -> list[tuple[Member, ...]]:
    """Which trainings answer as one, and have cases that none of them has seen."""
    seeds, folds = recipe.training.seeds, split.folds
    every, kinds = range(len(folds)), range(1 + len(recipe.networks))
    found: list[tuple[Member, ...]] = []
    match recipe.export.members:
        case Members.FIRST:
            found = [tuple(run.member(seeds[0], 0, kind) for kind in kinds)]
        case Members.SEEDS:
            found = [tuple(run.member(seed, 0, kind) for kind in kinds for seed in seeds)]
        case Members.WHOLE:
            found = [tuple(run.member(seeds[0], fold, kind) for kind in kinds) for fold in every]
        case Members.WHOLE_SEEDS:
            found = [tuple(run.member(seed, fold, kind) for kind in kinds for seed in seeds) for fold in every]
        case Members.FOLDS if len({fold.test for fold in folds}) == 1:
            found = [tuple(run.member(seeds[0], fold, kind) for kind in kinds for fold in every)]
    return [team for team in found if len(team) > 1]


def _asked(
    recipe: Recipe, split: Split, team: tuple[Member, ...], examples: Mapping[str, Example], place: Place
) -> tuple[Prediction, ...]:
    """What these networks say together of the validation part, if none has seen it, and of the test part."""
    fold = split.folds[team[0].fold]
    validation = fold.validation if len({member.fold for member in team}) == 1 else ()
    networks = [members.network_of(member, of_network(recipe, member.network), place.device) for member in team]
    parts = [[examples[key] for key in part] for part in (validation, fold.test)]
    return members.predictions(networks, team[0], recipe, parts[0], parts[1], place.device)
