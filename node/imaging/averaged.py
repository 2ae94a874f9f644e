"""Several networks, or several views of the input, mirrored or magnified, as one network: shares are averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional

#: The least share that has a logarithm.
_LEAST = 1e-12


def as_one(
    members: Sequence[nn.Module], activation: str, flips: Sequence[int] = (), views: Sequence[tuple[float, float]] = ()
) -> nn.Module:
    """Return the network itself where there is one that is shown its input as it is, else all of them as one."""
    return Averaged(members, activation, flips, views) if len(members) > 1 or flips or views else members[0]


class Averaged(nn.Module):
    """Answers with numbers whose softmax or sigmoid is the mean share of all members and views; shares stay shares.

    (batch, channel, …) → (batch, class, …) of the same extent, or (batch, class).
    """

    def __init__(
        self,
        members: Sequence[nn.Module],
        activation: str,
        flips: Sequence[int] = (),
        views: Sequence[tuple[float, float]] = (),
    ) -> None:
        """Put them together.

        Args:
            members: networks that take and give the same.
            activation: "softmax", "sigmoid" or "none", as `Preparation` has it.
            flips: axes of the input, 0 is the first after its channels; it is shown as it is, and mirrored along each.
            views: of classifiers, as `Preparation.views` has them: each is shown instead of the whole input.
        """
        super().__init__()
        self.members = nn.ModuleList(members)
        self._activation = activation
        self._flips: tuple[tuple[int, ...], ...] = ((), *((axis + 2,) for axis in sorted(set(flips))))
        self._views = tuple((share, times) for share, times in views)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Ask every member with every view."""
        total: torch.Tensor | None = None
        seen = [magnified(values, *view) for view in self._views] or [values]
        for each in seen:
            for axes in self._flips:
                shown = each.flip(axes) if axes else each
                for member in self.members:
                    shares = self._shares(member(shown))
                    back = shares.flip(axes) if axes and shares.ndim == values.ndim else shares
                    total = back if total is None else total + back
        assert total is not None
        mean = total / (len(seen) * len(self._flips) * len(self.members))
        if self._activation == "softmax":
            return mean.clamp_min(_LEAST).log()
        return torch.logit(mean, eps=1e-6) if self._activation == "sigmoid" else mean

    def _shares(self, answer: torch.Tensor) -> torch.Tensor:
        if self._activation == "softmax":
            return answer.float().softmax(dim=1)
        return answer.float().sigmoid() if self._activation == "sigmoid" else answer.float()


def magnified(values: torch.Tensor, share: float, times: float) -> torch.Tensor:
    """Return what lies around the middle, magnified: linear interpolation, pixels taken as small squares.

    A network sees things as large as it was trained to where its training images were zoomed (Touvron et al., Fixing
    the train-test resolution discrepancy, NeurIPS 2019).

    Args:
        values: (batch, channel, …), two or three axes.
        share: of each side, above 0, at most 1.
        times: how many pixels become of one along each side.
    """
    axes = values.ndim - 2
    sides = [max(1, round(side * share * times)) for side in values.shape[2:]]
    matrix = torch.cat([torch.eye(axes) * share, torch.zeros(axes, 1)], dim=1).to(values)
    size = [*values.shape[:2], *sides]
    lattice = functional.affine_grid(matrix.expand(len(values), -1, -1), size, align_corners=False)
    return functional.grid_sample(values, lattice, padding_mode="border", align_corners=False)
