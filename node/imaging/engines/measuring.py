"""The measurement by which an engine is chosen: each one on the model's validation cases, beside single precision."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray

from node.domain.engine import LEAST_DICE, PLAIN, EngineEvidence, Trial
from node.errors import Failed, first_line
from node.imaging.bundle.plan import Plan
from node.imaging.device import is_lost, is_memory
from node.imaging.engines import Way, named, names
from node.imaging.engines.choice import BUILD_ERRORS, built, here

#: Runs a way over one case: labels on the case's grid, and the seconds of network and stitching.
Read = Callable[[Way, int], tuple[NDArray[np.uint8], float]]
#: Told of each engine before it is tried: its name, how many are done, how many there are.
Progress = Callable[[str, int, int], None]

#: What is recorded leaves the GPU's streams unsettled where it fails.
_LAST = "cuda-graph"
#: A model that takes longer to be built is not up again in time after a restart.
_LONGEST_BUILD_S = 60.0
#: Each case is read so often; the quickest counts.
_ROUNDS = 2


@runtime_checkable
class CanBeMeasured(Protocol):
    """A runner that has more than one way to compute."""

    def measure(self, cases: Sequence[Path], measured_at: datetime, progress: Progress) -> EngineEvidence:
        """Try every engine on the files of validation cases.

        Raises:
            Failed: this model has one way alone, there are no cases, or single precision cannot read one.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The network that is measured."""

    model_digest: str
    network: torch.nn.Module
    plan: Plan
    device: torch.device


def measure(
    subject: Subject, cases: int, read: Read, measured_at: datetime, progress: Progress = lambda *_: None
) -> EngineEvidence:
    """Try every engine on all cases.

    Raises:
        Failed: there are no cases, or single precision itself cannot read one.
    """
    if cases < 1:
        raise Failed("the model has no validation cases: it runs in single precision")
    every = sorted(names(), key=lambda name: name == _LAST)
    trials, expected = list[Trial](), list[NDArray[np.uint8]]()
    for number, name in enumerate(every):
        progress(name, number, len(every))
        trials.append(_tried(subject, name, cases, read, expected))
        if name == PLAIN and trials[-1].problem:
            raise Failed(f"single precision cannot read the validation cases: {trials[-1].problem}")
    passed = [each for each in trials if not each.problem]
    now = here(subject.device)
    return EngineEvidence(
        model_digest=subject.model_digest,
        device=subject.device.type,
        device_name=now.device_name,
        threads=now.threads,
        versions=now.versions,
        measured_at=measured_at.isoformat(timespec="seconds"),
        cases=cases,
        chosen=min(passed, key=lambda each: each.seconds).engine,
        trials=tuple(trials),
    )


def dice(labels: NDArray[np.uint8], expected: NDArray[np.uint8]) -> dict[int, float]:
    """Return the Dice of every label, but the background, that either of two masks holds.

    Masks are (slice, row, column), or (region, slice, row, column): of several regions, number `n` counts as label `n`.
    """
    if labels.ndim == 4 and len(labels) > 1:
        each = [dice(*pair).get(1) for pair in zip(labels, expected, strict=True)]
        return {number: found for number, found in enumerate(each, start=1) if found is not None}
    sizes = np.bincount(labels.ravel(), minlength=256) + np.bincount(expected.ravel(), minlength=256)
    common = np.bincount(labels[labels == expected], minlength=256)
    return {int(label): float(2 * common[label] / sizes[label]) for label in np.flatnonzero(sizes) if label}


def _tried(subject: Subject, name: str, cases: int, read: Read, expected: list[NDArray[np.uint8]]) -> Trial:
    """Build one engine and read all cases with it; the plain one, which is first, fills `expected`."""
    engine = named(name)
    problem = engine.available(subject.device)
    if problem:
        return Trial(engine=name, problem=problem)
    try:
        began_s = time.monotonic()
        way = built(engine, subject.network, subject.plan, subject.device)
        built_s = time.monotonic() - began_s
        if built_s > _LONGEST_BUILD_S and name != PLAIN:
            return Trial(engine=name, problem=f"building it takes {built_s:.0f} s at each start")
        trial = Trial(engine=name, dtype=way.dtype, batch=way.batch)
        return _compared(subject, way, trial, cases, read, expected)
    except Failed as error:
        return Trial(engine=name, problem=str(error))
    except (*BUILD_ERRORS, MemoryError) as error:
        if is_lost(error):
            raise
        return Trial(engine=name, problem="memory ran out" if is_memory(error) else first_line(error))


def _compared(
    subject: Subject, way: Way, trial: Trial, cases: int, read: Read, expected: list[NDArray[np.uint8]]
) -> Trial:
    seconds, worst = 0.0, dict[int, float]()
    way = _tuned(way, lambda each: read(each, 0)[1])
    _forget_peak(subject.device)
    for case in range(cases):
        runs = [read(way, case) for _ in range(_ROUNDS)]
        seconds += min(taken for _, taken in runs)
        labels = runs[0][0]
        if trial.engine == PLAIN:
            expected.append(labels)
        for label, found in dice(labels, expected[case]).items():
            worst[label] = min(found, worst.get(label, 1.0))
    bad = [f"{label}: {found:.4f}" for label, found in sorted(worst.items()) if found < LEAST_DICE]
    problem = f"other labels than single precision (Dice of label {', '.join(bad[:3])})" if bad else ""
    peak = _peak(subject.device)
    return replace(trial, batch=way.batch, seconds=round(seconds, 4), peak_bytes=peak, dice=worst, problem=problem)


def _tuned(way: Way, seconds_of: Callable[[Way], float]) -> Way:
    """The way with the number of windows at once that is quickest: all that it would take, or half of them."""
    if way.batch <= 1 or way.fixed:
        # Not only unlikely to win: some are made for one window alone.
        return way
    seconds_of(way)
    return min((replace(way, batch=each) for each in (way.batch, way.batch // 2)), key=seconds_of)


def _forget_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew: proc(5)


def _peak(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), 0)
