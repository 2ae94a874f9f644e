"""The search: its budget, what it may see, and that it goes on. Optuna is in no environment of the node."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from node.errors import Misconfigured
from node.learn import searching
from node.learn.comparison import read_comparisons
from node.learn.fitting import SCORE
from node.learn.learners import Material
from node.learn.recipe import Recipe, read_recipe
from node.learn.recipe_export import Exporting, Members
from node.learn.recipe_text import recipe_text
from node.learn.recipe_ways import Room, Searching
from node.learn.split import Fold, read_split
from node.learn.training import Ears
from tests.learn.ready import HERE, RECIPE, SPLIT, ready

needs_optuna = pytest.mark.skipif(not importlib.util.find_spec("optuna"), reason="Optuna is not installed")
ASKED = Searching(
    trials=12,
    epochs=3,
    space={
        "training.learning_rate": Room(low=1e-4, high=1.0, log=True),
        "preparation.filters": Room(choices=((), ("median",))),
    },
)


def begun(folder: Path) -> Path:
    """The folder of a search, with what stands before it."""
    search = folder / "search"
    search.mkdir()
    return search


class Known:
    """Learns nothing: best at a learning rate of 0.01 and with a median."""

    def __init__(self, recipe: Recipe) -> None:
        self.network, self.steps, self.epoch = nn.Linear(1, 1), 1, 0
        assert recipe.preparation
        rate = recipe.training.learning_rate
        self.score = -abs(np.log10(rate) + 2) + bool(recipe.preparation.filters)

    def groups(self) -> Sequence[tuple[Sequence[nn.Parameter], float]]:
        return [(list(self.network.parameters()), 1.0)]

    def begin(self, epoch: int) -> None:
        self.epoch = epoch

    def batch(self, *_: Any) -> torch.Tensor:
        return torch.zeros(1, 1)

    def loss(self, network: nn.Module, batch: torch.Tensor, device: torch.device) -> torch.Tensor:
        return network(batch).square().mean()

    def judge(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:
        return {SCORE: float(self.score) + 0.01 * self.epoch}


@pytest.fixture
def taught(monkeypatch: pytest.MonkeyPatch) -> list[Material]:
    """The material of each trial."""
    seen: list[Material] = []

    class Teaching:
        def learner(self, material: Material, seed: int) -> Known:
            seen.append(material)
            return Known(material.recipe)

    monkeypatch.setattr(searching, "teacher", lambda _: Teaching())
    return seen


def test_without_optuna_the_remedy_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    stands = ready(begun(tmp_path), dataclasses.replace(RECIPE, search=ASKED), monkeypatch)
    with pytest.raises(Misconfigured, match=r"search: needs Optuna.*pip install -c constraints.txt '.\[train\]'"):
        searching.searched(stands, HERE, Ears())


def test_nothing_to_choose_by_is_told_and_nothing_asked_is_nothing_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ready(tmp_path, RECIPE, monkeypatch)
    assert searching.searched(plain, HERE, Ears()) is plain
    folds = (Fold(train=SPLIT.folds[0].train, test=SPLIT.folds[0].test),)
    blind = dataclasses.replace(
        plain, recipe=dataclasses.replace(RECIPE, search=ASKED), split=dataclasses.replace(SPLIT, folds=folds)
    )
    with pytest.raises(Misconfigured, match="no validation part"):
        searching.searched(blind, HERE, Ears())


@needs_optuna
def test_a_search_finds_what_is_better_without_the_test_part(
    tmp_path: Path, taught: list[Material], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[set[str]] = []
    stands = ready(begun(tmp_path), dataclasses.replace(RECIPE, search=ASKED), monkeypatch, asked)
    found = searching.searched(stands, HERE, Ears()).recipe
    assert len(taught) == 12
    assert not set.union(*asked) & set(SPLIT.folds[0].test)
    assert found.search is None
    assert found.preparation
    assert found.preparation.filters == ("median",)
    assert 1e-3 < found.training.learning_rate < 1e-1
    assert found.training.epochs == RECIPE.training.epochs
    assert read_recipe(tmp_path / "recipe.toml") == found
    assert read_split(tmp_path / "split.json") == SPLIT
    trials = [json.loads(line) for line in (tmp_path / "search" / "trials.jsonl").read_text().splitlines()]
    assert len(trials) == 12
    assert trials[0]["changes"] == {"training.learning_rate": 0.1, "preparation.filters": []}
    assert {each["state"] for each in trials} == {"complete", "pruned"}
    assert len([each for each in (tmp_path / "search").iterdir() if each.is_dir()]) == 0
    (table,) = read_comparisons(tmp_path / "comparison.json")
    assert [row.is_chosen for row in table.rows].count(True) == 1
    assert table.rows[0].name == "trial 1"


@needs_optuna
def test_a_search_that_is_added_to_what_is_trained_tells_of_a_better_way_and_leaves_it(
    tmp_path: Path, taught: list[Material], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "seed-0" / "fold-0").mkdir(parents=True)
    (tmp_path / "recipe.toml").write_text(recipe_text(RECIPE))
    export = Exporting(members=Members.SEEDS)
    asked = dataclasses.replace(RECIPE, search=dataclasses.replace(ASKED, trials=4), export=export)
    told: list[str] = []
    stands = ready(begun(tmp_path), asked, monkeypatch)
    found = searching.searched(stands, HERE, Ears(say=lambda text: told.append(str(text))))
    assert found.recipe == dataclasses.replace(RECIPE, export=export) == read_recipe(tmp_path / "recipe.toml")
    assert read_recipe(tmp_path / "search" / searching.BEST).preparation.filters == ("median",)  # type: ignore[union-attr]
    assert "which is kept" in told[-1]
    (table,) = read_comparisons(tmp_path / "comparison.json")
    assert not any(row.is_chosen for row in table.rows)


@needs_optuna
def test_a_search_that_was_killed_goes_on(
    tmp_path: Path, taught: list[Material], monkeypatch: pytest.MonkeyPatch
) -> None:
    stands = ready(begun(tmp_path), dataclasses.replace(RECIPE, search=ASKED), monkeypatch)

    class Killed(BaseException):
        """As the kernel ends a process: nothing is tidied up."""

    trained = searching.fit

    def dies(*given: Any) -> Any:
        if len(taught) == 5:
            raise Killed
        return trained(*given)

    monkeypatch.setattr(searching, "fit", dies)
    with pytest.raises(Killed):
        searching.searched(stands, HERE, Ears())
    monkeypatch.setattr(searching, "fit", trained)
    died = taught[-1].recipe.training.learning_rate
    searching.searched(stands, HERE, Ears())
    assert taught[5].recipe.training.learning_rate == died
    rates = [material.recipe.training.learning_rate for material in taught]
    assert len(set(rates)) == len(rates) - 1
    searched = len(taught)
    searching.searched(stands, HERE, Ears())
    assert len(taught) == searched
