"""Single precision, the whole volume in one piece: no voxel is computed twice."""

from __future__ import annotations

import torch

from node.imaging.bundle.plan import Plan
from node.imaging.engines import Way
from node.imaging.engines.layers import prepared, whole

NAME = "fp32-whole"


def available(device: torch.device) -> str:  # noqa: ARG001
    """Say that it always is (see `Engine`)."""
    return ""


def build(network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
    """Prepare the network (see `Engine`)."""
    forward = prepared(network, device, fold=True)
    return Way(
        name=NAME,
        forward=forward,
        window=whole(plan, network, forward),
        batch=1,
        device=device,
        sentence="single precision, the volume in one piece",
    )
