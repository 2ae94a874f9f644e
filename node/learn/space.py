"""Where a search looks when its recipe does not say: what is worth the trials, of this task and this network."""

from __future__ import annotations

from node.domain.model_card import Task
from node.learn.recipe import Balance, Recipe
from node.learn.recipe_ways import Room
from node.learn.ways import STRENGTH

#: Networks of one kind, from small to large.
_FAMILIES = (("resnet10", "resnet18"), ("DenseNet121", "DenseNet169"))
_FILTERS = ((), ("clahe",), ("median",), ("denoise",))


def usual(recipe: Recipe) -> dict[str, Room]:
    """The usual room of a recipe with everything derived: key → what it may become."""
    rate = recipe.training.learning_rate
    room = {
        "training.learning_rate": Room(low=rate / 10, high=rate * 10, log=True),
        "training.weight_decay": Room(low=1e-5, high=1e-1, log=True),
        STRENGTH: Room(choices=(1.0, 0.0, 0.5, 1.5)),
    }
    if recipe.task is not Task.CLASSIFICATION:
        return room
    room["training.balance"] = Room(choices=_first(recipe.training.balance.value, [each.value for each in Balance]))
    if recipe.preparation is not None:
        room["preparation.filters"] = Room(choices=_first(recipe.preparation.filters, _FILTERS))
    name = recipe.network.name if recipe.network else ""
    family = next((each for each in _FAMILIES if name in each), ())
    # Weights to begin from are those of one network.
    if family and recipe.start is None:
        room["network.name"] = Room(choices=_first(name, family))
    return room


def _first(now: object, choices: object) -> tuple[object, ...]:
    assert isinstance(choices, list | tuple)
    return (now, *(each for each in choices if each != now))
