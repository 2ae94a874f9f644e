"""Occlusion: what the answer loses when one patch is taken away (Zeiler and Fergus, 2014)."""

from __future__ import annotations

import torch
from captum.attr import Occlusion

from node.imaging.explain.cells import sides
from node.imaging.explain.subject import Subject

GRADIENTS = False
LAYER, BASELINE = False, True
#: Patches.
USUAL = 64
FEWEST = 8


def forwards(samples: int) -> float:
    """One a patch, and one of the whole."""
    return samples + 1.0


def explain(subject: Subject, samples: int, seed: int) -> torch.Tensor:  # noqa: ARG001
    """See `Method`. As coarse as the patches."""
    patch = [-(-size // count) for size, count in zip(subject.spatial, sides(subject.spatial, samples), strict=True)]
    window = (int(subject.inputs.shape[1]), *patch)
    with torch.no_grad():
        found = Occlusion(subject.question).attribute(
            subject.inputs,
            sliding_window_shapes=window,
            strides=window,
            baselines=subject.baseline,
            perturbations_per_eval=subject.batch,
        )
    # All channels of a patch go together.
    lost: torch.Tensor = found[0, 0].float()
    return lost
