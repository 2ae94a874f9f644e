"""Several networks, or several views of one, answer together; and weights of half precision become single ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from node.domain.finding import Code
from node.domain.gate import Uncertainty
from node.domain.geometry import Grid
from node.domain.model_card import ModelCard, Task, Weights
from node.domain.preparation import Architecture, Preparation
from node.domain.target import Target
from node.errors import Misconfigured
from node.imaging import doubt
from node.imaging.averaged import Averaged, as_one, magnified
from node.imaging.images import Image
from node.imaging.pipelines import STILL, Fitting, Given, Reading, network
from node.imaging.volume import Volume
from tests.fakes import card

POINTWISE = Architecture(name="torch.nn.Conv3d", arguments={"in_channels": 1, "out_channels": 2, "kernel_size": 1})
VALUES = np.random.default_rng(3).integers(0, 100, (4, 6, 5)).astype(np.int16)


class Ramp(torch.nn.Module):
    """Not the same mirrored: the first column counts double."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        weights = torch.ones(values.shape[-1])
        weights[0] = 2.0
        return torch.cat([values * 0, values * weights], dim=1)


def above(file: Path, threshold: float, *, half: bool = True) -> Path:
    """Weights of a network that takes for organ what is brighter."""
    state = {"weight": torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1, 1), "bias": torch.tensor([0.0, -threshold])}
    save_file({key: each.half() if half else each for key, each in state.items()}, file)
    return file


def outliner(count: int, **changes: object) -> ModelCard:
    roles = ["network", *(f"network-{number}" for number in range(2, count + 1))]
    made = replace(
        card(),
        pipeline="network",
        weights=tuple(Weights(role=role, source=f"file:{role}.safetensors") for role in roles),
        preparation=Preparation(),
        architecture=POINTWISE,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def fitted(model_card: ModelCard, files: list[Path]) -> Fitting:
    weights = {each.role: file for each, file in zip(model_card.weights, files, strict=True)}
    return Fitting(card=model_card, folder=files[0].parent, weights=weights, device="cpu")


def given() -> Given:
    grid = Grid(VALUES.shape, ((0, 0, 1, 0), (0, 1, 0, 0), (1, 0, 0, 0), (0, 0, 0, 1)))
    return Given(volumes={"": Volume(VALUES, grid, tuple(map(str, range(4))), (1,) * 4)})


def test_the_mean_is_of_shares_not_of_numbers() -> None:
    one, other = torch.nn.Conv1d(1, 2, 1), torch.nn.Conv1d(1, 2, 1)
    values = torch.randn(3, 1, 7)
    shares = (one(values).softmax(1) + other(values).softmax(1)) / 2
    assert torch.allclose(Averaged([one, other], "softmax")(values).softmax(1), shares, atol=1e-6)
    apart = (one(values).sigmoid() + other(values).sigmoid()) / 2
    assert torch.allclose(Averaged([one, other], "sigmoid")(values).sigmoid(), apart, atol=1e-5)


def test_a_mirrored_view_is_mirrored_back() -> None:
    values = torch.arange(6.0).reshape(1, 1, 2, 3)
    plain, turned = Ramp()(values), Ramp()(values.flip(3)).flip(3)
    expected = (plain.softmax(1) + turned.softmax(1)) / 2
    assert torch.allclose(Averaged([Ramp()], "softmax", (1,))(values).softmax(1), expected, atol=1e-6)
    # Along an axis on which the network is the same mirrored, nothing is another answer.
    assert torch.allclose(Averaged([Ramp()], "softmax", (0,))(values).softmax(1), plain.softmax(1), atol=1e-6)


def test_a_number_for_the_whole_image_is_not_mirrored_back() -> None:
    network_ = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(6, 2))
    values = torch.randn(4, 1, 2, 3)
    expected = (network_(values).softmax(1) + network_(values.flip(2)).softmax(1)) / 2
    assert torch.allclose(Averaged([network_], "softmax", (0,))(values).softmax(1), expected, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 3, 12, 18), (1, 1, 8, 12, 10)])
def test_what_lies_around_the_middle_is_magnified(shape: tuple[int, ...]) -> None:
    places = torch.linspace(-1 + 1 / shape[-1], 1 - 1 / shape[-1], shape[-1])
    ramp = places.expand(shape).contiguous()
    assert torch.allclose(magnified(ramp, 1.0, 1.0), ramp, atol=1e-6)
    found = magnified(ramp, 0.5, 2.0)
    assert found.shape == shape
    # The middle half of a ramp from -1 to 1 is one from -0.5 to 0.5.
    assert torch.allclose(found, ramp / 2, atol=1e-5)
    assert magnified(ramp, 1.0, 1.5).shape == (*shape[:2], *(round(1.5 * side) for side in shape[2:]))


def test_views_are_shown_instead_of_all_of_it_and_their_shares_averaged() -> None:
    network_ = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(4, 3)).eval()
    values = torch.randn(4, 1, 10, 12)
    views = ((1.0, 1.2), (0.8, 1.0))
    seen = [magnified(values, *view) for view in views]
    expected = torch.stack([network_(each).softmax(1) for each in (*seen, *(each.flip(3) for each in seen))]).mean(0)
    assert torch.allclose(as_one([network_], "softmax", (1,), views)(values).softmax(1), expected, atol=1e-6)
    assert as_one([network_], "softmax") is network_


def test_weights_of_half_precision_compute_in_single(tmp_path: Path) -> None:
    runner = network.load(fitted(outliner(1), [above(tmp_path / "a.safetensors", 40.5)]))
    assert np.array_equal(runner.run(given()).labels, VALUES > 40)
    assert isinstance(runner, network.Network)
    assert {each.dtype for each in runner.explainable().network.state_dict().values()} == {torch.float32}


def test_several_files_are_one_network_whose_shares_are_averaged(tmp_path: Path) -> None:
    files = [above(tmp_path / f"{number}.safetensors", number, half=False) for number in (30.5, 50.5)]
    # At 40 one is as sure that it is as the other that it is not.
    assert np.array_equal(network.load(fitted(outliner(2), files)).run(given()).labels, VALUES > 40)


def test_the_members_of_an_ensemble_are_read_one_by_one_where_the_card_asks_for_their_doubt(tmp_path: Path) -> None:
    files = [above(tmp_path / f"{number}.safetensors", number) for number in (30.5, 50.5, 60.5)]
    fitting = fitted(outliner(3, uncertainty=Uncertainty(method="ensemble")), files)
    runner, others = network.load(doubt.alone(fitting)), doubt.members(fitting)
    reading = doubt.read(fitting.card, runner, others, given(), STILL)
    assert np.array_equal(reading.labels, VALUES > 50)
    assert reading.uncertainty[1] > 0


def test_a_classifier_of_several_files_averages_shares_either_way(tmp_path: Path) -> None:
    torch.manual_seed(5)
    files, expected = [], []
    picture = np.random.default_rng(1).random((4, 4)).astype(np.float32)
    arguments = {"in_shape": [1, 4, 4], "classes": 2, "channels": [4], "strides": [2]}
    architecture = Architecture(name="Classifier", arguments=arguments)
    from node.imaging.formats import built

    for number in range(2):
        member = built(architecture).eval()
        state = {key: each.contiguous() for key, each in member.state_dict().items()}
        files.append(tmp_path / f"{number}.safetensors")
        save_file(state, files[-1])
        expected.append(member(torch.from_numpy(picture)[None, None]).softmax(1))
    shares = torch.stack(expected).mean(0).detach().numpy()
    code = Code("30807003", "SCT", "Benign")
    model_card = outliner(
        2,
        task=Task.CLASSIFICATION,
        needs_volume=False,
        segments=(),
        volumes=(),
        exclusive=True,
        architecture=architecture,
        targets=(Target(index=0, label="a", code=code), Target(index=1, label="b", code=code)),
    )
    image = Given(images=(Image(array=picture, sop_instance_uid="1"),))

    def said(reading: Reading) -> np.ndarray:
        assert reading.logits is not None
        return np.exp(reading.logits) / np.exp(reading.logits).sum()

    assert said(network.load(fitted(model_card, files)).run(image)) == pytest.approx(shares, abs=1e-5)
    doubtful = fitted(replace(model_card, uncertainty=Uncertainty(method="ensemble")), files)
    runner, others = network.load(doubt.alone(doubtful)), doubt.members(doubtful)
    assert said(doubt.read(doubtful.card, runner, others, image, STILL)) == pytest.approx(shares, abs=1e-5)


def test_the_first_file_has_the_role_of_the_network(tmp_path: Path) -> None:
    model_card = outliner(1, weights=(Weights(role="member", source="file:a.safetensors"),))
    with pytest.raises(Misconfigured, match='the role "network"'):
        network.load(fitted(model_card, [above(tmp_path / "a.safetensors", 1)]))
