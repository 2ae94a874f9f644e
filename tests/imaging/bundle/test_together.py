"""Several studies in one pass: each answered as alone, or left to be read alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers.inferer import Inferer

from node.domain.preparation import Preparation
from node.imaging import doubt
from node.imaging.bundle import together
from node.imaging.images import Image
from node.imaging.pipelines import STILL, Given, Runner, RunsMany
from tests.imaging.bundles import bundle_card, model_folder
from tests.imaging.bundles import loaded as bundle_loaded
from tests.imaging.test_network_classes import Convolved, described, loaded, radiograph
from tests.imaging.test_zoo import ZOO, colours

SAID = Preparation(size=(16, 16))
NAN = 4095


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is, the networks here count as quick ones."""
    monkeypatch.setattr(together, "PASS_S", 1e6)


class Coupled(torch.nn.Module):
    """Scales by the brightest of all that lies in the batch."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return (values / values.amax()).flatten(1)[:, :3]


class Neighbours(torch.nn.Module):
    """Mixes each with the one before it."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return (values + values.roll(1, 0)).flatten(1)[:, :3]


class Pixels(torch.nn.Module):
    """Three pixels."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.flatten(1)[:, :3] / 300


class OneAtATime(torch.nn.Module):
    """Was saved for a batch of one."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.reshape(1, -1)[:, :3]


class Poisoned(torch.nn.Module):
    """Answers with no numbers where the brightest pixel is of a certain value."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        brightest = values.flatten(1).amax(1, keepdim=True)
        return torch.where(brightest > 1000.0, torch.full_like(brightest, float("nan")), values.flatten(1)[:, :3])


def image(seed: int, rows: int = 20) -> Image:
    values = np.random.default_rng(seed).integers(0, 900, (rows, 18)).astype(np.uint16)
    return replace(radiograph(), array=values)


def several(count: int = 4) -> list[Given]:
    return [Given(images=(image(seed),)) for seed in range(count)]


def many(runner: Runner, givens: list[Given]) -> list[np.ndarray | None]:
    assert isinstance(runner, RunsMany)
    return [None if each is None else each.logits for each in runner.run_many(givens)]


@pytest.mark.parametrize("times", [1, 2])
def test_each_of_several_is_answered_as_alone(tmp_path: Path, times: int) -> None:
    torch.manual_seed(0)
    runner = loaded(tmp_path, Convolved(), described(SAID))
    for _ in range(times - 1):  # the first time both ways are compared
        many(runner, several())
    together = many(runner, several())
    for given, found in zip(several(), together, strict=True):
        alone = runner.run(given, STILL).logits
        assert found is not None
        assert alone is not None
        assert np.allclose(found, alone, rtol=1e-5, atol=1e-5 * np.abs(alone).max())


@pytest.mark.parametrize("network", [Coupled(), OneAtATime()])
def test_a_network_that_couples_its_batch_or_takes_none_is_never_asked_for_several_again(
    tmp_path: Path, network: torch.nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = loaded(tmp_path, network, described(SAID))
    assert many(runner, several()) == [None] * 4
    monkeypatch.setattr(runner._together, "_passed", None)  # type: ignore[attr-defined]
    assert many(runner, several()) == [None] * 4


@pytest.mark.parametrize("network", [Coupled(), Neighbours()])
def test_a_network_that_couples_its_batch_is_found_out_though_all_that_comes_first_is_alike(
    tmp_path: Path, network: torch.nn.Module
) -> None:
    runner = loaded(tmp_path, network, described(SAID))
    assert many(runner, [Given(images=(image(1),))] * 3) == [None] * 3


def test_what_takes_long_is_read_one_by_one_until_it_is_quicker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = loaded(tmp_path, Convolved(), described(SAID))
    monkeypatch.setattr(together, "PASS_S", 0.0)
    exact = [runner.run(each, STILL).logits for each in several()]
    for _ in range(2):
        assert np.array_equal(many(runner, several()), exact)
    monkeypatch.setattr(together, "PASS_S", 1e6)
    sizes: list[int] = []
    computed = runner._together._computed  # type: ignore[attr-defined]

    def counted(inferer: Inferer, given: torch.Tensor) -> torch.Tensor:
        sizes.append(len(given))
        return computed(inferer, given)

    monkeypatch.setattr(runner._together, "_computed", counted)  # type: ignore[attr-defined]
    many(runner, several())
    assert sizes == [4]


@pytest.mark.parametrize(("apart", "is_read"), [(0.0, False), (2e-5, False), (1e-2, True), (None, True)])
def test_a_number_at_a_threshold_of_the_card_is_read_alone(tmp_path: Path, apart: float | None, is_read: bool) -> None:
    card = described(SAID)
    runner = loaded(tmp_path, Pixels(), card)
    [alone, *_] = (runner.run(each, STILL).logits for each in several())
    if apart is not None:
        assert alone is not None
        point = 1 / (1 + np.exp(-float(alone[0, 1]) - apart))
        card = replace(card, targets=(card.targets[0], replace(card.targets[1], operating_point=point)))
    for _ in range(2):
        readings = doubt.read_many(card, runner, (), several(), STILL)
        assert [each is not None for each in readings] == [is_read, True, True, True]


def test_one_without_numbers_is_left_to_be_read_alone_and_the_others_are_answered(tmp_path: Path) -> None:
    runner = loaded(tmp_path, Poisoned(), described(SAID))
    givens = several(3)
    bright = image(7)
    bright.array[:] = NAN
    givens.insert(1, Given(images=(bright,)))
    for _ in range(2):
        assert [found is None for found in many(runner, givens)] == [False, True, False, False]


def test_what_is_of_another_kind_is_left_to_be_read_alone(tmp_path: Path) -> None:
    runner = loaded(tmp_path, Convolved(), described(Preparation()))
    two = Given(images=(image(8), image(9)))
    odd = Given(images=(image(6, rows=25),))
    assert [found is None for found in many(runner, [*several(2), two, odd])] == [False, False, True, True]


@pytest.mark.soak
def test_outlines_of_several_images_are_those_of_each_alone(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, ZOO / "tool_rgb" / "configs")
    runner = bundle_loaded(folder, bundle_card(folder))
    assert isinstance(runner, RunsMany)
    givens = [Given(images=(Image(array=colours(seed), sop_instance_uid=f"1.2.{seed}"),)) for seed in range(3)]
    alone = [runner.run(given).labels for given in givens]
    for _ in range(2):
        readings = runner.run_many(givens)
        assert any(readings)
        for expected, found in zip(alone, readings, strict=True):
            assert found is None or np.array_equal(found.labels, expected)
