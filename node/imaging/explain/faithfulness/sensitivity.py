"""Max-sensitivity: by which share of itself the map changes at most when the input hardly does (Yeh et al., 2019)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from captum.metrics import sensitivity_max

from node.imaging.explain.subject import Subject

#: Times that the input is changed.
SAMPLES = 4
#: Noise, as a share of the input's standard deviation.
_SHARE = 0.02


def forwards(method_forwards: float) -> float:
    """A map each, and the first once more."""
    return (SAMPLES + 1) * method_forwards


def figures(subject: Subject, again: Callable[[Subject], torch.Tensor], seed: int) -> Mapping[str, float]:
    """Return the sensitivity; nothing where the map is empty."""
    generator = torch.Generator().manual_seed(seed)
    radius = _SHARE * float(subject.inputs.std())

    def shaken(inputs: torch.Tensor, *_: object) -> torch.Tensor:
        noise = 2 * torch.rand(inputs.shape, generator=generator) - 1
        return inputs + radius * noise.to(inputs)

    def explained(inputs: torch.Tensor | tuple[torch.Tensor, ...], **_: object) -> torch.Tensor:
        # Captum hands out what it was given as a tuple of one.
        (given,) = inputs if isinstance(inputs, tuple) else (inputs,)
        return again(replace(subject, inputs=given.detach()))[None, None]

    found = float(
        sensitivity_max(
            explained,
            subject.inputs,
            perturb_func=shaken,
            n_perturb_samples=SAMPLES,
            max_examples_per_batch=1,
        )
    )
    return {"max_sensitivity": found} if found < float("inf") else {}
