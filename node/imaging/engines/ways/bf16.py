"""Half precision (bfloat16), channels last, the bundle's own windows one at a time."""

from __future__ import annotations

import torch

from node.imaging.bundle.plan import Plan
from node.imaging.engines import Way
from node.imaging.engines.layers import half_precision, narrow_batch, prepared

NAME = "bf16"


def available(device: torch.device) -> str:
    """Say where a GPU has no such numbers (see `Engine`)."""
    return half_precision(device)


def build(network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
    """Prepare the network (see `Engine`)."""
    return Way(
        name=NAME,
        forward=prepared(network, device, torch.bfloat16, fold=True),
        window=lambda shape: plan.window,  # noqa: ARG005
        batch=narrow_batch(plan.window, network, device),
        device=device,
        dtype="bfloat16",
        sentence="half precision (bfloat16)",
    )
