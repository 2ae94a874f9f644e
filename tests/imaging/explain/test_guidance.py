"""Gradients are guided through every rectifier, however it is written; a network without one is told apart."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from captum.attr import GuidedGradCam
from torch.nn import functional

from node.errors import Unsuitable
from node.imaging.explain import methods
from node.imaging.explain.guidance import Guidance
from node.imaging.networks.efficientnet_lite import EfficientNetLite
from tests.imaging.explain.networks import conv, subject

Activation = Callable[[torch.Tensor], torch.Tensor]

METHOD = methods.named("guided-grad-cam")
RECTIFIERS: dict[str, Activation] = {
    "module": torch.nn.ReLU(),
    "module in place": torch.nn.ReLU(inplace=True),
    "function": functional.relu,
    "function in place": lambda values: functional.relu(values, inplace=True),
    "torch": torch.relu,
    "torch in place": torch.relu_,
    "tensor": lambda values: values.relu(),
    "tensor in place": lambda values: values.relu_(),
    "six": torch.nn.ReLU6(),
    "six, function": functional.relu6,
    "threshold": torch.nn.Threshold(0, 0),
    "clamped": lambda values: values.clamp(min=0),
    "clamped, function": lambda values: torch.clamp(values, 0),
    "clamped in place": lambda values: values.clamp_min_(0),
    "leaky without a leak": torch.nn.LeakyReLU(0.0),
    "parametric without a leak": torch.nn.PReLU(init=0.0),
}


class Net(torch.nn.Module):
    """Two convolutions, each with an activation, pooled and weighed."""

    def __init__(self, activation: Activation, dimensions: int = 2) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.last = conv(dimensions, 1, 6), conv(dimensions, 6, 6)
        self.head = torch.nn.Linear(6, 2)
        with torch.no_grad():
            # Every channel speaks for the answer, so that Grad-CAM sees something.
            self.head.weight.abs_()
        self.activation = activation

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        seen = self.activation(self.last(self.activation(self.first(image))))
        return self.head(seen.flatten(2).mean(2))


def image(dimensions: int = 2) -> torch.Tensor:
    torch.manual_seed(4)
    return torch.rand(1, 1, *((12,) * dimensions))


def explained(network: torch.nn.Module, dimensions: int = 2) -> torch.Tensor:
    return METHOD.explain(subject(network, image(dimensions), channel=1, layer="last"), 1, 0)


@pytest.mark.parametrize("dimensions", [2, 3])
def test_with_modules_it_is_captums(dimensions: int):
    network = Net(torch.nn.ReLU(), dimensions)
    asked = subject(network, image(dimensions), channel=1, layer="last")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = GuidedGradCam(asked.question, network.last).attribute(
            asked.inputs.clone().requires_grad_(), interpolate_mode="bilinear" if dimensions == 2 else "trilinear"
        )
    theirs = theirs.detach()[0, 0]
    assert float(theirs.abs().max()) > 0
    torch.testing.assert_close(METHOD.explain(asked, 1, 0), theirs)


@pytest.mark.parametrize("how", RECTIFIERS)
def test_however_a_rectifier_is_written_gradients_are_guided_through_it(how: str):
    found = explained(Net(RECTIFIERS[how]))
    torch.testing.assert_close(found, explained(Net(torch.nn.ReLU())))
    assert float(found.abs().max()) > 0


def test_a_leak_is_guided_too():
    values = torch.tensor([-2.0, -1.0, 1.0, 2.0], requires_grad=True)
    weights = torch.tensor([1.0, -1.0, 1.0, -1.0])
    with Guidance() as guidance:
        (functional.leaky_relu(values, 0.1) * weights).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == pytest.approx([0.1, 0.0, 1.0, 0.0])
    assert guidance.rectifiers == 1


def test_a_gradient_is_clipped_where_the_six_clips():
    values = torch.tensor([-1.0, 3.0, 7.0], requires_grad=True)
    with Guidance():
        functional.relu6(values).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [0.0, 1.0, 0.0]


def test_what_is_overwritten_in_part_cannot_be_guided_and_that_is_said():
    def halves(values: torch.Tensor) -> torch.Tensor:
        made = values * 1
        made[:, :3].relu_()
        return made

    with pytest.raises(Unsuitable, match="overwrites a part of an array"):
        explained(Net(halves))


def test_outside_gradients_are_as_ever():
    values = torch.tensor([2.0], requires_grad=True)
    with Guidance():
        pass
    (-functional.relu(values)).sum().backward()
    assert values.grad is not None
    assert values.grad.tolist() == [-1.0]


def unseen(values: torch.Tensor) -> torch.Tensor:
    """A rectifier that no gradient flows back through."""
    with torch.no_grad():
        functional.relu(values)
    return functional.silu(values)


@pytest.mark.parametrize(
    "smooth",
    [
        *(torch.nn.SiLU(), torch.nn.GELU(), torch.nn.ELU(), torch.nn.Hardtanh(-1.0, 1.0), torch.nn.Threshold(0.1, 0)),
        *(lambda values: values.clamp(-1), lambda values: values.clamp(0, 1), unseen),
    ],
)
def test_a_network_without_a_rectifier_is_refused_by_name(smooth: Activation):
    with pytest.raises(Unsuitable, match=r"no rectifier .* choose grad-cam"):
        explained(Net(smooth))


def test_the_network_for_images_is_guided():
    torch.manual_seed(1)
    network = EfficientNetLite(num_classes=2).eval()
    inputs = torch.rand(1, 3, 64, 64)
    asked = subject(network, inputs, channel=1, layer="blocks.15.project")
    gradient = torch.autograd.grad(asked.question(given := inputs.clone().requires_grad_()).sum(), given)[0]
    with Guidance() as guidance:
        held_back = torch.autograd.grad(asked.question(given := inputs.clone().requires_grad_()).sum(), given)[0]
    assert guidance.rectifiers == 33
    assert not torch.allclose(gradient, held_back, atol=0.0)
    assert METHOD.explain(asked, 1, 0).shape == (64, 64)
