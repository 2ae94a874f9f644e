"""Readings explained: in place, within the budget, and with what is to be said of it."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch

from node.domain.explanation import Explanation
from node.domain.finding import Code
from node.domain.geometry import Grid
from node.domain.model_card import ModelCard, Task
from node.errors import Failed, Unsuitable
from node.imaging.explain import Explainable, Prepared, explainable_of, methods
from node.imaging.explain.plan import Plan
from node.imaging.explain.study import Explanations, Wish, explain
from node.imaging.pipelines import Given, Reading
from node.imaging.saliency import read_saliency, to_bytes
from tests.fakes import card
from tests.imaging.explain.networks import (
    Corner,
    Spot,
    classifier_card,
    given_image,
    straight,
    volume_of,
)
from tests.imaging.networks import saved

CORNER = Reading(logits=np.array([[0.0, 1.0]], np.float32), timings={})
GRADIENTLESS = ("occlusion", "lime", "kernel-shap")


def oblique() -> tuple[tuple[float, ...], ...]:
    """Anisotropic and turned about two axes."""
    turn, tilt = 0.4, -0.3
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    affine = np.eye(4)
    # (slice, row, column) of 3, 0.7 and 1.1 mm along z, y and x.
    affine[:3, :3] = about_z @ about_x @ np.array([[0, 0, 1.1], [0, 0.7, 0], [3.0, 0, 0]])
    affine[:3, 3] = (-31.0, 12.5, 88.0)
    return tuple(tuple(float(value) for value in row) for row in affine)


def segmentation_card(*names: str, **changes: object) -> ModelCard:
    return replace(card(), explanation=Explanation(methods=names, budget_s=1e6, **changes), volumes=())  # type: ignore[arg-type]


def image() -> np.ndarray:
    """As bright in the far corner as in the near one."""
    values = np.zeros((16, 20), np.float32)
    values[:4, :5] = values[-4:, -5:] = 2
    return values


def run(explainable: Explainable, given: Given, reading: Reading, of: ModelCard, **changes: object) -> Explanations:
    wish = Wish(card=of, explanation=of.explanation)
    return explain(replace(explainable, model_digest="d" * 64), given, reading, wish, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", GRADIENTLESS)
def test_a_classified_image_is_explained_on_its_own_pixels(name: str):
    made = run(straight(Corner(2)), given_image(image()), CORNER, classifier_card(name))
    (found,) = made.maps
    assert (found.weights.shape, found.grid, found.sop_instance_uids) == ((1, 16, 20), None, ("1.2.1",))
    assert found.weights.max() == 1.0
    assert found.weights[0, :5, :6].sum() > 0.75 * found.weights.sum()
    assert found.account is not None
    assert (found.account.method, found.account.target, found.account.model_digest) == (name, "corner", "d" * 64)
    assert {"deletion_auc", "insertion_auc", "infidelity", "max_sensitivity"} <= set(found.account.figures)


def test_the_image_that_says_most_is_explained():
    one = given_image(image()).images[0]
    given = Given(images=tuple(replace(one, sop_instance_uid=f"1.2.{number}") for number in range(3)))
    reading = Reading(logits=np.array([[0, 0.1], [0, 0.9], [0, 0.2]], np.float32), timings={})
    (found,) = run(straight(Corner(2)), given, reading, classifier_card("occlusion")).maps
    assert found.sop_instance_uids == ("1.2.1",)


def spot_in(given_grid: Grid, network_grid: Grid) -> tuple[Explainable, Given, Reading, np.ndarray]:
    """A bright ball in an oblique volume, and a network that sees it on another grid."""
    from node.imaging.resample import resample

    index = np.stack(np.meshgrid(*(np.arange(size) for size in given_grid.shape), indexing="ij"), -1)
    place = index @ given_grid.matrix[:3, :3].T + given_grid.matrix[:3, 3]
    centre = given_grid.matrix[:3, :3] @ np.array([6.0, 20.0, 9.0]) + given_grid.matrix[:3, 3]
    ball = np.linalg.norm(place - centre, axis=-1) < 5.0
    volume = volume_of(2 * ball.astype(np.float32), given_grid.affine)

    def prepare(given: Given, _image: int) -> Prepared:
        values = torch.from_numpy(np.array(given.volume.array))
        inputs = resample(values, given_grid, network_grid, outside=0.0)[None, None]
        return Prepared(inputs=inputs, placed=network_grid, given=given.volume.grid)

    reading = Reading(labels=ball.astype(np.uint8), timings={})
    return Explainable(network=Spot(3).eval(), prepare=prepare), Given(volumes={"": volume}), reading, ball


def cube_grid() -> Grid:
    """Upright cubes of 2 mm around the oblique volume, axes in another order and direction."""
    affine = np.array([[-2.0, 0, 0, 45.0], [0, -2.0, 0, 55.0], [0, 0, 2.0, 75.0], [0, 0, 0, 1]])
    return Grid((48, 48, 32), tuple(tuple(map(float, row)) for row in affine))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["grad-cam", "integrated-gradients", "occlusion"])
def test_a_map_comes_back_to_an_oblique_anisotropic_volume(name: str):
    given_grid = Grid((12, 40, 24), oblique())  # type: ignore[arg-type]
    explainable, given, reading, ball = spot_in(given_grid, cube_grid())
    made = run(explainable, given, reading, segmentation_card(name))
    (found,) = made.maps
    assert found.grid == given_grid
    assert found.account is not None
    # The weightiest patch of an occlusion is larger than the ball.
    assert found.account.figures["pointing_game"] > (0 if name == "occlusion" else 0.99)
    if name != "occlusion":
        assert found.account.figures["mass_inside"] > 0.7
        centre = np.array([axis.mean() for axis in np.nonzero(ball)])
        weight = found.weights / found.weights.sum()
        at = np.array([float((axis * weight).sum()) for axis in np.indices(ball.shape)])
        off_mm = np.linalg.norm(given_grid.matrix[:3, :3] @ (at - centre))
        assert off_mm < 0.5


def test_a_large_volume_is_explained_in_the_window_that_shows_the_segment():
    given_grid = Grid((12, 40, 24), oblique())  # type: ignore[arg-type]
    explainable, given, reading, ball = spot_in(given_grid, cube_grid())
    whole = explainable.prepare
    sizes: list[tuple[int, ...]] = []

    class Watched(Spot):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            sizes.append(tuple(image.shape[2:]))
            return super().forward(image)

    windowed = replace(
        explainable,
        network=Watched(3).eval(),
        prepare=lambda given, image: replace(whole(given, image), window=(16, 24, 40)),
    )
    (found,) = run(windowed, given, reading, segmentation_card("integrated-gradients")).maps
    # The third axis is shorter than the window: it is filled up, as when the network reads.
    assert set(sizes) == {(16, 24, 40)}
    assert found.account is not None
    assert found.account.figures["pointing_game"] == 1.0
    assert found.weights[ball].sum() > 0.7 * found.weights.sum()


def test_a_two_dimensional_network_is_asked_about_the_slice_that_shows_most():
    array = np.zeros((4, 12, 12), np.float32)
    array[1, 3:5, 3:5], array[2, 3:8, 3:8] = 2, 2
    volume = volume_of(array)
    asked: list[int] = []

    def prepare(given: Given, place: int) -> Prepared:
        from node.imaging.resample import part

        asked.append(place)
        inputs = torch.from_numpy(given.volume.array[place].copy())[None, None]
        placed = part(given.volume.grid, ((place, place + 1), (0, 12), (0, 12)))
        return Prepared(inputs=inputs, placed=placed, given=given.volume.grid)

    flat = Explainable(network=Spot(2).eval(), prepare=prepare, flat=True)
    reading = Reading(labels=(array > 0).astype(np.uint8), timings={})
    (found,) = run(flat, Given(volumes={"": volume}), reading, segmentation_card("integrated-gradients")).maps
    assert asked == [2]
    assert found.weights[2, 3:8, 3:8].min() > 0.9
    assert found.weights[[0, 1, 3]].max() == 0


class Ticking:
    """A clock that only the network moves: `forward_s` each time."""

    def __init__(self, forward_s: float) -> None:
        self.now_s, self.forward_s, self.inputs = 0.0, forward_s, 0

    def __call__(self) -> float:
        return self.now_s

    def network(self, dimensions: int = 2) -> torch.nn.Module:
        clock = self

        class Slow(Corner):
            def forward(self, image: torch.Tensor) -> torch.Tensor:
                clock.now_s += clock.forward_s * len(image)
                clock.inputs += len(image)
                return super().forward(image)

        return Slow(dimensions)


@pytest.mark.parametrize("budget_s", [1.5, 10.0, 40.0, 100.0, 300.0])
def test_the_budget_is_kept_and_what_it_cost_is_said(budget_s: float):
    clock = Ticking(1.0)
    wanted = ("grad-cam", "occlusion", "kernel-shap")
    made = run(
        straight(clock.network()),
        given_image(image()),
        CORNER,
        classifier_card(*wanted, budget_s=budget_s),
        clock=clock,
    )
    assert clock.now_s <= budget_s
    kept = {found.account.method for found in made.maps if found.account}
    for name in set(wanted) - kept:
        assert any(note.startswith(f"{name} of corner was left out") for note in made.notes)
    for found in made.maps:
        assert found.account is not None
        if found.account.samples < methods.named(found.account.method).USUAL:
            assert "in place of" in found.account.reduced
            assert any(found.account.reduced in note for note in made.notes)
    if budget_s == 300.0:
        assert kept == set(wanted)
    if budget_s == 40.0:
        assert any("was not measured" in note for note in made.notes)


def test_the_cost_is_told_before_it_arises_and_can_be_declined():
    clock = Ticking(0.5)
    told: list[tuple[Plan, str]] = []

    def decline(plan: Plan, sentence: str) -> bool:
        told.append((plan, sentence))
        return False

    of = classifier_card("occlusion", budget_s=1000)
    wish = Wish(card=of, explanation=of.explanation, told=decline)
    made = explain(straight(clock.network()), given_image(image()), CORNER, wish, clock=clock)
    assert (made.maps, clock.inputs) == ((), 1)
    ((cost, sentence),) = told
    assert cost.seconds == 65 * 0.5
    assert "65 forwards of 0.5 s are 32 s" in sentence
    assert "the budget is 1000 s" in sentence


def test_nothing_is_asked_of_the_network_without_methods():
    clock = Ticking(1.0)
    made = run(straight(clock.network()), given_image(image()), CORNER, classifier_card(), clock=clock)
    assert (made, clock.inputs) == (Explanations(), 0)


class Counting:
    """A pulse that keeps what it is told."""

    def __init__(self, stop_at: int = 10**9) -> None:
        self.beats: list[tuple[int, int]] = []
        self.stop_at = stop_at

    def beat(self, done: int, total: int) -> None:
        self.beats.append((done, total))
        if len(self.beats) > self.stop_at:
            raise Failed("the time of this study is over")


def test_progress_is_shown_and_others_are_let_pass():
    pulse = Counting()
    run(straight(Corner(2)), given_image(image()), CORNER, classifier_card("occlusion"), pulse=pulse)
    assert len(pulse.beats) > 5
    assert all(done <= total for done, total in pulse.beats)
    assert [done for done, _ in pulse.beats] == sorted(done for done, _ in pulse.beats)


def test_nobody_passes_while_hooks_are_set():
    network = Corner(2)

    class Watching(Counting):
        def beat(self, done: int, total: int) -> None:
            super().beat(done, total)
            assert network.relu.inplace
            assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())

    pulse = Watching()
    run(straight(network), given_image(image()), CORNER, classifier_card("grad-cam", "guided-grad-cam"), pulse=pulse)
    assert pulse.beats


def test_the_end_of_the_time_passes_through():
    with pytest.raises(Failed, match="time of this study"):
        run(straight(Corner(2)), given_image(image()), CORNER, classifier_card("occlusion"), pulse=Counting(2))


def test_torchscript_is_explained_by_perturbation_alone_and_that_is_said(tmp_path):
    with torch.no_grad():
        path = saved(Scripted(), tmp_path / "network.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        script = torch.jit.load(path)
    made = run(straight(script), given_image(image()), CORNER, classifier_card("grad-cam", "occlusion"))
    assert [found.account.method for found in made.maps if found.account] == ["occlusion"]
    assert any("TorchScript" in note for note in made.notes)


class Scripted(torch.nn.Module):
    """Looks at one corner."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        seen = image[:, :, :4, :5].flatten(1).mean(1, keepdim=True)
        return torch.cat([torch.zeros_like(seen), seen], 1)


def test_what_cannot_be_explained_is_said_and_the_rest_goes_on():
    of = classifier_card("grad-cam", "occlusion", layer="head")
    made = run(straight(Corner(2)), given_image(image()), CORNER, of)
    assert [found.account.method for found in made.maps if found.account] == ["occlusion"]
    assert any("grad-cam cannot explain corner" in note for note in made.notes)
    missing = classifier_card("occlusion", layer="nowhere")
    assert "no layer nowhere" in run(straight(Corner(2)), given_image(image()), CORNER, missing).notes[0]


def test_boxes_are_not_explained_and_that_is_said():
    of = replace(classifier_card("occlusion"), task=Task.DETECTION)
    made = run(straight(Corner(2)), given_image(image()), Reading(timings={}), of)
    assert made.maps == ()
    assert "not boxes" in made.notes[0]


def test_a_network_loaded_in_inference_mode_is_explained_too():
    with torch.inference_mode():
        network = Corner(2)
    made = run(straight(network), given_image(image()), CORNER, classifier_card("integrated-gradients"))
    assert len(made.maps) == 1


def test_inside_inference_mode_as_well():
    with torch.inference_mode():
        made = run(straight(Corner(2)), given_image(image()), CORNER, classifier_card("guided-grad-cam"))
    assert len(made.maps) == 1


def test_present_targets_are_explained_and_only_then_the_highest():
    from node.domain.finding import Finding

    of = classifier_card("occlusion")
    reading = Reading(logits=np.array([[5.0, 1.0]], np.float32), timings={})
    wish = Wish(card=of, explanation=of.explanation, findings=(Finding(code=Code("1", "99T", "Corner"), present=True),))
    (found,) = explain(straight(Corner(2)), given_image(image()), reading, wish).maps
    assert found.account is not None
    assert found.account.target == "corner"


def test_a_runner_that_shows_nothing_is_refused():
    with pytest.raises(Unsuitable, match="look into"):
        explainable_of(object())


def test_a_map_that_ignores_the_model_is_called_doubtful(monkeypatch: pytest.MonkeyPatch):
    def edges(subject, samples, seed):
        return subject.inputs[0, 0].clone()

    monkeypatch.setattr(methods.named("occlusion"), "explain", edges)
    made = run(straight(Corner(2)), given_image(image()), CORNER, classifier_card("occlusion"))
    assert any("doubtful" in note and "shuffled weights" in note for note in made.notes)


def test_a_map_survives_its_file_with_its_account(tmp_path):
    (found,) = run(straight(Corner(2)), given_image(image()), CORNER, classifier_card("occlusion")).maps
    path = tmp_path / "saliency.npz"
    path.write_bytes(to_bytes(found))
    back = read_saliency(path)
    np.testing.assert_allclose(back.weights, found.weights, atol=1e-3)
    assert (back.account, back.grid, back.sop_instance_uids) == (found.account, None, ("1.2.1",))
    assert found.account is not None
    assert found.account.profile == "occlusion/corner"
    assert to_bytes(found) == path.read_bytes()
