"""A recipe that is written and read is the same recipe, whatever stands in it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.domain.colour import Colour
from node.domain.model_card import Task
from node.domain.preparation import Architecture, Fit, Preparation, Values
from node.errors import Misconfigured
from node.learn.recipe import (
    Augmentation,
    Balance,
    Judging,
    Recipe,
    Splitting,
    Start,
    Training,
    read_recipe,
    recipe_of,
)
from node.learn.recipe_export import Exporting, Members
from node.learn.recipe_text import recipe_text

shares = st.floats(0, 1, allow_nan=False)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
counts = st.integers(1, 10**6)
values = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False, allow_infinity=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)
recipes = st.builds(
    Recipe,
    name=texts,
    task=st.none() | st.sampled_from(Task),
    classes=st.lists(texts, max_size=3).map(tuple),
    colour=st.sampled_from(Colour),
    split=st.builds(
        Splitting, folds=st.sampled_from([0, 2, 5]), shares=st.tuples(st.floats(0.1, 1), shares, shares), patients=texts
    ),
    preparation=st.none()
    | st.builds(
        Preparation,
        size=st.lists(counts, max_size=3).map(tuple),
        values=st.sampled_from(Values),
        fit=st.sampled_from(Fit),
        mean=st.lists(st.floats(-1e3, 1e3), max_size=3).map(tuple),
        largest=st.booleans(),
    ),
    network=st.none() | st.builds(Architecture, name=texts, arguments=st.dictionaries(texts, values, max_size=3)),
    start=st.none() | st.builds(Start, weights=texts, decay=shares, keeps_statistics=st.booleans()),
    augmentation=st.none() | st.builds(Augmentation, flip=st.lists(st.integers(0, 2)).map(tuple), mix=shares),
    training=st.builds(
        Training,
        epochs=counts,
        learning_rate=st.floats(1e-12, 1e12),
        balance=st.sampled_from(Balance),
        optimiser=st.sampled_from(["adamw", "sgd"]),
        seeds=st.lists(st.integers(0, 2**40), min_size=1, max_size=3, unique=True).map(tuple),
    ),
    evaluation=st.builds(Judging, positive=texts, subgroups=st.lists(texts, max_size=2).map(tuple)),
    export=st.builds(Exporting, members=st.sampled_from(Members), largest_mb=st.floats(1e-3, 1e6)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recipe=recipes, note=texts)
def test_what_is_written_is_read_again(recipe: Recipe, note: str) -> None:
    assert recipe_of(tomllib.loads(recipe_text(recipe, [note])), Path("recipe.toml")) == recipe


def test_an_augmentation_that_does_nothing_is_not_the_same_as_none(tmp_path: Path) -> None:
    """What is left out is derived: an empty table has to stay."""
    (tmp_path / "recipe.toml").write_text(recipe_text(Recipe(augmentation=Augmentation())))
    assert read_recipe(tmp_path / "recipe.toml").augmentation == Augmentation()


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ({"training": {"epohcs": 3}}, "training.epohcs: unknown key"),
        ({"trainning": {}}, "trainning: unknown key"),
        ({"training": {"epochs": "3"}}, "training.epochs: .*Give a whole number"),
        ({"training": {"seeds": [1, 1]}}, "training: .*a seed is named twice"),
        ({"training": {"seeds": [-1]}}, r"training.seeds\[0\]"),
        ({"split": {"folds": 1}}, "split: .*nothing would be trained on"),
        ({"split": {"shares": [0.0, 0.5, 0.5]}}, "split: .*nothing would be trained on"),
        ({"augmentation": {"zoom": [1.2, 0.8]}}, "augmentation: .*zoom is the least and the greatest"),
        ({"augmentation": {"zoom": [0.0, 1.0]}}, "augmentation: .*both above 0"),
        ({"augmentation": {"flip": [-1]}}, r"augmentation.flip\[0\]"),
    ],
)
def test_what_is_wrong_is_named(document: dict[str, Any], said: str) -> None:
    with pytest.raises(Misconfigured, match=said):
        recipe_of(document, Path("recipe.toml"))
