"""OpenVINO on a CPU, half precision, with an overlap of a quarter where the bundle wants more (extra `cpu-fast`)."""

from __future__ import annotations

import torch

from node.imaging.bundle.plan import Plan
from node.imaging.engines import Way, openvino
from node.imaging.engines.layers import sparser

NAME = "openvino-bf16-sparse"


def available(device: torch.device) -> str:
    """Say why OpenVINO cannot be used (see `Engine`)."""
    return openvino.missing(device)


def build(network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
    """Compile the network (see `Engine`)."""
    window = sparser(plan.window)
    return Way(
        name=NAME,
        forward=openvino.compiled(network, plan, "bf16"),
        window=lambda shape: window,  # noqa: ARG005
        batch=1,
        device=device,
        dtype="bfloat16",
        sentence="OpenVINO, half precision (bfloat16), windows that overlap by a quarter",
    )
