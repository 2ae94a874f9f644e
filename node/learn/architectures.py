"""The networks of a run: that of the recipe's `[network]`, and those of `[[networks]]` beside it."""

from __future__ import annotations

from dataclasses import replace

from node.domain.preparation import Architecture
from node.learn.evaluate.evaluation import Evaluation
from node.learn.recipe import Recipe


def of_network(recipe: Recipe, number: int) -> Recipe:
    """Return the recipe of one network alone: 0 is that of `[network]`, 1 the first of `[[networks]]`."""
    alone = replace(recipe, networks=())
    if not number:
        return alone
    chosen = recipe.networks[number - 1]
    return replace(alone, network=Architecture(name=chosen.name, arguments=chosen.arguments), start=chosen.start)


def network_name(recipe: Recipe, number: int) -> str:
    """Return what a network is called: its class, and where several are of that, its number too."""
    assert recipe.network is not None
    names = [name.rpartition(".")[2] for name in (recipe.network.name, *(each.name for each in recipe.networks))]
    return names[number] if names.count(names[number]) == 1 else f"{names[number]} {number + 1}"


def marked(evaluation: Evaluation, recipe: Recipe) -> Evaluation:
    """Return an evaluation with a note that it is of the first architecture, where the recipe has several."""
    if not recipe.networks:
        return evaluation
    first, count = network_name(recipe, 0), 1 + len(recipe.networks)
    note = f"What each network reaches by itself is told of {first}, the first of {count} architectures."
    return replace(evaluation, notes=(*evaluation.notes, note))
