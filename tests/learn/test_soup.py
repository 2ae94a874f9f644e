"""Several trainings whose weights are averaged: each from a seed of its own, killed or not, kept as one network."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from node.errors import Misconfigured
from node.imaging.formats import built
from node.learn import checkpoint, soup
from node.learn.fitting import Epoch, Listener
from node.learn.members import train_member
from node.learn.recipe import Further, Recipe, Start
from node.learn.run import Member
from tests.learn.toys import HERE, TINY, classifying, material, pictures, trained_for

CLASSES = ("dark", "bright")


@pytest.fixture(autouse=True)
def _alone() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """A soup of two, begun from the same weights."""
    asked = dataclasses.replace(classifying(start=Start(weights="file:start.safetensors")), classes=CLASSES)
    assert asked.network is not None
    torch.manual_seed(9)
    save_file(built(asked.network).state_dict(), tmp_path / "start.safetensors")
    return trained_for(asked, soup=2)


def trained(recipe: Recipe, folder: Path, seed: int, heard: Listener = lambda _: None) -> Member:
    """One training, in a folder of its own."""
    member = Member(folder=folder, seed=seed, fold=0)
    given = material(recipe, pictures(16), beside=folder.parent)
    train_member(member, given, pictures(4, seed=2), HERE, heard)
    return member


def test_it_is_the_mean_of_trainings_with_seeds_of_their_own(recipe: Recipe, tmp_path: Path) -> None:
    told: list[Epoch] = []

    def heard(each: Epoch | tuple[int, int]) -> None:
        if isinstance(each, Epoch):
            told.append(each)

    member = trained(recipe, tmp_path / "soup", 3, heard)
    alone = [load_file(trained(trained_for(recipe, soup=1), tmp_path / str(seed), seed).weights) for seed in (6, 7)]
    found = load_file(member.weights)
    for name, each in found.items():
        one, other = (state[name].double() for state in alone)
        expected = (one + other) / 2 if each.is_floating_point() else one
        assert torch.allclose(each.double(), expected, rtol=0, atol=1e-7), name
    assert not torch.allclose(alone[0]["conv1.weight"], alone[1]["conv1.weight"])
    assert [(each.number, each.of) for each in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert member.epochs == 4
    assert sum(each["seconds"] for each in member.told) == pytest.approx(sum(each.seconds for each in told), abs=0.05)
    assert {file.name for file in member.folder.rglob("*.*") if file.is_file()} == {
        "history.jsonl", "predictions.jsonl", "weights.safetensors",
    }  # fmt: skip


def test_killed_at_every_file_it_ends_as_one_that_was_not(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(recipe, tmp_path / "whole", 0)
    write, died = checkpoint.write_whole, list[Path]()

    class Killed(BaseException):
        """As if the machine went dark."""

    def once(file: Path, fill: Callable[[Path], object]) -> None:
        if file not in died:
            died.append(file)
            raise Killed
        write(file, fill)

    monkeypatch.setattr(checkpoint, "write_whole", once)
    member = Member(folder=tmp_path / "killed", seed=0, fold=0)
    for _ in range(20):
        try:
            trained(recipe, tmp_path / "killed", 0)
        except Killed:
            continue
        break
    assert len(died) >= 8
    assert member.weights.read_bytes() == whole.weights.read_bytes()
    assert member.predictions.read_bytes() == whole.predictions.read_bytes()


def test_parts_of_another_network_are_told(recipe: Recipe, tmp_path: Path) -> None:
    member = Member(folder=tmp_path / "soup", seed=0, fold=0)
    for part in soup.parts(member, 2):
        part.folder.mkdir(parents=True)
        save_file({"weight": torch.zeros(2)}, part.weights)
    with pytest.raises(Misconfigured, match="holds parts of another network"):
        trained(recipe, member.folder, 0)


def test_networks_that_begin_from_nothing_are_no_soup() -> None:
    start = Start(weights="file:start.safetensors")
    soup.refuse(trained_for(classifying(start=start), soup=2))
    soup.refuse(classifying())
    with pytest.raises(Misconfigured, match=r"training.soup: is 2, and the networks do not begin from the same weight"):
        soup.refuse(trained_for(classifying(), soup=2))
    further = (Further(name="ResNet", arguments=TINY),)
    with pytest.raises(Misconfigured, match=r"training\.soup"):
        soup.refuse(trained_for(classifying(start=start, networks=further), soup=2))
