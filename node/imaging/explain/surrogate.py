"""A linear stand-in for a network around one input: ridge regression on which cells were there.

Captum's own LIME and KernelSHAP want scikit-learn; their base wants only a model that can be fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from captum._utils.models.model import Model
from captum.attr import LimeBase

from node.imaging.explain.cells import cells
from node.imaging.explain.subject import Subject


def weighted_ridge(
    x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor, strength: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Minimise Σ wᵢ (yᵢ − xᵢ·β − c)² + strength · |β|² and return (β, c), both float64; c is not held down.

    x: (sample, cell). y, weights: (sample,). Where the samples leave β open the smallest is taken.
    """
    x, y, weights = x.double(), y.double(), weights.double()
    total = weights.sum()
    mean_x, mean_y = (weights @ x) / total, (weights @ y) / total
    root = weights.sqrt()
    a, b = (x - mean_x) * root[:, None], (y - mean_y) * root
    if strength > 0:
        a = torch.cat([a, strength**0.5 * torch.eye(x.shape[1], dtype=a.dtype, device=a.device)])
        b = torch.cat([b, torch.zeros(x.shape[1], dtype=b.dtype, device=b.device)])
    found = torch.linalg.lstsq(a.cpu(), b.cpu()[:, None], driver="gelsd").solution[:, 0].to(x.device)
    return found, mean_y - mean_x @ found


class Ridge(Model):  # type: ignore[misc]
    """Weighted ridge regression as captum's base of LIME fits it."""

    def __init__(self, strength: float) -> None:
        self._strength = strength
        self.coefficients: torch.Tensor = torch.zeros(0)
        self.intercept: torch.Tensor = torch.zeros(())

    def fit(self, train_data: torch.utils.data.DataLoader, **_: object) -> None:  # type: ignore[type-arg]
        """Fit to all batches of (x, y, weight)."""
        parts: list[list[torch.Tensor]] = [list(batch) for batch in train_data]
        # On the host, wherever the network answered: it is where the equations are solved.
        x, y, weights = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
        self.coefficients, self.intercept = weighted_ridge(x, y.flatten(), weights.flatten(), self._strength)

    def representation(self) -> torch.Tensor:
        """The coefficients, one a cell."""
        return self.coefficients

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Predict (sample,) from (sample, cell)."""
        predicted: torch.Tensor = x.double() @ self.coefficients + self.intercept
        return predicted


def fitted(
    subject: Subject,
    at_most: int,
    draw: Callable[[int], tuple[torch.Tensor, Sequence[float]]],
    strength: float,
) -> torch.Tensor:
    """Cut the input into cells, ask the network about those that `draw` leaves, and paint each cell's coefficient.

    `draw` is told the number of cells and returns (sample, cell) of 0 and 1, and the weight of each sample.
    """
    numbers = cells(subject.spatial, at_most, subject.inputs.device)
    present, weights = draw(int(numbers.max()) + 1)
    rows, heavy = iter(present), iter(weights)

    def perturbed(_inputs: torch.Tensor, **_: object) -> torch.Tensor:
        row: torch.Tensor = next(rows)[None].to(subject.inputs.device)
        return row

    def there(row: torch.Tensor, inputs: torch.Tensor, **_: object) -> torch.Tensor:
        kept = row[0][numbers].to(inputs.dtype)
        mixed: torch.Tensor = kept * inputs + (1 - kept) * subject.baseline
        return mixed

    def likeness(_inputs: torch.Tensor, _perturbed: torch.Tensor, _row: torch.Tensor, **_: object) -> torch.Tensor:
        return torch.tensor([next(heavy)], dtype=torch.float64)

    base = LimeBase(
        subject.question,
        Ridge(strength),
        likeness,
        perturbed,
        perturb_interpretable_space=True,
        from_interp_rep_transform=there,
        to_interp_rep_transform=None,
    )
    with torch.no_grad():
        found = base.attribute(subject.inputs, n_samples=len(present), perturbations_per_eval=subject.batch)
    painted: torch.Tensor = found.to(subject.inputs.device)[numbers].float()
    return painted
