from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from node.domain.geometry import to_patient
from node.domain.model_card import ModelCard
from node.errors import Failed, MatinsError, Misconfigured, Unsuitable
from node.imaging import engines, nifti, pipelines
from node.imaging.bundle.plan import Plan, Window
from node.imaging.engines import cubes
from node.imaging.engines.ways import aot
from node.imaging.pipelines import Fitting, Given, Runner, coarse_to_fine
from node.imaging.volume import Volume
from node.store import engine_evidence
from tests.imaging.networks import Bright, Constant, Half, OneNaN, coarse_to_fine_card, saved
from tests.imaging.series import grid_of

RADIUS_MM = 30.0
BALL_ML = 4 / 3 * np.pi * RADIUS_MM**3 / 1000
CENTRE = np.array([12.0, -8.0, 20.0])


@pytest.fixture
def bright(tmp_path: Path) -> dict[str, Path]:
    file = saved(Bright(), tmp_path / "bright.pt")
    return {"coarse": file, "fine": file}


def loaded(card: ModelCard, weights: Mapping[str, Path]) -> Runner:
    return coarse_to_fine.load(Fitting(card=card, folder=Path(), weights=weights, device="cpu"))


def given(volume: Volume) -> Given:
    return Given(volumes={"": volume})


def ball(
    step: tuple[float, float, float] = (2.0, 2.0, 2.0),
    angles: tuple[float, float, float] = (0.0, 0.0, 0.0),
    side_mm: float = 120.0,
) -> Volume:
    """A bright ball with a soft edge in patient space, a speck beside it and a dark hole in it."""
    shape = tuple(int(side_mm / each) for each in step)
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(step)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1).astype(float)
    place = to_patient(affine, index)
    distance = np.linalg.norm(place - CENTRE, axis=-1)
    values = 1000 / (1 + np.exp(distance - RADIUS_MM))
    values[np.linalg.norm(place - CENTRE, axis=-1) < 6] = 0
    values[np.linalg.norm(place + CENTRE * 2, axis=-1) < 5] = 1000
    return Volume(values.astype(np.int16), grid_of(shape, affine), tuple(map(str, range(shape[0]))))  # type: ignore[arg-type]


def inside(volume: Volume) -> np.ndarray:
    index = np.stack(np.meshgrid(*map(np.arange, volume.grid.shape), indexing="ij"), axis=-1).astype(float)
    return np.asarray(np.linalg.norm(to_patient(volume.grid.matrix, index) - CENTRE, axis=-1) < RADIUS_MM)


@pytest.mark.parametrize(
    ("step", "angles"),
    [
        ((2.0, 2.0, 2.0), (0.0, 0.0, 0.0)),
        ((5.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
        ((2.0, 1.5, 1.0), (12.0, -8.0, 20.0)),
        ((2.0, 2.0, 2.0), (45.0, 30.0, 10.0)),
        ((1.5, 2.0, 2.0), (90.0, 0.0, 90.0)),
        ((2.0, 2.0, 3.0), (180.0, 0.0, 0.0)),
    ],
)
def test_a_ball_is_found_whole_and_in_its_place_however_the_slices_lie(
    bright: dict[str, Path], step: tuple[float, float, float], angles: tuple[float, float, float]
):
    volume = ball(step, angles)
    result = loaded(coarse_to_fine_card(), bright).run(given(volume))
    assert result.labels.shape == volume.grid.shape
    assert result.labels.dtype == np.uint8
    truth = inside(volume)
    dice = 2 * (truth & (result.labels == 1)).sum() / (truth.sum() + (result.labels == 1).sum())
    assert dice > 0.97
    assert np.count_nonzero(result.labels) * volume.grid.voxel_volume_ml == pytest.approx(BALL_ML, rel=0.04)
    assert set(result.timings) == {"prepare_s", "model_s", "finish_s"}
    assert min(result.timings.values()) > 0


def test_slices_the_other_way_round_give_the_same_mask_the_other_way_round(bright: dict[str, Path]):
    volume = ball()
    affine = volume.grid.matrix
    affine[:3, 3] += affine[:3, 0] * (volume.grid.shape[0] - 1)
    affine[:3, 0] *= -1
    turned = Volume(volume.array[::-1], grid_of(volume.grid.shape, affine), volume.sop_instance_uids[::-1])
    runner = loaded(coarse_to_fine_card(), bright)
    differing = runner.run(given(volume)).labels != runner.run(given(turned)).labels[::-1]
    assert differing.mean() < 1e-5


def test_the_same_volume_gives_the_same_mask_twice(bright: dict[str, Path]):
    runner = loaded(coarse_to_fine_card(), bright)
    runner.warm_up()
    volume = ball((2.0, 1.5, 1.0), (12.0, -8.0, 20.0))
    assert runner.run(given(volume)).labels.tobytes() == runner.run(given(volume)).labels.tobytes()


def test_scaling_the_intensities_changes_nothing(bright: dict[str, Path]):
    runner = loaded(coarse_to_fine_card(), bright)
    volume = ball()
    scaled = replace(volume, array=volume.array.astype(np.float32) * 0.001 - 40)
    assert (runner.run(given(volume)).labels != runner.run(given(scaled)).labels).mean() < 1e-4


@pytest.mark.parametrize(
    ("coarse", "fine", "reason"),
    [
        (Constant(0.0), Bright(), "the first network finds nothing"),
        (Bright(), Constant(0.0), "the second network finds nothing"),
        (Constant(1.0), Constant(1.0), "every voxel of the volume"),
        (OneNaN(), Bright(), "coarse network gave values that are not numbers"),
        (Bright(), OneNaN(), "fine network gave values that are not numbers"),
        (Bright(), Constant(float("inf")), "not numbers"),
        (Bright(), Constant(7.0), "no probabilities"),
        (Half(), Bright(), r"coarse network gave an output of shape \(1, 2, 12, 24, 24\)"),
    ],
)
def test_unusable_output_fails_with_what_is_wrong(
    tmp_path: Path, coarse: torch.nn.Module, fine: torch.nn.Module, reason: str
):
    weights = {"coarse": saved(coarse, tmp_path / "coarse.pt"), "fine": saved(fine, tmp_path / "fine.pt")}
    with pytest.raises(Failed, match=reason):
        loaded(coarse_to_fine_card(), weights).run(given(ball((4.0, 4.0, 4.0))))


def test_a_blank_volume_does_not_suit(bright: dict[str, Path]):
    volume = ball()
    runner = loaded(coarse_to_fine_card(), bright)
    with pytest.raises(Unsuitable, match="blank"):
        runner.run(given(replace(volume, array=np.full_like(volume.array, 7))))


def test_a_volume_with_values_that_are_not_numbers_does_not_suit(bright: dict[str, Path]):
    volume = ball()
    values = volume.array.astype(np.float32)
    values[3, 3, 3] = np.nan
    with pytest.raises(Unsuitable, match="not numbers"):
        loaded(coarse_to_fine_card(), bright).run(given(replace(volume, array=values)))


@pytest.mark.parametrize(
    ("parameters", "key"),
    [
        ({"margin": 2.0}, "parameters.margin"),
        ({"threshold": "half"}, "parameters.threshold"),
        ({"coarse_size": 24.5}, "parameters.coarse_size"),
        ({"channel": True}, "parameters.channel"),
        ({"low_percentile": 100.0}, "parameters.low_percentile"),
        ({"spacing_mm": 1.0}, "parameters.spacing_mm"),
    ],
)
def test_a_wrong_parameter_is_named(bright: dict[str, Path], parameters: dict[str, object], key: str):
    with pytest.raises(Misconfigured) as caught:
        loaded(coarse_to_fine_card(**parameters), bright)
    assert caught.value.key == key


def test_missing_parameters_roles_and_networks_are_named(bright: dict[str, Path], tmp_path: Path):
    card = coarse_to_fine_card()
    incomplete = replace(card, parameters={key: value for key, value in card.parameters.items() if key != "margin"})
    with pytest.raises(Misconfigured, match=r"parameters\.margin: is missing"):
        loaded(incomplete, bright)
    with pytest.raises(Misconfigured, match="role fine"):
        loaded(card, {"coarse": bright["coarse"]})
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(Misconfigured, match=r"text\.pt is no TorchScript"):
        loaded(card, {**bright, "fine": tmp_path / "text.pt"})
    two = replace(card, segments=(card.segments[0], replace(card.segments[0], number=2)))
    with pytest.raises(Misconfigured, match="2 segments"):
        loaded(two, bright)


@pytest.mark.parametrize("name", pipelines.names())
def test_every_pipeline_is_found_by_its_name_and_can_be_loaded(name: str):
    assert callable(pipelines.named(name).load)


def test_an_unknown_pipeline_is_refused_with_the_known_ones():
    with pytest.raises(MatinsError, match="coarse-to-fine"):
        pipelines.named("fine-to-coarse")


def test_both_networks_are_run_with_the_engine_that_was_measured(
    bright: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volume, told, asked = ball(), list[str](), list[int]()

    def build(network: torch.nn.Module, plan: Plan, device: torch.device) -> engines.Way:
        def forward(windows: torch.Tensor) -> torch.Tensor:
            asked.append(plan.window.roi[0])
            return network(windows)

        window = lambda _: plan.window  # noqa: E731
        return engines.Way(
            name="aot", forward=forward, window=window, batch=1, device=device, sentence="something else"
        )

    monkeypatch.setattr(aot, "available", lambda _: "")
    monkeypatch.setattr(aot, "build", build)
    case, kept = tmp_path / "case.nii.gz", tmp_path / "evidence"
    nifti.write(volume.array, volume.grid, case)
    fitting = Fitting(
        card=coarse_to_fine_card(), folder=Path(), weights=bright, device="cpu", model_digest="d" * 64, evidence=kept
    )
    runner = coarse_to_fine.load(fitting)
    evidence = runner.measure([case], datetime(2026, 1, 2, tzinfo=UTC), lambda name, *_: told.append(name))
    assert sorted(told) == sorted(engines.names())
    assert told[-1] == "cuda-graph"
    assert evidence.is_sound
    other = next(each for each in evidence.trials if each.engine == "aot")
    assert other.dice == {1: 1.0}
    assert not other.problem
    engine_evidence.write(kept, replace(evidence, chosen=other.engine))
    asked.clear()
    plain = runner.run(given(volume))
    assert asked == []
    fast = coarse_to_fine.load(fitting).run(given(volume))
    assert asked == [24, 48]
    assert np.array_equal(plain.labels, fast.labels)
    assert plain.notes == ()
    assert "computed with something else" in fast.notes[0]
    assert "at least 1.0000 on 1 validation case(s)" in fast.notes[0]


def test_without_evidence_the_files_themselves_are_run(
    bright: Mapping[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cubes, "choose", lambda *_: pytest.fail("no evidence, no choice"))
    fitting = Fitting(
        card=coarse_to_fine_card(),
        folder=Path(),
        weights=bright,
        device="cpu",
        model_digest="d" * 64,
        evidence=tmp_path,
    )
    assert coarse_to_fine.load(fitting).run(given(ball())).notes == ()


def test_a_file_for_openvino_tells_how_many_channels_it_takes(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3, padding=1), torch.nn.Softmax(dim=1)).eval()
    file = coarse_to_fine._network(saved(network, tmp_path / "network.pt"), torch.device("cpu"))
    plan = Plan(window=Window(roi=(8, 8, 8), overlap=(0.0, 0.0, 0.0)))
    values = torch.randn(1, 1, 8, 8, 8)
    found = engines.named("openvino-f32").build(file, plan, torch.device("cpu")).forward(values)
    assert torch.allclose(found, network(values), atol=1e-5)
    with pytest.raises(TypeError, match="TorchScript"):
        engines.named("bf16").build(file, plan, torch.device("cpu"))
