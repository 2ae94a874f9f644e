"""torch.compile on a GPU, half precision, with CUDA graphs where the compiler finds them worth it.

On a CPU it is not offered: half a minute of compiling wins little there.
"""

from __future__ import annotations

from typing import cast

import torch

from node.imaging.bundle.plan import Plan
from node.imaging.engines import Way
from node.imaging.engines.layers import constant_batch, gpu_batch, half_precision, module_of
from node.imaging.engines.windows import Forward

NAME = "compiled"


def available(device: torch.device) -> str:
    """Say why nothing is compiled (see `Engine`)."""
    return "it is for GPUs" if device.type != "cuda" else half_precision(device)


def build(network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
    """Compile the network; the first windows pay for it (see `Engine`)."""
    batch = gpu_batch(plan.window)
    module = module_of(network, device, torch.bfloat16)
    run = cast("Forward", torch.compile(module, mode="reduce-overhead", dynamic=False))
    # What a CUDA graph returns is overwritten by its next run.
    return Way(
        name=NAME,
        forward=constant_batch(lambda windows: run(windows).clone(), batch, device, torch.bfloat16),
        window=lambda shape: plan.window,  # noqa: ARG005
        batch=batch,
        device=device,
        dtype="bfloat16",
        fixed=True,
        sentence="half precision (bfloat16), compiled",
    )
