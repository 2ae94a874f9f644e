"""The trainings of a run, one a seed and fold: each is done whole, goes on where it was killed, or is there already."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from node.errors import Failed, Misconfigured
from node.imaging.formats import built
from node.learn import checkpoint
from node.learn.case import Case, Dataset
from node.learn.fitting import Listener, fit
from node.learn.learners import Example, Material, teacher
from node.learn.place import Place
from node.learn.prediction import Prediction, write_predictions
from node.learn.preparing import preparer
from node.learn.recipe import Recipe
from node.learn.run import Member
from node.learn.split import Fold, Split

#: Number of the fold that has every case in its training part.
WHOLE = -1
VALIDATION, TEST = "validation", "test"


def prepared(
    dataset: Dataset, recipe: Recipe, split: Split, advance: Callable[[], object] = lambda: None
) -> dict[str, Example]:
    """Read and prepare every case of the split: key → example.

    Raises:
        Failed: a case cannot be prepared, or is not as large as the others where it has to be; names the case.
    """
    assert recipe.preparation is not None
    wanted = {key for fold in split.folds for part in (fold.train, fold.validation, fold.test) for key in part}
    cases = [case for case in dataset.cases if case.key in wanted]
    is_volume = dataset.read(cases[0]).volume is not None
    prepare = preparer(recipe.preparation, images=not is_volume, colour=recipe.colour)
    spacing_mm = tuple(recipe.preparation.spacing_mm) if is_volume else ()

    def made(case: Case) -> Example:
        try:
            found = prepare(dataset.read(case))
        except Failed as error:
            raise Failed(f"{case.key}: {error}") from error
        advance()
        group = split.groups.get(case.key, case.group or case.key)
        return Example(case=case, group=group, prepared=found, spacing_mm=spacing_mm)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as readers:
        return {example.case.key: example for example in readers.map(made, cases)}


def material_of(recipe: Recipe, classes: tuple[str, ...], fold: Fold, examples: Mapping[str, Example]) -> Material:
    """What one training has."""
    train, validation = (tuple(examples[key] for key in part) for part in (fold.train, fold.validation))
    return Material(recipe=recipe, classes=classes, train=train, validation=validation)


def fold_of(split: Split, number: int, *, official: bool = False) -> Fold:
    """One fold; `WHOLE` is all cases, with nothing to validate or test on; but for a test part that is official."""
    if number != WHOLE:
        return split.folds[number]
    parts = [part for fold in split.folds for part in (fold.train, fold.validation, () if official else fold.test)]
    return Fold(train=tuple(sorted({key for part in parts for key in part})))


def train_member(
    member: Member, material: Material, test: Sequence[Example], place: Place, listener: Listener
) -> tuple[Prediction, ...]:
    """Train one, keep its weights, and let it read what it was not trained on.

    Raises:
        Failed: its loss became no number.
        Misconfigured: what its folder keeps belongs to another network.
    """
    member.folder.mkdir(parents=True, exist_ok=True)
    assert material.recipe.task is not None
    teaching = teacher(material.recipe.task)
    learner = teaching.learner(material, member.seed)
    fit(learner, material.recipe.training, member.folder, member.seed, place, listener)
    network = learner.network
    said = predictions([network], member, material.recipe, material.validation, test, place.device)
    if place.leads:
        tensors = {name: each.detach().cpu().contiguous() for name, each in network.state_dict().items()}
        checkpoint.write_whole(member.weights, lambda path: save_file(tensors, path))
        checkpoint.write_whole(member.predictions, lambda path: write_predictions(path, said))
        checkpoint.forget(member.folder)
    return said


def predictions(
    networks: Sequence[nn.Module],
    member: Member,
    recipe: Recipe,
    validation: Sequence[Example],
    test: Sequence[Example],
    device: torch.device,
) -> tuple[Prediction, ...]:
    """Let networks read the validation and the test part."""
    assert recipe.task is not None
    teaching = teacher(recipe.task)
    return tuple(
        replace(each, part=part, seed=member.seed, fold=member.fold)
        for part, examples in ((VALIDATION, validation), (TEST, test))
        for each in teaching.predict([network.eval() for network in networks], recipe, examples, device)
    )


def network_of(member: Member, recipe: Recipe, device: torch.device) -> nn.Module:
    """The trained network of a member.

    Raises:
        Misconfigured: its weights are not there, or are not those of the recipe's network.
    """
    assert recipe.network is not None
    network = built(recipe.network)
    try:
        network.load_state_dict(load_file(member.weights))
    except (OSError, RuntimeError) as error:
        remedy = "Remove its folder, and train again"
        raise Misconfigured(member.weights, "", f"cannot be read: {str(error).splitlines()[0]}", remedy) from error
    return network.eval().to(device)
