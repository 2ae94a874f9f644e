"""A recipe changed here and there: what a search tries, and what an ablation compares."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from node.errors import Misconfigured
from node.learn.dataset.opened import Opened
from node.learn.learners import Example
from node.learn.members import prepared
from node.learn.recipe import Augmentation, Recipe, recipe_of
from node.learn.recipe_text import recipe_text
from node.learn.split import Fold, Split
from node.learn.synthetic import drawing as synthetic

#: A key that no table has: every number of the augmentation times this.
STRENGTH = "augmentation.strength"
_PLACE = Path("recipe.toml")
#: Keys of the augmentation that are 0 where they do nothing, with the most that they may be.
_MOST = {"rotate_deg": 180.0, "translate": 1.0, "aspect": 0.9, "erase": 1.0} | dict.fromkeys(
    ("brightness", "contrast", "gamma", "noise", "blur", "bias", "mix"), float("inf")
)
_LEAST_ZOOM = 0.1


def changed(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """Return a recipe with "table.key" → value changed, without its search and its ablation.

    Raises:
        Misconfigured: there is no such key, or it may not have this value; names it.
    """
    document = tomllib.loads(recipe_text(dataclasses.replace(recipe, search=None, ablation=None)))
    for key, value in changes.items():
        if key == STRENGTH:
            continue
        *tables, last = key.split(".")
        if "networks" in (*tables, last)[:1]:
            raise Misconfigured(_PLACE, key, "is no part of a way, which is one network", "Change network instead")
        inner: Any = document
        for table in tables:
            inner = inner.setdefault(table, {})
            if not isinstance(inner, dict):
                raise Misconfigured(_PLACE, key, f"{table} is no table", "Correct the key")
        inner[last] = list(value) if isinstance(value, tuple) else value
    made = recipe_of(document, _PLACE)
    synthetic.refuse(made)
    if STRENGTH in changes and made.augmentation is not None:
        return dataclasses.replace(made, augmentation=strengthened(made.augmentation, float(changes[STRENGTH])))
    return made


def strengthened(augmentation: Augmentation, factor: float) -> Augmentation:
    """Return an augmentation with every number times `factor`; 0 leaves mirroring alone."""
    low, high = (max(_LEAST_ZOOM, 1 + (each - 1) * factor) for each in augmentation.zoom)
    numbers = {name: min(most, getattr(augmentation, name) * factor) for name, most in _MOST.items()}
    coarsen = max(1.0, 1 + (augmentation.coarsen - 1) * factor)
    return dataclasses.replace(augmentation, zoom=(low, high), coarsen=coarsen, **numbers)


class Tray:
    """Cases of one fold as the way that was asked for last prepares them."""

    def __init__(self, dataset: Opened, split: Split, fold: Fold) -> None:
        self._dataset, self._split = dataset, dataclasses.replace(split, folds=(fold,))
        self._preparation: Any = None
        self._examples: dict[str, Example] = {}

    def examples(self, recipe: Recipe) -> dict[str, Example]:
        """Key → example.

        Raises:
            Failed: a case cannot be prepared so.
        """
        if self._preparation != recipe.preparation:
            # Two sets at once may be more than there is memory for.
            self._examples = {}
            self._examples, self._preparation = prepared(self._dataset, recipe, self._split), recipe.preparation
        return self._examples
