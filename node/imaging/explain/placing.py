"""From what a network saw to where that lies in the source, and back from a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from node.domain.geometry import to_patient
from node.imaging.explain import Prepared
from node.imaging.resample import Ranges, cover, part, resample


def one_window(prepared: Prepared, centre: Sequence[float] | None) -> Prepared:
    """Return the window of the network's own size around `centre`, with zeros where the input ends.

    centre: index (slice, row, column) in what was given, `None` for the middle. Where the network saw everything at
    once, everything is returned.
    """
    if not prepared.window:
        return prepared
    spatial = tuple(prepared.inputs.shape[2:])
    middle = [(size - 1) / 2 for size in prepared.given.shape] if centre is None else list(centre)
    there = to_patient(prepared.given.matrix, np.array(middle))
    index = to_patient(np.linalg.inv(prepared.placed.matrix).astype(np.float64), there)[-len(spatial) :]
    ranges: list[tuple[int, int]] = []
    for at, size, window in zip(index, spatial, prepared.window, strict=True):
        # Inside the input as far as that is large enough, else with the input in its middle.
        start = (
            int(np.clip(round(float(at)) - window // 2, 0, size - window)) if size > window else (size - window) // 2
        )
        ranges.append((start, start + window))
    inputs = _cut(prepared.inputs, ranges)
    whole: Ranges = ((0, 1), *ranges) if len(ranges) == 2 else tuple(ranges)  # type: ignore[assignment]
    return replace(prepared, inputs=inputs, placed=part(prepared.placed, whole), window=())


def _cut(inputs: torch.Tensor, ranges: Sequence[tuple[int, int]]) -> torch.Tensor:
    padding: list[int] = []
    for size, (start, stop) in zip(inputs.shape[2:], ranges, strict=True):
        padding = [max(0, -start), max(0, stop - size), *padding]
    # `pad` counts from the last axis.
    padded = torch.nn.functional.pad(inputs, padding) if any(padding) else inputs
    for axis, (start, stop) in enumerate(ranges):
        padded = padded.narrow(axis + 2, max(0, start), stop - start)
    return padded.contiguous()


def at_source(weights: torch.Tensor, prepared: Prepared) -> NDArray[np.float32]:
    """Return a map over the input's spatial axes on what was given, (slice, row, column) float32; 0 outside."""
    values = weights.detach().float().cpu().reshape(prepared.placed.shape).contiguous()
    ranges = cover(prepared.given, prepared.placed)
    placed = np.zeros(prepared.given.shape, dtype=np.float32)
    where = tuple(slice(start, stop) for start, stop in ranges)
    if placed[where].size:
        found = resample(values, prepared.placed, part(prepared.given, ranges), outside=0.0)
        placed[where] = found.numpy()
    return placed


def centre_of(labels: NDArray[np.uint8], number: int) -> tuple[float, float, float] | None:
    """The mean index of a segment's voxels, (slice, row, column); `None` where it has none."""
    found = np.nonzero(labels == number)
    if not len(found[0]):
        return None
    return float(found[0].mean()), float(found[1].mean()), float(found[2].mean())
