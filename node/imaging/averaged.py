"""Several networks, or one that is shown its input mirrored too, as one network: their shares are averaged."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

#: The least share that has a logarithm.
_LEAST = 1e-12


class Averaged(nn.Module):
    """Answers with numbers whose softmax or sigmoid is the mean share of all members and views; shares stay shares.

    (batch, channel, …) → (batch, class, …) of the same extent, or (batch, class).
    """

    def __init__(self, members: Sequence[nn.Module], activation: str, flips: Sequence[int] = ()) -> None:
        """Put them together.

        Args:
            members: networks that take and give the same.
            activation: "softmax", "sigmoid" or "none", as `Preparation` has it.
            flips: axes of the input, 0 is the first after its channels; it is shown as it is, and mirrored along each.
        """
        super().__init__()
        self.members = nn.ModuleList(members)
        self._activation = activation
        self._views: tuple[tuple[int, ...], ...] = ((), *((axis + 2,) for axis in sorted(set(flips))))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Ask every member with every view."""
        total: torch.Tensor | None = None
        for axes in self._views:
            shown = values.flip(axes) if axes else values
            for member in self.members:
                shares = self._shares(member(shown))
                back = shares.flip(axes) if axes and shares.ndim == values.ndim else shares
                total = back if total is None else total + back
        assert total is not None
        mean = total / (len(self._views) * len(self.members))
        if self._activation == "softmax":
            return mean.clamp_min(_LEAST).log()
        return torch.logit(mean, eps=1e-6) if self._activation == "sigmoid" else mean

    def _shares(self, answer: torch.Tensor) -> torch.Tensor:
        if self._activation == "softmax":
            return answer.float().softmax(dim=1)
        return answer.float().sigmoid() if self._activation == "sigmoid" else answer.float()
