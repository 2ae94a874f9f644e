"""A recipe changed here and there."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from node.errors import Misconfigured
from node.learn.recipe import Balance, recipe_of
from node.learn.recipe_text import recipe_text
from node.learn.recipe_ways import Ablation, Room, Searching, Way
from node.learn.space import usual
from node.learn.ways import STRENGTH, changed
from tests.learn.ready import RECIPE

SEARCH = Searching(trials=3, space={"training.learning_rate": Room(low=0.01, high=1.0, log=True)})
ABLATION = Ablation(ways=(Way(name="no filters", changes={"preparation.filters": [], "augmentation": {}}),))


def test_a_recipe_with_search_and_ablation_is_read_as_it_was_written() -> None:
    whole = dataclasses.replace(RECIPE, search=SEARCH, ablation=ABLATION)
    assert recipe_of(tomllib.loads(recipe_text(whole)), Path("recipe.toml")) == whole


def test_what_is_changed_is_changed_and_nothing_else() -> None:
    whole = dataclasses.replace(RECIPE, search=SEARCH, ablation=ABLATION)
    assert changed(whole, {}) == RECIPE
    found = changed(
        whole, {"training.balance": "loss", "preparation.filters": ("clahe:3",), "network.name": "resnet18"}
    )
    assert (found.training.balance, found.preparation and found.preparation.filters) == (Balance.LOSS, ("clahe:3",))
    assert found.network
    assert found.network.name == "resnet18"
    assert found.augmentation == RECIPE.augmentation
    assert changed(whole, {"augmentation": {}}).augmentation != RECIPE.augmentation


def test_an_augmentation_is_made_weaker_or_stronger_as_a_whole() -> None:
    twice, none = (changed(RECIPE, {STRENGTH: factor}).augmentation for factor in (2, 0))
    assert twice
    assert none
    assert (twice.rotate_deg, twice.zoom) == (20, pytest.approx((0.8, 1.4)))
    assert (none.rotate_deg, none.zoom) == (0, (1, 1))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("training.speed", 1, "training.speed: unknown key"),
        ("preparation.filters", ["sharpen"], "choose of clahe"),
        ("training.epochs.more", 1, "no table"),
        ("training.learning_rate", "fast", "training.learning_rate"),
    ],
)
def test_what_cannot_be_changed_is_told_by_its_key(key: str, value: object, told: str) -> None:
    with pytest.raises(Misconfigured, match=told):
        changed(RECIPE, {key: value})


def test_everything_in_the_usual_room_may_be_tried() -> None:
    room = usual(RECIPE)
    assert {"training.learning_rate", STRENGTH, "preparation.filters", "training.balance", "network.name"} <= set(room)
    for key, each in room.items():
        for value in each.choices or (each.low, each.high):
            changed(RECIPE, {key: value})


@pytest.mark.parametrize("said", [{}, {"low": 1.0}, {"low": 2.0, "high": 1.0}, {"low": 0.0, "high": 1.0, "log": True}])
def test_a_room_is_a_choice_or_a_range(said: dict) -> None:
    with pytest.raises(ValueError, match="give choices"):
        Room(**said)


def test_further_networks_are_no_part_of_a_way() -> None:
    with pytest.raises(Misconfigured, match=r"networks.*which is one network"):
        changed(RECIPE, {"networks": [{"name": "ResNet"}]})
