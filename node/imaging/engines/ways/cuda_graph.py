"""One CUDA graph of the network, half precision: small networks wait for the GPU and not for Python."""

from __future__ import annotations

import torch

from node.imaging.bundle.plan import Plan
from node.imaging.engines import Way
from node.imaging.engines.layers import constant_batch, gpu_batch, half_precision, module_of
from node.imaging.engines.windows import Forward

NAME = "cuda-graph"
#: Runs before the recording, as PyTorch advises: libraries choose and allocate in them.
_WARM_UPS = 3


def available(device: torch.device) -> str:
    """Say why there is no graph (see `Engine`)."""
    return "it is for GPUs" if device.type != "cuda" else half_precision(device)


def build(network: torch.nn.Module, plan: Plan, device: torch.device) -> Way:
    """Prepare the network; its first windows are recorded (see `Engine`)."""
    batch = gpu_batch(plan.window)
    recorded = _Recorded(module_of(network, device, torch.bfloat16))
    return Way(
        name=NAME,
        forward=constant_batch(recorded, batch, device, torch.bfloat16),
        window=lambda shape: plan.window,  # noqa: ARG005
        batch=batch,
        device=device,
        dtype="bfloat16",
        fixed=True,
        sentence="half precision (bfloat16), replayed as one CUDA graph",
    )


class _Recorded:
    """A network recorded once for each extent of its input, and played again."""

    def __init__(self, module: Forward) -> None:
        self._module = module
        self._graphs: dict[tuple[int, ...], tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor]] = {}

    def __call__(self, windows: torch.Tensor) -> torch.Tensor:
        shape = tuple(windows.shape)
        if shape not in self._graphs:
            self._graphs[shape] = self._record(windows)
        graph, given, answer = self._graphs[shape]
        given.copy_(windows)
        graph.replay()
        return answer.clone()

    def _record(self, windows: torch.Tensor) -> tuple[torch.cuda.CUDAGraph, torch.Tensor, torch.Tensor]:
        given = windows.clone()
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UPS):
                self._module(given)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            answer = self._module(given)
        return graph, given, answer
