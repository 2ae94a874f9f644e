"""KernelSHAP: Shapley values of the cells by a weighted regression (Lundberg and Lee, 2017).

With all coalitions asked the values are exact; with fewer, sizes are drawn as their weights are, each draw with its
complement, and a network that is linear in the cells still gets its exact values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from node.imaging.explain.subject import Subject
from node.imaging.explain.surrogate import fitted

GRADIENTS = False
LAYER, BASELINE = False, True
#: Times the network is asked.
USUAL = 128
FEWEST = 24

#: Samples a cell: a draw and its complement leave one equation, and a quarter more keeps them apart.
_SAMPLES_A_CELL = 2.5
#: Weight of "all" and "none", which the values must explain without a rest; in the theory without bound.
_CERTAIN = 1e7


def forwards(samples: int) -> float:
    """One each."""
    return float(samples)


def explain(subject: Subject, samples: int, seed: int) -> torch.Tensor:
    """See `Method`. As coarse as the cells."""

    def draw(cells: int) -> tuple[torch.Tensor, Sequence[float]]:
        return coalitions(cells, samples, seed)

    return fitted(subject, math.floor(samples / _SAMPLES_A_CELL), draw, 0.0)


def kernel(cells: int, size: int) -> float:
    """The weight of one coalition of `size` of `cells`, 0 < size < cells (Lundberg and Lee, Theorem 2)."""
    return (cells - 1) / (math.comb(cells, size) * size * (cells - size))


def coalitions(cells: int, samples: int, seed: int) -> tuple[torch.Tensor, list[float]]:
    """Return (sample, cell) int64 of 0 and 1, and the weight of each: all coalitions where there are no more."""
    ends = torch.tensor([[1] * cells, [0] * cells])
    if cells < 30 and 2**cells <= samples:
        bits = torch.arange(1, 2**cells - 1)[:, None] >> torch.arange(cells) & 1
        sizes = bits.sum(1).tolist()
        return torch.cat([ends, bits]), [_CERTAIN, _CERTAIN, *(kernel(cells, size) for size in sizes)]
    generator = torch.Generator().manual_seed(seed)
    # A size is as likely as all its coalitions weigh together; then each draw weighs the same.
    likely = torch.tensor([1 / (size * (cells - size)) for size in range(1, cells)], dtype=torch.float64)
    sizes = (1 + torch.multinomial(likely, max(1, (samples - 2) // 2), replacement=True, generator=generator)).tolist()
    rows = torch.zeros(len(sizes), cells, dtype=torch.int64)
    for row, size in zip(rows, sizes, strict=True):
        row[torch.randperm(cells, generator=generator)[:size]] = 1
    drawn = torch.cat([ends, rows, 1 - rows])
    return drawn, [_CERTAIN, _CERTAIN, *[1.0] * (2 * len(sizes))]
