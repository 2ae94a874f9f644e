"""Half precision (bfloat16) with an overlap of a quarter where the bundle wants more."""

from __future__ import annotations

import torch

from node.imaging.bundle.plan import Plan
from node.imaging.engines import Way
from node.imaging.engines.layers import half_precision, narrow_batch, prepared, sparser

NAME = "bf16-sparse"


def available(device: torch.device) -> str:
    """Say where a GPU has no such numbers (see `Engine`)."""
    return half_precision(device)


def build(network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
    """Prepare the network (see `Engine`)."""
    window = sparser(plan.window)
    return Way(
        name=NAME,
        forward=prepared(network, device, torch.bfloat16, fold=True),
        window=lambda shape: window,  # noqa: ARG005
        batch=narrow_batch(window, network, device),
        device=device,
        dtype="bfloat16",
        sentence="half precision (bfloat16), windows that overlap by a quarter",
    )
