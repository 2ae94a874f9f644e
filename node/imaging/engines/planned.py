"""A bundle read as its plan says: prepared, led window by window by the chosen engine, restored block by block."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from node.domain.engine import EngineEvidence
from node.errors import Failed
from node.imaging.bundle.plan import Plan
from node.imaging.bundle.steps import STEP_ERRORS, cause
from node.imaging.device import is_lost, is_memory, wait_for
from node.imaging.engines import Way
from node.imaging.engines.cases import read_case
from node.imaging.engines.choice import choose
from node.imaging.engines.ladder import descend, rungs_for
from node.imaging.engines.measuring import Progress, Subject, measure
from node.imaging.engines.windows import Block, walk
from node.imaging.pipelines import STILL, Fitting, Pulse
from node.imaging.preparation import prepare
from node.imaging.restoration import restore
from node.imaging.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one reading."""

    #: (region, slice, row, column) of the first volume: one region of the bundle's own labels, or several of 0 and 1.
    labels: NDArray[np.uint8]
    notes: tuple[str, ...] = ()
    #: Seconds: `prepare_s`, `model_s`, `finish_s`.
    timings: Mapping[str, float]


class Planned:
    """A network, its plan, and the engine that was chosen for it."""

    def __init__(self, fitting: Fitting, plan: Plan, network: torch.nn.Module) -> None:
        self._fitting, self._plan, self._network = fitting, plan, network.eval()
        self.way, self._notes = choose(fitting, plan, network)

    def read(self, volumes: Sequence[Volume], pulse: Pulse = STILL) -> Result:
        """Read volumes, one a channel, that lie on one grid.

        Raises:
            Unsuitable: values that are not numbers, or nothing in the foreground.
            Failed: the network fails, its answer is not usable, or memory ran out with the least, too.
            MemoryError: it ran out on a GPU, and the network cannot be moved to the CPU from here.
        """
        shape = volumes[0].grid.shape
        rungs = rungs_for(self._network, self._plan, shape)
        try:
            result, told = descend(lambda way: self.read_with(way, volumes, pulse), self.way, rungs)
        except STEP_ERRORS as error:
            # A network may raise anything over a volume of a size that it cannot take. A device that failed ends the
            # process: nothing can be computed in it any more. Where it is full the caller may turn to another.
            if is_lost(error) or is_memory(error):
                raise
            raise Failed(f"the network failed: {cause(error)}") from error
        return Result(labels=result.labels, notes=(*self._notes, *result.notes, *told), timings=result.timings)

    def read_with(self, way: Way, volumes: Sequence[Volume], pulse: Pulse = STILL) -> Result:
        """Read with an engine of the caller's choice (see `read`); lack of memory is the caller's."""
        started = time.perf_counter()
        with torch.inference_mode():
            prepared = prepare(volumes, self._plan, way.device)
            wait_for(way.device)
            led = time.perf_counter()
            shape = prepared.lattice.shape
            values = prepared.tensor[0]
            blocks = _Clocked(walk(values, way.window(shape), way.forward, batch=way.batch, pulse=pulse), way.device)
            labels = restore(blocks, prepared, self._plan)
        timings = {
            "prepare_s": led - started,
            "model_s": blocks.seconds,
            "finish_s": time.perf_counter() - led - blocks.seconds,
        }
        return Result(labels=labels, timings=timings)

    def measure(self, cases: Sequence[Path], measured_at: datetime, progress: Progress) -> EngineEvidence:
        """Try every engine on validation cases (see `node.imaging.engines.measuring`)."""
        fitting = self._fitting
        subject = Subject(
            model_digest=fitting.model_digest,
            network=self._network,
            plan=self._plan,
            device=torch.device(fitting.device),
        )

        def read(way: Way, case: int) -> tuple[NDArray[np.uint8], float]:
            result = self.read_with(way, read_case(cases[case]))
            return result.labels, result.timings["model_s"]

        return measure(subject, len(cases), read, measured_at, progress)


class _Clocked:
    """Blocks, and the seconds that were waited for them."""

    def __init__(self, blocks: Iterator[Block], device: torch.device) -> None:
        self._blocks, self._device = blocks, device
        self.seconds = 0.0

    def __iter__(self) -> Iterator[Block]:
        return self

    def __next__(self) -> Block:
        started = time.perf_counter()
        try:
            return next(self._blocks)
        finally:
            wait_for(self._device)
            self.seconds += time.perf_counter() - started
