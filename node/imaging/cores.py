"""Many small steps on several cores.

Torch divides each operation among its threads, which wait for each other at its end: where a core is busy with
something else, and operations take microseconds, that costs ten times the work itself. Here each thread has parts of
the work of its own, and does every operation on them alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch

Part = TypeVar("Part")


@contextmanager
def undivided() -> Iterator[int]:
    """Have Torch do each operation on one thread, here and on threads that begin meanwhile; yield how many it had."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield count
    finally:
        torch.set_num_threads(count)


def spread(work: Callable[[Part], object], parts: Sequence[Part], cores: int) -> None:
    """Do `work` on each part, on as many threads as there are `cores`, in the caller's inference mode."""
    if cores <= 1 or len(parts) <= 1:
        for part in parts:
            work(part)
        return
    inference = torch.is_inference_mode_enabled()

    def alone(part: Part) -> None:
        with torch.inference_mode(inference):
            work(part)

    with ThreadPoolExecutor(min(cores, len(parts))) as pool:
        for _ in pool.map(alone, parts):
            pass


def shares(count: int, cores: int) -> list[slice]:
    """Divide `count` things among `cores`, in order and nearly evenly."""
    edges = np.linspace(0, count, min(cores, count) + 1).round().astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(edges)]
