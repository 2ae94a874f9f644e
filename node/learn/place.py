"""Where a training computes: on a processor, one GPU, or several with a process each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from node.errors import Misconfigured
from node.learn.recipe import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One process of a training."""

    device: torch.device
    #: Which of `world` processes this is; the first one writes.
    rank: int = 0
    world: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes and tells."""
        return self.rank == 0


@contextmanager
def placed(device: str, *, rank: int = 0, local_rank: int = 0, world: int = 1) -> Iterator[Place]:
    """Take `device` ("auto", "cpu", "cuda"), and where there are several processes join them.

    Raises:
        Misconfigured: a GPU is asked for and there is none.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise Misconfigured("--device", "", "there is no GPU that PyTorch can use", "Take --device cpu")
    found = torch.device("cuda", local_rank) if device == "cuda" else torch.device(device)
    if found.type == "cuda":
        torch.cuda.set_device(found)
        torch.backends.cudnn.benchmark = False
    if world == 1:
        yield Place(device=found)
        return
    torch.distributed.init_process_group("nccl" if found.type == "cuda" else "gloo", rank=rank, world_size=world)
    try:
        yield Place(device=found, rank=rank, world=world)
    finally:
        torch.distributed.destroy_process_group()


def number_type(precision: Precision, device: torch.device) -> torch.dtype:
    """In which numbers the network computes there."""
    if precision is Precision.AUTO:
        has = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return torch.bfloat16 if has else torch.float32
    return torch.bfloat16 if precision is Precision.BFLOAT16 else torch.float32
