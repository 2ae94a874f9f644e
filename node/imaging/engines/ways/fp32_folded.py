"""Single precision with batch norms made part of the convolutions: the same but for rounding."""

from __future__ import annotations

import torch

from node.imaging.bundle.plan import Plan
from node.imaging.engines import Way
from node.imaging.engines.layers import fair_batch, folds, prepared

NAME = "fp32-folded"


def available(device: torch.device) -> str:  # noqa: ARG001
    """Say that it always is (see `Engine`)."""
    return ""


def build(network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
    """Prepare the network (see `Engine`)."""
    if not folds(network):
        raise ValueError("no batch norm follows a convolution")
    return Way(
        name=NAME,
        forward=prepared(network, device, fold=True),
        window=lambda shape: plan.window,  # noqa: ARG005
        batch=fair_batch(plan.window, network),
        device=device,
        sentence="single precision, batch norms folded into the convolutions",
    )
