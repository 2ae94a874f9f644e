"""AOTInductor on a GPU, half precision: compiled once into a library that is loaded in no time.

On a CPU it is not offered: it wins a sixth there, and OpenVINO wins more.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import cast

import torch

from node.imaging.bundle.plan import Plan
from node.imaging.engines import Way
from node.imaging.engines.layers import channels_last, constant_batch, example_of, gpu_batch, half_precision, module_of
from node.imaging.engines.windows import Forward

NAME = "aot"


def available(device: torch.device) -> str:
    """Say why nothing is compiled (see `Engine`)."""
    return "it is for GPUs" if device.type != "cuda" else half_precision(device)


def build(network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
    """Export and compile the network, which takes half a minute (see `Engine`)."""
    batch = gpu_batch(plan.window)
    module = module_of(network, device, torch.bfloat16)
    # What is compiled takes for granted how its input lies in memory.
    example = channels_last(example_of(network, plan.window, batch).to(device, torch.bfloat16))
    # Under inference_mode the compiler refuses its own constants.
    with torch.inference_mode(mode=False), torch.no_grad(), tempfile.TemporaryDirectory(prefix="matins-aot-") as folder:
        exported = torch.export.export(module, (example,))
        package = torch._inductor.aoti_compile_and_package(exported, package_path=str(Path(folder) / "network.pt2"))
        run = cast("Forward", torch._inductor.aoti_load_package(package))
    return Way(
        name=NAME,
        forward=constant_batch(run, batch, device, torch.bfloat16),
        window=lambda shape: plan.window,  # noqa: ARG005
        batch=batch,
        device=device,
        dtype="bfloat16",
        fixed=True,
        sentence="half precision (bfloat16), compiled ahead",
    )
