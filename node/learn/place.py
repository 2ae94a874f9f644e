"""Where a training computes: on a processor, one GPU, or several with a process each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch

from node.errors import Misconfigured
from node.imaging.device import compute_exactly
from node.learn.recipe import Precision

_DEVICES = ("auto", "cpu", "cuda")
#: What one process does alone while the others wait, such as preparing the cases, may take hours; one that dies ends
#: the others at once all the same: torchrun sees to it.
_PATIENCE = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One process of a training."""

    device: torch.device
    #: Which of `world` processes this is; the first one writes.
    rank: int = 0
    world: int = 1

    @property
    def told(self) -> str:
        """What it is, for people."""
        if self.device.type == "cuda":
            return f"{torch.cuda.get_device_name(self.device)} × {self.world}"
        return f"CPU, {torch.get_num_threads()} threads"

    @property
    def leads(self) -> bool:
        """Whether this process writes and tells."""
        return self.rank == 0

    def meet(self) -> None:
        """Wait until every process has come as far: what the first one wrote is there then."""
        if self.world > 1:
            torch.distributed.barrier()


@contextmanager
def placed(device: str, *, rank: int = 0, local_rank: int = 0, world: int = 1) -> Iterator[Place]:
    """Take `device` ("auto", "cpu", "cuda"), and where there are several processes join them.

    Raises:
        Misconfigured: there is no such device, a GPU is asked for and there is none, or nobody says where the other
            processes are.
    """
    if device not in _DEVICES:
        raise Misconfigured("--device", device, "is no device", f"Choose one of {', '.join(_DEVICES)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise Misconfigured("--device", "", "there is no GPU that PyTorch can use", "Take --device cpu")
    found = torch.device("cuda", local_rank) if device == "cuda" else torch.device(device)
    if found.type == "cuda":
        if local_rank >= torch.cuda.device_count():
            problem = f"process {local_rank} has no GPU: there are {torch.cuda.device_count()} here"
            raise Misconfigured("--device", "", problem, "Start one process a GPU: torchrun --nproc-per-node")
        torch.cuda.set_device(found)
        # One seed, one network.
        compute_exactly()
    if world == 1:
        yield Place(device=found)
        return
    try:
        torch.distributed.init_process_group(
            "nccl" if found.type == "cuda" else "gloo", rank=rank, world_size=world, timeout=_PATIENCE
        )
    except ValueError as error:
        problem = f"{world} processes are to train together, and cannot find each other: {error}"
        raise Misconfigured("WORLD_SIZE", "", problem, "Start them with torchrun, or unset it") from error
    try:
        yield Place(device=found, rank=rank, world=world)
    finally:
        torch.distributed.destroy_process_group()


def number_type(precision: Precision, device: torch.device) -> torch.dtype:
    """In which numbers the network computes there."""
    if precision is Precision.AUTO:
        is_gpu = device.type == "cuda"
        # Older GPUs only imitate it, and are slower for it.
        has = torch.cuda.is_bf16_supported(False) if is_gpu else torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return torch.bfloat16 if has else torch.float32
    return torch.bfloat16 if precision is Precision.BFLOAT16 else torch.float32
