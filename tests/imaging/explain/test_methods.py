"""Each method points where the network looks, leaves it as it was, and costs what it says."""

from __future__ import annotations

import copy

import pytest
import torch

from node.errors import Misconfigured, Unsuitable
from node.imaging.explain import methods
from node.imaging.explain.subject import followed, laid_open, last_convolution
from tests.imaging.explain.networks import Corner, Spot, subject

ALL = methods.names()


def corner(dimensions: int) -> torch.Tensor:
    torch.manual_seed(5)
    shape = (16, 20) if dimensions == 2 else (8, 8, 12)
    return 1 + 0.1 * torch.rand(1, 1, *shape)


def test_the_six_are_there_and_another_is_refused_by_name():
    assert {"grad-cam", "guided-grad-cam", "integrated-gradients", "occlusion", "lime", "kernel-shap"} <= set(ALL)
    with pytest.raises(Misconfigured, match='no method "tea-leaves"'):
        methods.named("tea-leaves")


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", ALL)
def test_a_network_that_looks_at_one_corner_is_seen_to(name: str, dimensions: int):
    network, method = Corner(dimensions), methods.named(name)
    asked = subject(network, corner(dimensions), channel=1, layer="first")
    found = method.explain(asked, method.USUAL, 0).clamp(min=0)
    assert found.shape == asked.spatial
    if name == "grad-cam":
        # The layer is bright all over; what Grad-CAM weighs is its channels, so it cannot tell the corner here.
        assert float(found.max()) > 0
        return
    quarter = tuple(slice(0, size // 4 + 3) for size in asked.spatial)
    assert float(found[quarter].sum()) > 0.75 * float(found.sum())
    strongest = torch.unravel_index(found.argmax(), found.shape)
    assert all(int(at) <= size // 4 + 1 for at, size in zip(strongest, asked.spatial, strict=True))


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", ["grad-cam", "guided-grad-cam"])
def test_what_is_bright_and_wanted_is_pointed_at_by_layers_too(name: str, dimensions: int):
    inputs = torch.zeros(1, 1, *((16,) * dimensions))
    spot = (0, 0, *((slice(9, 13),) * dimensions))
    inputs[spot] = 1
    network = torch.nn.Sequential(Spot(dimensions), torch.nn.Flatten(2))
    pooled = torch.nn.Sequential(network, torch.nn.AdaptiveAvgPool1d(1), torch.nn.Flatten(1))
    found = methods.named(name).explain(subject(pooled, inputs, channel=1, layer="0.0.body.0"), 1, 0)
    assert float(found[spot[2:]].sum()) == pytest.approx(float(found.clamp(min=0).sum()), rel=1e-5)
    assert float(found[spot[2:]].min()) > 0


@pytest.mark.parametrize("name", ALL)
def test_the_same_seed_gives_the_same_map_and_the_network_stays_as_it_was(name: str):
    network, method = Corner(2), methods.named(name)
    asked = subject(network, corner(2), channel=1, layer="last")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    one, two = (method.explain(asked, method.FEWEST, 7) for _ in range(2))
    assert torch.equal(one, two)
    assert network.relu.inplace
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module._backward_hooks
        assert not module._backward_pre_hooks


@pytest.mark.parametrize("name", ["lime", "kernel-shap"])
def test_another_seed_gives_another_draw(name: str):
    method, asked = methods.named(name), subject(Corner(2), corner(2), channel=1)
    assert not torch.equal(method.explain(asked, method.FEWEST, 1), method.explain(asked, method.FEWEST, 2))


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("name", ALL)
def test_it_costs_no_more_forwards_than_it_says(name: str, dimensions: int):
    method = methods.named(name)
    for samples in (method.FEWEST, method.FEWEST + 3):
        asked = subject(Corner(dimensions), corner(dimensions), channel=1, layer="last")
        method.explain(asked, samples, 0)
        assert 1 <= asked.question.meter.forwards <= method.forwards(samples)


def test_grad_cam_is_one_forward():
    asked = subject(Corner(2), corner(2), channel=1, layer="last")
    methods.named("grad-cam").explain(asked, 1, 0)
    assert asked.question.meter.forwards == 1


def test_a_layer_without_place_is_refused():
    asked = subject(Corner(2), corner(2), channel=1, layer="head")
    with pytest.raises(Unsuitable, match="does not say where"):
        methods.named("grad-cam").explain(asked, 1, 0)


def test_all_is_put_back_where_a_forward_fails():
    network = Corner(2)

    def explain() -> None:
        with laid_open(network):
            network.last.register_forward_hook(lambda *_: None)
            assert not network.relu.inplace
            raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        explain()
    assert network.relu.inplace
    assert not network.last._forward_hooks


def test_the_last_convolution_of_a_segmentation_network_is_the_one_before_its_answer():
    assert last_convolution(Spot(3)) == "body.2"
    assert last_convolution(Spot(3), 2) == "body.0"
    assert last_convolution(torch.nn.Linear(2, 2)) == ""


class Late(torch.nn.Module):
    """A convolution, normalised and activated in a block of its own, pooled, and weighed."""

    def __init__(self) -> None:
        super().__init__()
        layers = torch.nn
        self.first = layers.Sequential(layers.Conv2d(1, 4, 3, padding=1, stride=2), layers.ReLU(inplace=True))
        self.block = layers.Sequential(
            layers.Conv2d(4, 8, 3, padding=1, stride=2), layers.BatchNorm2d(8), layers.ReLU()
        )
        self.squeeze = layers.Conv2d(8, 8, 1)
        self.head = layers.Linear(8, 2)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        seen = self.block(self.first(image)).mean((2, 3), keepdim=True)
        return self.head(self.squeeze(seen).flatten(1))


def late_layer_of(network: torch.nn.Module, inputs: torch.Tensor) -> str:
    with torch.no_grad(), followed(network) as course:
        network(inputs)
    return course.late_layer(network)


def test_grad_cam_looks_at_what_the_last_convolution_became_before_it_was_pooled():
    network = Late().eval()
    assert late_layer_of(network, torch.rand(1, 1, 16, 16)) == "block"
    assert not any(module._forward_hooks for module in network.modules())
    # Its activation is asked twice, and neither of its maps is the one that is meant.
    assert late_layer_of(Corner(3), corner(3)) == "last"
    assert late_layer_of(torch.nn.Linear(2, 2), torch.rand(1, 2)) == ""


def test_an_offset_that_normalisation_takes_off_moves_no_map():
    torch.manual_seed(1)
    network, inputs = Late().eval(), torch.rand(1, 1, 32, 32)
    moved = copy.deepcopy(network)
    with torch.no_grad():
        moved.block[0].bias += 50
        moved.block[1].running_mean += 50
    maps = []
    for each in (network, moved):
        late = late_layer_of(each, inputs)
        maps.append(methods.named("grad-cam").explain(subject(each, inputs, channel=1, layer=late), 1, 0))
    torch.testing.assert_close(maps[0], maps[1], rtol=1e-3, atol=1e-5)
