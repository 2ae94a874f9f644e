"""Integrated gradients: the gradient along the way from "nothing there" to the input (Sundararajan et al., 2017)."""

from __future__ import annotations

import torch
from captum.attr import IntegratedGradients

from node.imaging.explain.subject import Subject

GRADIENTS = True
LAYER, BASELINE = False, True
#: Steps along the way.
USUAL = 20
FEWEST = 8


def forwards(samples: int) -> float:
    """A forward and a backward a step; measured, three forwards together."""
    return 3.0 * samples


def explain(subject: Subject, samples: int, seed: int) -> torch.Tensor:  # noqa: ARG001
    """See `Method`. As fine as the input; channels summed."""
    with torch.enable_grad():
        found = IntegratedGradients(subject.question).attribute(
            subject.inputs.detach().clone(),
            baselines=subject.baseline,
            n_steps=samples,
            internal_batch_size=subject.batch,
        )
    summed: torch.Tensor = found.detach()[0].sum(0).float()
    return summed
