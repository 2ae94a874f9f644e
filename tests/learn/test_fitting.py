"""Epochs: what is killed goes on and ends alike, one seed gives one network, and the best weights are kept."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from node.errors import Failed, Misconfigured
from node.learn import checkpoint
from node.learn.fitting import SCORE, Epoch, fit
from node.learn.place import Place
from node.learn.recipe import Precision, Training, recipe_of

HERE = Place(device=torch.device("cpu"))
PLAIN = Training(epochs=4, batch=8, learning_rate=0.05, precision=Precision.SINGLE)


class Lines:
    """Learns a line through noisy points, with dropout, so that chance plays its part."""

    def __init__(self, seed: int = 0, *, scores: Sequence[float] = (), width: int = 1) -> None:
        torch.manual_seed(seed)
        self.network = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, width))
        self.scores, self.seen = list(scores), 0
        self.spoils_at = math.inf

    @property
    def steps(self) -> int:
        return 5

    def groups(self) -> Sequence[tuple[Sequence[nn.Parameter], float]]:
        return [(list(self.network[0].parameters()), 0.5), (list(self.network[1:].parameters()), 1.0)]

    def begin(self, epoch: int) -> None:
        self.network.train()
        self.spoils = epoch >= self.spoils_at

    def batch(self, epoch: int, index: int, random: np.random.Generator) -> Any:
        points = torch.from_numpy(random.standard_normal((8, 3), dtype=np.float32))
        return points, points.sum(1, keepdim=True)

    def loss(self, network: nn.Module, batch: Any, device: torch.device) -> torch.Tensor:
        points, truth = batch
        loss = (network(points) - truth).square().mean()
        return loss * math.nan if self.spoils else loss

    def judge(self, network: nn.Module, device: torch.device) -> Mapping[str, float]:
        self.seen += 1
        assert not network.training
        return {SCORE: self.scores[self.seen - 1]} if self.scores else {}


class Killed(BaseException):
    """As if the machine went dark."""


def trained(learner: Lines, folder: Path, training: Training = PLAIN, *, dies_in: int = 0) -> dict[str, torch.Tensor]:
    folder.mkdir(exist_ok=True)

    def hear(told: Epoch | tuple[int, int]) -> None:
        if dies_in and isinstance(told, tuple) and told[0] == 3 and len(checkpoint.history(folder)) == dies_in - 1:
            raise Killed

    fit(learner, training, folder, 7, HERE, hear)
    return {name: each.clone() for name, each in learner.network.state_dict().items()}


def same(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("training", [PLAIN, Training(epochs=4, learning_rate=0.05, average=0.9, optimiser="sgd")])
def test_a_training_that_was_killed_ends_where_it_would_have_ended(tmp_path: Path, training: Training) -> None:
    whole = trained(Lines(), tmp_path / "whole", training)
    with pytest.raises(Killed):
        trained(Lines(), tmp_path / "killed", training, dies_in=3)
    assert len(checkpoint.history(tmp_path / "killed")) == 2
    assert same(whole, trained(Lines(), tmp_path / "killed", training))
    lines = [json.loads(line) for line in (tmp_path / "killed/history.jsonl").read_text().splitlines()]
    assert [each["epoch"] for each in lines] == [1, 2, 3, 4]


def test_one_seed_gives_one_network_and_another_seed_another(tmp_path: Path) -> None:
    first = trained(Lines(1), tmp_path / "a")
    assert same(first, trained(Lines(1), tmp_path / "b"))
    assert not same(first, trained(Lines(2), tmp_path / "c"))


def test_without_a_better_score_it_ends_early_and_keeps_the_best_weights(tmp_path: Path) -> None:
    training = Training(epochs=9, learning_rate=0.05, patience=2, precision=Precision.SINGLE)
    learner = Lines(scores=[0.1, 0.3, 0.2, 0.25, 0.9])
    kept = trained(learner, tmp_path / "patient", training)
    assert learner.seen == 4
    two_epochs = Training(epochs=2, learning_rate=0.05, schedule="constant", precision=Precision.SINGLE)
    longer = Training(epochs=9, learning_rate=0.05, schedule="constant", patience=2, precision=Precision.SINGLE)
    assert same(
        trained(Lines(), tmp_path / "two", two_epochs),
        trained(Lines(scores=[0.1, 0.3, 0.2, 0.25, 0.9]), tmp_path / "constant", longer),
    )
    assert not same(kept, trained(Lines(), tmp_path / "last", PLAIN))


def test_without_patience_the_last_weights_are_kept(tmp_path: Path) -> None:
    scored = trained(Lines(scores=[0.9, 0.1, 0.1, 0.1]), tmp_path / "scored")
    assert same(scored, trained(Lines(), tmp_path / "plain"))


def test_a_loss_that_is_no_number_ends_it_and_says_what_may_help(tmp_path: Path) -> None:
    learner = Lines()
    learner.spoils_at = 1
    with pytest.raises(Failed, match="the loss of epoch 2 is nan: a lower learning rate may help"):
        trained(learner, tmp_path / "spoilt")
    assert len(checkpoint.history(tmp_path / "spoilt")) == 1


def test_what_another_network_left_behind_is_told_and_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trained(Lines(), tmp_path / "run", dies_in=2)
    left = (tmp_path / "run/last.pt").read_bytes()
    with pytest.raises(Misconfigured, match="holds a training of another network"):
        trained(Lines(width=2), tmp_path / "run")
    assert (tmp_path / "run/last.pt").read_bytes() == left


def test_what_is_damaged_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(Misconfigured, match=r"last\.pt: is damaged"):
        trained(Lines(), tmp_path / "run")


@pytest.mark.parametrize(("key", "value"), [("optimiser", "lion"), ("schedule", "zigzag")])
def test_what_nobody_knows_is_named_with_what_there_is(key: str, value: str) -> None:
    with pytest.raises(Misconfigured, match=rf"training\.{key}: Input should be '.*' or '(sgd|constant)'"):
        recipe_of({"training": {key: value}}, Path("recipe.toml"))


def test_only_the_best_weights_that_will_be_wanted_are_kept(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        trained(Lines(scores=[0.1, 0.2, 0.3, 0.4]), tmp_path / "run", dies_in=3)
    kept = checkpoint.restore(tmp_path / "run")
    assert kept is not None
    assert (kept["best"], kept["best_weights"]) == (0.2, None)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("file write failed\nat 7")])
def test_a_full_disk_is_told_and_leaves_what_was_there(tmp_path: Path, error: Exception) -> None:
    (tmp_path / "last.pt").write_text("before")

    def write(path: Path) -> None:
        path.write_text("half")
        raise error

    with pytest.raises(Failed, match=r"last\.pt cannot be written: (No space left on device|file write failed)\. Once"):
        checkpoint.write_whole(tmp_path / "last.pt", write)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"last.pt": "before"}
