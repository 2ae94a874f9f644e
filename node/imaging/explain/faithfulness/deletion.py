"""Deletion and insertion, as areas under curves (Petsiuk et al., 2018).

What the answer loses when the weightiest voxels go, and gains when they alone are there. It is scaled so that the whole
input is 1 and nothing there is 0: a good map has little deletion and much insertion.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from node.imaging.explain.subject import Subject

#: Steps of each curve.
STEPS = 10
#: Share of the answer by which the whole must differ from nothing.
_SLIGHT = 1e-6


def forwards(method_forwards: float) -> float:  # noqa: ARG001
    """A forward a step, and both ends."""
    return 2.0 * (STEPS - 1) + 2.0


def figures(subject: Subject, weights: torch.Tensor) -> Mapping[str, float]:
    """Return both areas; nothing where the whole says no more than nothing does."""
    whole, nothing = (float(subject.score(each)) for each in (subject.inputs, subject.baseline))
    if whole - nothing <= _SLIGHT * max(1.0, abs(whole)):
        return {}
    order = weights.flatten().argsort(descending=True)
    curves: list[list[float]] = [[1.0], [0.0]]
    for step in range(1, STEPS):
        first = torch.zeros(weights.numel(), dtype=subject.inputs.dtype, device=weights.device)
        first[order[: step * weights.numel() // STEPS]] = 1
        chosen = first.view(weights.shape)
        for curve, kept in zip(curves, (1 - chosen, chosen), strict=True):
            score = float(subject.score(kept * subject.inputs + (1 - kept) * subject.baseline))
            curve.append((score - nothing) / (whole - nothing))
    deletion, insertion = [*curves[0], 0.0], [*curves[1], 1.0]
    return {"deletion_auc": _area(deletion), "insertion_auc": _area(insertion)}


def _area(curve: list[float]) -> float:
    """Area under equidistant points over a length of 1 (trapezia)."""
    return (sum(curve) - (curve[0] + curve[-1]) / 2) / (len(curve) - 1)
