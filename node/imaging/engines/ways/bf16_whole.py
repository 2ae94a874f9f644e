"""Half precision (bfloat16), the whole volume in one piece."""

from __future__ import annotations

import torch

from node.imaging.bundle.plan import Plan
from node.imaging.engines import Way
from node.imaging.engines.layers import half_precision, prepared, whole

NAME = "bf16-whole"


def available(device: torch.device) -> str:
    """Say where a GPU has no such numbers (see `Engine`)."""
    return half_precision(device)


def build(network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
    """Prepare the network (see `Engine`)."""
    forward = prepared(network, device, torch.bfloat16, fold=True)
    return Way(
        name=NAME,
        forward=forward,
        window=whole(plan, network, forward),
        batch=1,
        device=device,
        dtype="bfloat16",
        sentence="half precision (bfloat16), the volume in one piece",
    )
