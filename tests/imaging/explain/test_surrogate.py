"""The linear stand-ins against what is known in closed form."""

from __future__ import annotations

import math
from itertools import product

import pytest
import torch

from node.imaging.explain.cells import cells
from node.imaging.explain.methods import kernel_shap, lime
from node.imaging.explain.surrogate import Ridge, weighted_ridge
from tests.imaging.explain.networks import Linear, subject


def test_ridge_is_that_of_the_normal_equations():
    torch.manual_seed(1)
    x, y, weights = torch.rand(40, 6).double(), torch.rand(40).double(), torch.rand(40).double()
    found, intercept = weighted_ridge(x, y, weights, 0.3)
    design = torch.cat([x, torch.ones(40, 1)], 1).double()
    held = 0.3 * torch.diag(torch.tensor([1.0] * 6 + [0.0])).double()
    left = design.T @ (weights[:, None] * design) + held
    expected = torch.linalg.solve(left, design.T @ (weights * y))
    torch.testing.assert_close(torch.cat([found, intercept[None]]), expected, rtol=1e-9, atol=1e-9)


def test_without_strength_it_fits_a_plane_exactly_whatever_the_weights():
    torch.manual_seed(2)
    x, beta = torch.rand(30, 4).double(), torch.tensor([1.0, -2.0, 0.0, 3.0]).double()
    ridge = Ridge(0.0)
    rows = torch.utils.data.TensorDataset(x, x @ beta + 7, torch.rand(30).double() + 0.1)
    ridge.fit(torch.utils.data.DataLoader(rows, batch_size=8))
    torch.testing.assert_close(ridge.representation(), beta, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(ridge(x), x @ beta + 7, rtol=1e-8, atol=1e-8)


def test_strength_pulls_coefficients_towards_nothing_but_not_the_intercept():
    x, y = torch.tensor([[0.0], [1.0]] * 10), torch.tensor([5.0, 6.0] * 10)
    found, intercept = weighted_ridge(x, y, torch.ones(20), 1e9)
    assert abs(float(found[0])) < 1e-6
    assert float(intercept) == pytest.approx(5.5, abs=1e-6)


def test_the_weights_of_coalitions_are_those_of_shapley():
    # Lundberg and Lee 2017, Theorem 2, by hand for four players.
    assert [kernel_shap.kernel(4, size) for size in (1, 2, 3)] == pytest.approx([3 / 12, 3 / 24, 3 / 12])


def test_sizes_are_drawn_as_the_kernel_weighs_them_and_each_with_its_complement():
    rows, weights = kernel_shap.coalitions(40, 4002, 0)
    assert len(rows) == len(weights) == 4002
    drawn = rows[2:]
    assert bool((drawn[:2000] + drawn[2000:] == 1).all())
    sizes = drawn[:2000].sum(1)
    likely = torch.tensor([1 / (size * (40 - size)) for size in range(1, 40)])
    expected = float(likely[[0, 38]].sum() / likely.sum())
    assert float(((sizes == 1) | (sizes == 39)).float().mean()) == pytest.approx(expected, abs=0.04)


@pytest.mark.parametrize("spatial", [(14, 14), (9, 9, 9)])
def test_kernel_shap_of_a_linear_model_is_its_shapley_values(spatial: tuple[int, ...]):
    torch.manual_seed(3)
    network, inputs = Linear(torch.randn(spatial)), torch.rand(1, 1, *spatial)
    asked = subject(network, inputs)
    numbers = cells(spatial, int(kernel_shap.USUAL / 2.5), inputs.device)
    # Known: with nothing there as 0, what a cell adds is the same in every coalition.
    exact = torch.bincount(numbers.flatten(), (inputs[0, 0] * network.weights.detach()).flatten())
    found = kernel_shap.explain(asked, kernel_shap.USUAL, 0)
    torch.testing.assert_close(found, exact[numbers].float(), rtol=1e-3, atol=1e-3)
    assert asked.question.meter.forwards <= kernel_shap.USUAL


class Pairs(torch.nn.Module):
    """Not linear: products of quarters."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        a, b, c, d = (image[:, 0, i, j] for i, j in product((0, 1), repeat=2))
        return (a * b + a * b * c + d)[:, None]


def test_with_all_coalitions_kernel_shap_is_exact_for_any_model():
    found = kernel_shap.explain(subject(Pairs(), torch.ones(1, 1, 2, 2)), 24, 0)
    # By hand: ab shared by two, abc by three, d alone.
    expected = torch.tensor([[1 / 2 + 1 / 3, 1 / 2 + 1 / 3], [1 / 3, 1.0]])
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


def test_lime_ranks_the_cells_of_a_linear_model_as_it_does():
    torch.manual_seed(4)
    network, inputs = Linear(torch.randn(16, 16)), torch.rand(1, 1, 16, 16)
    found = lime.explain(subject(network, inputs), lime.USUAL, 0)
    numbers = cells((16, 16), lime.USUAL // 2, inputs.device)
    exact = torch.bincount(numbers.flatten(), (inputs[0, 0] * network.weights.detach()).flatten())[numbers]
    assert float(torch.corrcoef(torch.stack([found.flatten(), exact.flatten()]))[0, 1]) > 0.9


def test_cells_are_as_many_as_asked_at_most_and_hold_every_voxel():
    for spatial, at_most in (((10, 12), 50), ((3, 20, 20), 64), ((1, 8), 4)):
        numbers = cells(spatial, at_most, torch.device("cpu"))
        assert numbers.shape == spatial
        assert int(numbers.max()) + 1 == len(numbers.unique()) <= at_most
    assert math.prod((7, 7)) == int(cells((10, 12), 50, torch.device("cpu")).max()) + 1
