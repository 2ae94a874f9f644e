"""The trainings of a run, one a seed and fold: each is done whole, goes on where it was killed, or is there already."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from node.domain.model_card import Task
from node.errors import Failed, Misconfigured, first_line
from node.imaging.device import is_memory
from node.imaging.formats import built
from node.learn import checkpoint, soup
from node.learn.case import Case, Dataset
from node.learn.fitting import Listener
from node.learn.learners import Example, Material, teacher
from node.learn.place import Place
from node.learn.prediction import Prediction, write_predictions
from node.learn.preparing import Prepared, preparer
from node.learn.recipe import Recipe
from node.learn.run import Member
from node.learn.shelf import Shelf, Shelved
from node.learn.split import Fold, Split

#: Number of the fold that has every case in its training part.
WHOLE = -1
VALIDATION, TEST = "validation", "test"


def prepared(
    dataset: Dataset,
    recipe: Recipe,
    split: Split,
    advance: Callable[[], object] = lambda: None,
    shelf: Shelf | None = None,
) -> dict[str, Example]:
    """Read and prepare every case of the split: key → example. They are held in memory, or on a shelf.

    Raises:
        Failed: a case cannot be prepared, or is not as large as the others where it has to be; names the case.
    """
    assert recipe.preparation is not None
    wanted = {key for fold in split.folds for part in (fold.train, fold.validation, fold.test) for key in part}
    cases = [case for case in dataset.cases if case.key in wanted]
    is_volume = dataset.read(cases[0]).volume is not None
    prepare = preparer(recipe.preparation, images=not is_volume, colour=recipe.colour)

    def made(number: int, case: Case) -> Example:
        found: Prepared | Shelved | None = shelf.get(number) if shelf is not None else None
        if found is None:
            try:
                fresh = prepare(dataset.read(case))
            except Failed as error:
                raise Failed(f"{case.key}: {error}") from error
            found = fresh if shelf is None else shelf.put(number, fresh)
        advance()
        group = split.groups.get(case.key, case.group or case.key)
        return Example(case=case, group=group, prepared=found, spacing_mm=found.spacing_mm)

    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as readers:
        found = {example.case.key: example for example in readers.map(made, range(len(cases)), cases)}
    if recipe.task is Task.CLASSIFICATION:
        _refuse_sizes(tuple(found.values()))
    return found


def _refuse_sizes(examples: Sequence[Example]) -> None:
    """See that images can be put into one batch."""
    first = examples[0]
    size = first.prepared.image.shape
    for each in examples:
        if each.prepared.image.shape != size:
            sizes = [" × ".join(map(str, image.shape)) for image in (each.prepared.image, first.prepared.image)]
            raise Failed(
                f"{each.case.key} is {sizes[0]} once it is prepared, and {first.case.key} {sizes[1]}: "
                "say in the recipe to what size they are brought (preparation.size)"
            )


def material_of(recipe: Recipe, classes: tuple[str, ...], fold: Fold, examples: Mapping[str, Example]) -> Material:
    """What one training has.

    Raises:
        Misconfigured: there is nothing to train on.
    """
    if not fold.train:
        raise Misconfigured("split.json", "", "there is nothing to train on", "Split anew, or add cases")
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

    One whose weights are kept, and whose answers are not, is only asked again.

    Raises:
        Failed: its loss became no number, or the memory is too small.
        Misconfigured: what its folder keeps belongs to another network.
    """
    member.folder.mkdir(parents=True, exist_ok=True)
    assert material.recipe.task is not None
    is_trained = member.is_trained
    with _advised(material.recipe):
        if is_trained:
            network = network_of(member, material.recipe, place.device)
        else:
            network = soup.trained(member, material, place, listener)
        said = predictions([network], member, material.recipe, material.validation, test, place.device)
    if place.leads:
        if not is_trained:
            soup.write_weights(member, network.state_dict())
        checkpoint.write_whole(member.predictions, lambda path: write_predictions(path, said))
        checkpoint.forget(member.folder)
        soup.forget_parts(member)
    return said


@contextmanager
def _advised(recipe: Recipe) -> Iterator[None]:
    """Say in one line what PyTorch stumbled over, and what may help."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        line = first_line(error)
        if is_memory(error):
            smaller = "preparation.patch" if recipe.preparation and recipe.preparation.patch else "preparation.size"
            advice = f"a smaller training.batch (now {recipe.training.batch}) or {smaller} may help"
            raise Failed(f"there is not enough memory: {advice}") from error
        raise Failed(f"the training broke off: {line}") from error


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
        network.load_state_dict(soup.read_weights(member))
    except RuntimeError as error:
        raise soup.unreadable(member, error) from error
    return network.eval().to(device)
