"""Infidelity: how badly the map tells what the answer does when cells are taken away (Yeh et al., 2019).

Scaled: 0 tells it all, 1 no better than a map that says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from captum.metrics import infidelity

from node.imaging.explain.cells import cells
from node.imaging.explain.subject import Subject

#: Times that cells are taken away.
SAMPLES = 16
_CELLS = 64
#: Share of the cells that goes each time.
_GONE = 0.3


def forwards(method_forwards: float) -> float:  # noqa: ARG001
    """One each, and one of the whole."""
    return SAMPLES + 1.0


def figures(subject: Subject, weights: torch.Tensor, seed: int) -> Mapping[str, float]:
    """Return the infidelity; nothing where the answer does not change."""
    generator = torch.Generator().manual_seed(seed)
    numbers = cells(subject.spatial, _CELLS, subject.inputs.device)
    count = int(numbers.max()) + 1
    whole = subject.score(subject.inputs)
    changes: list[torch.Tensor] = []

    def without(inputs: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
        gone = (torch.rand(len(inputs), count, generator=generator) < _GONE).to(inputs.device)[:, numbers][:, None]
        # The map is of voxels that are there, not of their values: what is taken from each is its presence.
        taken = gone.to(inputs.dtype).expand_as(inputs)
        return taken, torch.where(gone, subject.baseline, inputs)

    def score(inputs: torch.Tensor) -> torch.Tensor:
        # Captum asks about the whole input anew each time.
        same = (inputs == subject.inputs).flatten(1).all(1)
        if bool(same.all()):
            return whole.expand(len(inputs))
        found = subject.score(inputs)
        changes.append(whole - found)
        return found

    spread = weights.expand_as(subject.inputs) / subject.inputs.shape[1]
    found = infidelity(
        score,
        without,
        subject.inputs,
        spread.contiguous(),
        n_perturb_samples=SAMPLES,
        max_examples_per_batch=subject.batch,
        normalize=True,
    )
    least = float(torch.cat(changes).square().mean()) if changes else 0.0
    return {"infidelity": float(found) / least} if least > 0 and bool(torch.isfinite(found).all()) else {}
