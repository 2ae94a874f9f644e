"""LIME: a linear stand-in for the network, fitted where most cells are there (Ribeiro et al., 2016)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from node.imaging.explain.subject import Subject
from node.imaging.explain.surrogate import fitted

GRADIENTS = False
LAYER, BASELINE = False, True
#: Times the network is asked.
USUAL = 128
FEWEST = 24

#: Samples a cell: fewer and the stand-in hangs on the draw.
_SAMPLES_A_CELL = 2
#: Width of the kernel in units of the distance below, and how strongly coefficients are held down.
_WIDTH = 0.25
_STRENGTH = 0.1


def forwards(samples: int) -> float:
    """One each."""
    return float(samples)


def explain(subject: Subject, samples: int, seed: int) -> torch.Tensor:
    """See `Method`. As coarse as the cells."""
    generator = torch.Generator().manual_seed(seed)

    def draw(cells: int) -> tuple[torch.Tensor, Sequence[float]]:
        present = (torch.rand(samples, cells, generator=generator) < 0.5).long()
        present[0] = 1
        # Distance from the whole: 1 − cosine to the row of ones is 1 − √(share that is there).
        distance = 1 - present.double().mean(1).sqrt()
        return present, torch.exp(-(distance**2) / _WIDTH**2).tolist()

    return fitted(subject, samples // _SAMPLES_A_CELL, draw, _STRENGTH)
