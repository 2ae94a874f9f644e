"""Single precision with an overlap of a quarter where the bundle wants more: fewer windows."""

from __future__ import annotations

import torch

from node.imaging.bundle.plan import Plan
from node.imaging.engines import Way
from node.imaging.engines.layers import fair_batch, prepared, sparser

NAME = "fp32-sparse"


def available(device: torch.device) -> str:  # noqa: ARG001
    """Say that it always is (see `Engine`)."""
    return ""


def build(network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
    """Prepare the network (see `Engine`)."""
    window = sparser(plan.window)
    return Way(
        name=NAME,
        forward=prepared(network, device, fold=True),
        window=lambda shape: window,  # noqa: ARG005
        batch=fair_batch(window, network),
        device=device,
        sentence="single precision, windows that overlap by a quarter",
    )
