"""OpenVINO on a CPU, single precision (extra `cpu-fast`)."""

from __future__ import annotations

import torch

from node.imaging.bundle.plan import Plan
from node.imaging.engines import Way, openvino

NAME = "openvino-f32"


def available(device: torch.device) -> str:
    """Say why OpenVINO cannot be used (see `Engine`)."""
    return openvino.missing(device)


def build(network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
    """Compile the network (see `Engine`)."""
    return Way(
        name=NAME,
        forward=openvino.compiled(network, plan, "f32"),
        window=lambda shape: plan.window,  # noqa: ARG005
        batch=1,
        device=device,
        sentence="OpenVINO, single precision",
    )
