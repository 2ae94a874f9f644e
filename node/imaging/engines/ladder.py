"""When memory runs out: fewer windows at once, smaller ones, half precision, the CPU; each step is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from node.domain.engine import PLAIN
from node.errors import Failed
from node.imaging.bundle.plan import Plan, Window
from node.imaging.device import give_back, is_lost, is_memory
from node.imaging.engines import Way, named
from node.imaging.engines.choice import BUILD_ERRORS
from node.imaging.engines.layers import example_of, is_as_written, multiple
from node.imaging.engines.windows import Triple

Result = TypeVar("Result")
#: A way that needs less than the given one, and what is told of it; `None` where there is none.
Rung = Callable[[Way], tuple[Way, str] | None]

#: How often it is tried again with less.
MOST_TRIES = 3
_HALF = "bf16"


def descend(run: Callable[[Way], Result], way: Way, rungs: Sequence[Rung]) -> tuple[Result, tuple[str, ...]]:
    """Run, and where memory runs out run again from the start with less, at most three times; also return the notes.

    Rungs are taken in order; the last try takes all that are left together.

    Raises:
        Failed: memory ran out with the least, too.
        MemoryError: it did, on a GPU.
    """
    left, told = list(rungs), list[str]()
    for attempt in range(MOST_TRIES + 1):
        try:
            return run(way), tuple(told)
        except (RuntimeError, MemoryError) as error:
            if not is_memory(error):
                raise
        give_back()
        lesser = None
        while left and (lesser is None or attempt == MOST_TRIES - 1):
            found = _taken(left.pop(0), way)
            if found is not None:
                lesser = found
                way = found[0]
                told.append(f"memory ran out: {found[1]}")
        if lesser is None:
            break
    all_told = "; ".join((*told, "memory ran out, and there is no way that needs less"))
    raise Failed(all_told) if way.device.type == "cpu" else MemoryError(all_told)


def rungs_for(network: torch.nn.Module, plan: Plan, shape: Triple) -> tuple[Rung, ...]:
    """Return what can be tried for a network on a volume of `shape`, in order."""

    def fewer(way: Way) -> tuple[Way, str] | None:
        if way.batch <= 1:
            return None
        return _rebuilt(way, way.window(shape)) if way.fixed else replace(way, batch=1), "one window at a time"

    def smaller(way: Way) -> tuple[Way, str] | None:
        window = way.window(shape)
        if window.roi != plan.window.roi and window.roi:
            return _rebuilt(way, plan.window), "windows instead of the whole volume at once"
        if way.fixed:
            way = _rebuilt(way, plan.window)
        for each in _smaller(plan.window):
            if _accepts(way, network, each):
                extent = " × ".join(str(size) for size in each.roi)
                return _rebuilt(way, each), f"smaller windows than the bundle's, {extent} voxels"
        return None

    def half(way: Way) -> tuple[Way, str] | None:
        if way.dtype != "float32" or is_as_written(network) or named(_HALF).available(way.device):
            return None
        lesser = named(_HALF).build(network, plan, way.device)
        return replace(lesser, window=way.window, batch=1), "half precision (bfloat16)"

    def on_cpu(way: Way) -> tuple[Way, str] | None:
        if way.device.type == "cpu" or is_as_written(network):
            return None
        lesser = named(PLAIN if way.dtype == "float32" else _HALF).build(network, plan, torch.device("cpu"))
        return replace(lesser, window=way.window), "on the CPU"

    def _rebuilt(way: Way, window: Window) -> Way:
        # Some engines are made for one extent.
        plainer = named(PLAIN if way.dtype == "float32" else _HALF).build(network, plan, way.device)
        return replace(plainer, window=lambda _: window, batch=1)

    return fewer, smaller, half, on_cpu


def _taken(rung: Rung, way: Way) -> tuple[Way, str] | None:
    """The way that a rung leads to, if it can be built: that takes memory, too."""
    try:
        return rung(way)
    except (*BUILD_ERRORS, MemoryError) as error:
        if is_lost(error):
            raise
        return None


def _smaller(window: Window) -> list[Window]:
    """Windows of half the extent, and of that cut to what the bundle's own is a multiple of."""
    if not window.roi or min(window.roi) <= 0:
        return []
    step = multiple(window)
    halves = tuple(size // 2 for size in window.roi)
    cut = tuple(max(step, size // step * step) for size in halves)
    rois = [roi for roi in dict.fromkeys((halves, cut)) if roi != window.roi and min(roi) > 0]
    return [replace(window, roi=roi) for roi in rois]


def _accepts(way: Way, network: torch.nn.Module, window: Window) -> bool:
    try:
        example = example_of(network, window, 1)
        with torch.no_grad():
            return way.forward(example).shape[2:] == example.shape[2:]
    except (RuntimeError, ValueError, Failed):
        return False
