"""One case through the untrained network, before anything is trained: what does not fit is told by name."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import nn

from node.domain.model_card import Task
from node.errors import Failed, Misconfigured, first_line
from node.imaging.averaged import magnified
from node.imaging.formats import built
from node.learn import soup
from node.learn.architectures import of_network
from node.learn.case import Dataset
from node.learn.evaluate.evaluating import positive_of
from node.learn.preparing import preparer
from node.learn.recipe import Recipe
from node.learn.recipe_export import Exporting
from node.learn.synthetic import drawing as synthetic

_RECIPE = "recipe.toml"
_BYTES = 2
_MB = 1e6


def tried(recipe: Recipe, dataset: Dataset, *, copies: int, is_derived: bool) -> Recipe:
    """See that a resolved recipe fits together; return it, with room for the weights of a network that was derived.

    `copies`: of how many trainings of each network the model is made.

    Raises:
        Misconfigured: the network does not take what it will be given, or gives other numbers than there are classes;
            axes are mirrored that are not there; the weights are larger than the recipe allows; names the key.
        Failed: the first case cannot be prepared.
    """
    assert recipe.task is not None
    synthetic.refuse(recipe)
    soup.refuse(recipe)
    if recipe.task not in (Task.CLASSIFICATION, Task.SEGMENTATION):
        if recipe.networks:
            problem = f"several networks are not put together for {recipe.task.value}"
            raise Misconfigured(_RECIPE, "networks", problem, "Leave them out")
        return recipe
    assert recipe.network is not None
    if recipe.task is Task.CLASSIFICATION:
        positive_of(recipe.evaluation, recipe.classes)
    given = _given(recipe, dataset)
    _refuse_axes(recipe, given.ndim - 2)
    _refuse_views(recipe)
    size = sum(_weighed(recipe, number, given) for number in range(1 + len(recipe.networks))) * copies / _MB
    if size <= recipe.export.largest_mb:
        return recipe
    if is_derived and recipe.export.largest_mb == Exporting().largest_mb:
        room = dataclasses.replace(recipe.export, largest_mb=float(math.ceil(size * 1.1)))
        return dataclasses.replace(recipe, export=room)
    problem = f"the weights will be {size:.1f} MB, and {recipe.export.largest_mb:g} are allowed"
    raise Misconfigured(_RECIPE, "export.largest_mb", problem, "Allow more, or make the network smaller")


def _weighed(recipe: Recipe, number: int, given: torch.Tensor) -> int:
    """Bytes of one of the networks, which was asked."""
    alone = of_network(recipe, number)
    try:
        network = _made(alone)
        for each in (given, *(magnified(given, *view) for view in recipe.evaluation.views)):
            _ask(network, each, alone)
    except Misconfigured as error:
        if not number:
            raise
        key = error.key.replace("network", f"networks[{number - 1}]", 1)
        raise Misconfigured(_RECIPE, key, error.problem, error.remedy) from error
    return sum(int(each.numel()) for each in network.state_dict().values()) * _BYTES


def _made(recipe: Recipe) -> nn.Module:
    """The network, of which nothing is drawn that another one will miss."""
    assert recipe.network is not None
    said = recipe.preparation
    if said is not None and said.activation != "softmax":
        problem = f'"{said.activation}" is nothing that is learnt here: classes exclude each other'
        raise Misconfigured(_RECIPE, "preparation.activation", problem, "Leave it out")
    try:
        return built(recipe.network).eval()
    except Misconfigured as error:
        key = error.key.replace("architecture", "network")
        raise Misconfigured(_RECIPE, key, error.problem, error.remedy) from error


def _given(recipe: Recipe, dataset: Dataset) -> torch.Tensor:
    """The first case as the network will be given it; of a segmentation one window."""
    case = dataset.cases[0]
    pixels = dataset.read(case)
    said = recipe.preparation
    assert said is not None
    is_image = pixels.volume is None
    for key, many in (("size", said.size), ("patch", said.patch), ("spacing_mm", said.spacing_mm)):
        if many and len(many) != (2 if is_image else 3):
            problem = f"{list(many)} for {'images' if is_image else 'volumes'}"
            raise Misconfigured(_RECIPE, f"preparation.{key}", problem, f"Give {2 if is_image else 3} numbers")
    try:
        image = preparer(said, images=is_image, colour=recipe.colour)(pixels).image
    except Failed as error:
        raise Failed(f"{case.key}: {error}") from error
    if recipe.task is Task.SEGMENTATION:
        return torch.zeros(1, len(image), *said.patch)
    return image[None]


def _refuse_axes(recipe: Recipe, axes: int) -> None:
    flip = recipe.augmentation.flip if recipe.augmentation is not None else ()
    for key, named in (("augmentation.flip", flip), ("evaluation.flips", recipe.evaluation.flips)):
        if any(axis >= axes for axis in named):
            raise Misconfigured(_RECIPE, key, f"there is no axis {max(named)}", f"Choose of 0 to {axes - 1}")


def _refuse_views(recipe: Recipe) -> None:
    if recipe.evaluation.views and recipe.task is not Task.CLASSIFICATION:
        problem = f"parts of a case are no answer for {recipe.task.value if recipe.task else 'it'}"
        raise Misconfigured(_RECIPE, "evaluation.views", problem, "Leave it out: classification has them")


def _ask(network: nn.Module, given: torch.Tensor, recipe: Recipe) -> None:
    shape = _written(given.shape)
    try:
        with torch.no_grad():
            answer = network(given)
    except (RuntimeError, ValueError, TypeError, IndexError, AssertionError) as error:
        line = first_line(error)
        remedy = "Make [network] and [preparation] fit: channels, size, and patch sides that every level can halve"
        raise Misconfigured(_RECIPE, "network", f"it does not take {shape}: {line}", remedy) from error
    if not isinstance(answer, torch.Tensor):
        problem = f"it gives a {type(answer).__name__}, not one array"
        raise Misconfigured(_RECIPE, "network", problem, "Choose another, or arguments that leave one answer")
    count = len(recipe.classes)
    if recipe.task is Task.CLASSIFICATION:
        wanted = (1, count)
        meaning = f"one number for each of {', '.join(recipe.classes)}"
    else:
        wanted = (1, count + 1, *given.shape[2:])
        meaning = f"background and {', '.join(recipe.classes)} for each voxel"
    if len(answer.shape) > 2 and tuple(answer.shape[:2]) == wanted[:2] and tuple(answer.shape) != wanted:
        problem = f"the network makes {_written(answer.shape)} of {shape}"
        raise Misconfigured(_RECIPE, "preparation.patch", problem, "Give sides that every level of it can halve")
    if tuple(answer.shape) != wanted:
        problem = f"it makes {_written(answer.shape)} of {shape}, and is to give {_written(wanted)}: {meaning}"
        raise Misconfigured(_RECIPE, "network.arguments", problem, "Correct the number of outputs")


def _written(shape: Sequence[int]) -> str:
    return " × ".join(map(str, shape))
