"""Single precision, the bundle's own windows: the plain way, by which every other is judged."""

from __future__ import annotations

import torch

from node.imaging.bundle.plan import Plan
from node.imaging.engines import Way
from node.imaging.engines.layers import fair_batch, prepared

NAME = "fp32"


def available(device: torch.device) -> str:  # noqa: ARG001
    """Say that it always is (see `Engine`)."""
    return ""


def build(network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
    """Prepare the network (see `Engine`)."""
    return Way(
        name=NAME,
        forward=prepared(network, device),
        window=lambda shape: plan.window,  # noqa: ARG005
        # One window of single precision at a time takes a CPU several times as long as two or four.
        batch=fair_batch(plan.window, network),
        device=device,
    )
