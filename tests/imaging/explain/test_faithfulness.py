"""The measures of faithfulness on maps of which it is known how faithful they are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from node.imaging.explain import methods
from node.imaging.explain.faithfulness import MEASURES, Explained, deletion, infidelity, pointing, randomisation
from node.imaging.explain.faithfulness.sensitivity import figures as sensitivity
from node.imaging.explain.subject import Subject
from tests.imaging.explain.networks import Linear, subject


def linear() -> tuple[Subject, torch.Tensor]:
    """A linear model, and the only right map of it."""
    torch.manual_seed(6)
    weights = torch.rand(16, 16)
    asked = subject(Linear(weights), torch.rand(1, 1, 16, 16))
    return asked, (asked.inputs[0, 0] * weights).detach()


def small() -> Subject:
    """A small network with a head of its own weights."""
    torch.manual_seed(7)
    layers = torch.nn
    network = layers.Sequential(
        layers.Conv2d(1, 8, 3, padding=1),
        layers.ReLU(inplace=True),
        layers.Conv2d(8, 8, 3, padding=1, stride=2),
        layers.ReLU(inplace=True),
        layers.Flatten(),
        layers.Linear(8 * 64, 2),
    )
    return subject(network, torch.randn(1, 1, 16, 16), channel=1, layer="2")


def edges(asked: Subject) -> torch.Tensor:
    """A map that shows the image's own edges and never asks the model."""
    image = asked.inputs[0, 0]
    return (image - image.roll(1, 0)).abs() + (image - image.roll(1, 1)).abs()


def test_the_right_map_is_more_faithful_than_the_wrong_one():
    asked, right = linear()
    wrong = right.max() - right
    assert infidelity.figures(asked, right, 0)["infidelity"] < 0.05
    assert infidelity.figures(asked, wrong, 0)["infidelity"] > infidelity.figures(asked, right, 0)["infidelity"]
    assert infidelity.figures(asked, torch.zeros_like(right), 0)["infidelity"] == pytest.approx(1.0)
    good, bad = deletion.figures(asked, right), deletion.figures(asked, wrong)
    assert good["deletion_auc"] < 0.4 < 0.6 < bad["deletion_auc"]
    assert bad["insertion_auc"] < 0.4 < 0.6 < good["insertion_auc"]


def test_deletion_of_equal_voxels_is_a_straight_line():
    asked = subject(Linear(torch.ones(10, 10)), torch.ones(1, 1, 10, 10))
    found = deletion.figures(asked, torch.arange(100.0).view(10, 10))
    assert found == pytest.approx({"deletion_auc": 0.5, "insertion_auc": 0.5})


def test_an_answer_that_says_no_more_than_nothing_has_no_curves():
    asked = subject(Linear(-torch.ones(4, 4)), torch.ones(1, 1, 4, 4))
    assert deletion.figures(asked, torch.ones(4, 4)) == {}


def test_a_map_that_jumps_is_more_sensitive_than_one_that_does_not():
    asked, right = linear()

    def steady(_asked: Subject) -> torch.Tensor:
        return right

    def jumpy(changed: Subject) -> torch.Tensor:
        return right * (1.0 if torch.equal(changed.inputs, asked.inputs) else -1.0)

    assert sensitivity(asked, steady, 0) == {"max_sensitivity": 0.0}
    assert sensitivity(asked, jumpy, 0) == pytest.approx({"max_sensitivity": 2.0})


@pytest.mark.parametrize("name", ["guided-grad-cam", "integrated-gradients", "occlusion"])
def test_a_randomised_model_gives_another_map(name: str):
    asked, method = small(), methods.named(name)

    def again(other: Subject) -> torch.Tensor:
        return method.explain(other, method.USUAL, 0)

    found = randomisation.figures(asked, again(asked), again, 0)
    assert found[randomisation.FIGURE] < randomisation.BOUND


def test_a_map_that_ignores_the_model_fails_the_check():
    asked = small()
    found = randomisation.figures(asked, edges(asked), edges, 0)
    assert found[randomisation.FIGURE] == pytest.approx(1.0)
    assert found[randomisation.FIGURE] > randomisation.BOUND


def test_shuffling_leaves_the_model_itself_alone():
    asked = small()
    before = {key: value.clone() for key, value in asked.question.network.state_dict().items()}
    other = asked.shuffled(0)
    assert other is not None
    for key, value in asked.question.network.state_dict().items():
        assert torch.equal(value, before[key])
        mixed = other.question.network.state_dict()[key]
        assert value.numel() < 16 or not torch.equal(mixed, value)
        assert torch.equal(mixed.flatten().sort().values, value.flatten().sort().values)
    again = asked.shuffled(0)
    assert again is not None
    assert torch.equal(again.question.network[5].weight, other.question.network[5].weight)


def test_without_weights_there_is_nothing_to_shuffle():
    asked = subject(torch.nn.Flatten(), torch.rand(1, 1, 4, 4))
    assert randomisation.figures(asked, torch.rand(4, 4), edges, 0) == {}


def test_rank_correlation_is_of_ranks_and_of_nothing_where_a_map_is_flat():
    rising = torch.arange(64.0).view(8, 8)
    assert randomisation.rank_correlation(rising, rising**3) == pytest.approx(1.0)
    assert randomisation.rank_correlation(rising, -rising) == pytest.approx(-1.0)
    assert randomisation.rank_correlation(rising, torch.full((8, 8), 0.1)) == 0.0


def test_pointing_game():
    weights = np.zeros((1, 4, 4), np.float32)
    weights[0, 1, 1], weights[0, 3, 3] = 3, 1
    region = np.zeros((1, 4, 4), bool)
    region[0, :2, :2] = True
    assert pointing.figures(weights, region) == {"pointing_game": 1.0, "mass_inside": 0.75}
    assert pointing.figures(weights, ~region) == {"pointing_game": 0.0, "mass_inside": 0.25}
    assert pointing.figures(weights * 0, region) == pointing.figures(weights, region & False) == {}


def test_near_a_region_is_so_far_as_15_pixels_of_224():
    region = np.zeros((112, 224), bool)
    region[50:60, 100:110] = True
    near = pointing.around(region)
    assert near[50 - 15, 105]
    assert not near[50 - 16, 105]
    assert not near[50 - 15, 100 - 15]
    assert near[region].all()
    half = pointing.around(region[::2, ::2])
    assert half[25 - 7, 52]
    assert not half[25 - 8, 52]
    assert not pointing.around(region & False).any()


def test_measures_cost_no_more_than_they_say():
    for measure in MEASURES:
        asked, method = small(), methods.named("grad-cam")

        def again(other: Subject) -> torch.Tensor:
            return method.explain(other, 1, 0)  # noqa: B023

        made = Explained(subject=asked, weights=again(asked), again=again, forwards=method.forwards(1), seed=0)
        before = asked.question.meter.forwards
        assert measure.figures(made) == measure.figures(replace(made))
        assert asked.question.meter.forwards - before <= 2 * measure.forwards(method.forwards(1))
