"""From volumes to what a network is given, as a plan says: MONAI's values on MONAI's grid, without its copies.

The source stays int16; a few of its slices at a time become floating point, are sampled along rows, columns and
slices, one axis after the other, and go through the first steps on values while they are still in the cache.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from node.domain.geometry import Grid
from node.errors import Unsuitable
from node.imaging.bundle.plan import CropForeground, NotUnderstood, Pad, Plan, Scale, Standardise, Step
from node.imaging.cores import shares, spread, undivided
from node.imaging.preparation.lattice import Lattice, lattice_of
from node.imaging.preparation.taps import Taps, along, linear, nearest
from node.imaging.preparation.values import Change, ValueStep, apply, change_of, split
from node.imaging.resample import resample
from node.imaging.shading import Values
from node.imaging.volume import Volume

#: Voxels of the source that are floating point at once, on a CPU: they stay in its cache.
_SLAB_VOXELS = 1 << 19
#: Slices of the source that are floating point at once elsewhere.
_DEVICE_SLAB = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """What the network is given, and how its answer finds back."""

    #: (1, channel, …) float32 with the network's axes, in any memory layout.
    tensor: torch.Tensor
    lattice: Lattice

    @property
    def network_grid(self) -> Grid:
        """The grid of the tensor, LPS."""
        return self.lattice.grid


def prepare(volumes: Sequence[Volume], plan: Plan, device: str | torch.device = "cpu") -> Prepared:
    """Bring volumes, one a channel, to the network's grid and values; those on another grid first to the first one's.

    Raises:
        Unsuitable: values that are not numbers, or nothing in the foreground that is to be cut out.
        NotUnderstood: the slices are shifted against each other; or what is not zero is to be standardised, and
            rounding alone says what that is.
    """
    place = torch.device(device)
    with undivided() as cores:
        return _prepared(volumes, plan, place, cores if place.type == "cpu" else 1)


def _prepared(volumes: Sequence[Volume], plan: Plan, place: torch.device, cores: int) -> Prepared:
    lattice = lattice_of(volumes[0].grid, plan.steps)
    before, after = split(plan.steps)
    if lattice.leaves_zeros_to_chance and any(isinstance(step, Standardise) and step.nonzero for step in after):
        raise NotUnderstood("which of the resampled values are zero is chance")
    # The network's axes in the order of the source's memory.
    order = lattice.order
    whole = torch.empty((len(volumes), *(lattice.axes[axis].size for axis in order)), device=place)
    pointwise = _leading(after)
    first = [change_of(step, tuple) for step in pointwise]
    sources = [_on_first(volume, volumes[0].grid, place) for volume in volumes]
    for source, changes, into in zip(sources, _changes(before, sources), whole, strict=True):
        _sample(source, changes, lattice, into, first, cores)
    if any(volume.array.dtype != np.int16 for volume in volumes) and not bool(torch.isfinite(whole.sum())):
        raise Unsuitable("the volume holds values that are not numbers")
    back = [order.index(axis) + 1 for axis in range(3)]
    tensor = whole.permute(0, *back)
    return _finished(tensor, lattice, after[len(pointwise) :])


def _leading(steps: Sequence[object]) -> list[Scale]:
    """The steps that need to see one voxel only, up to the first that needs more."""
    count = next((place for place, step in enumerate(steps) if not isinstance(step, Scale)), len(steps))
    return [step for step in steps[:count] if isinstance(step, Scale)]


def _on_first(volume: Volume, grid: Grid, device: torch.device) -> torch.Tensor:
    """The values of a volume on the first one's grid, as they are where it has the same."""
    values = _shared(volume.array).to(device)
    if volume.grid.coincides_with(grid):
        return values
    return resample(values.float(), volume.grid, grid, outside=float(values.min()))


def _shared(array: Values) -> torch.Tensor:
    """The array as a tensor, in the same memory; nothing here writes to it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable", category=UserWarning)
        return torch.from_numpy(array)


def _changes(before: Sequence[ValueStep], sources: Sequence[torch.Tensor]) -> list[list[Change]]:
    """Return for each channel what is done to its values before they are sampled."""
    changes: list[list[Change]] = [[] for _ in sources]

    def parts(chosen: Sequence[int]) -> Iterator[torch.Tensor]:
        for channel in chosen:
            for _, slab in _slabs(sources[channel], np.arange(len(sources[channel])), tuple(changes[channel])):
                yield slab

    every = range(len(sources))
    for step in before:
        by_channel = not isinstance(step, Scale) and step.channel_wise
        for chosen in [[channel] for channel in every] if by_channel else [list(every)]:
            change = change_of(step, partial(parts, chosen))
            for channel in chosen:
                changes[channel].append(change)
    return changes


def _slabs(
    source: torch.Tensor, used: NDArray[np.int64], changes: Sequence[Change]
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield some of the used slices after the other as a floating copy, and which of the used ones is the first."""
    depth = max(1, _SLAB_VOXELS // (source.shape[1] * source.shape[2])) if source.device.type == "cpu" else _DEVICE_SLAB
    for start in range(0, len(used), depth):
        chosen = used[start : start + depth]
        slab = torch.empty((len(chosen), *source.shape[1:]), device=source.device)
        if chosen[-1] - chosen[0] == len(chosen) - 1:
            slab.copy_(source[int(chosen[0]) : int(chosen[-1]) + 1])
        else:
            slab.copy_(source[torch.from_numpy(chosen).to(source.device)])
        for change in changes:
            change(slab)
        yield start, slab


def _sample(
    source: torch.Tensor,
    before: Sequence[Change],
    lattice: Lattice,
    into: torch.Tensor,
    after: Sequence[Change],
    cores: int,
) -> None:
    """Fill `into`, (slice, row, column) of the lattice; do what is to be done before and after on each part of it."""
    sample = nearest if lattice.nearest else linear
    slices, rows, columns = (
        sample(axis.positions(), axis.source_size, border=lattice.border)
        for axis in (lattice.axes[place] for place in lattice.order)
    )

    def fill(chosen: slice) -> None:
        _fill(source, before, (slices.part(chosen), rows, columns), into[chosen], after)

    spread(fill, shares(len(slices), cores), cores)


def _fill(
    source: torch.Tensor,
    before: Sequence[Change],
    taps: tuple[Taps, Taps, Taps],
    into: torch.Tensor,
    after: Sequence[Change],
) -> None:
    """Fill some slices of the lattice, one source slice after the other."""
    slices, rows, columns = taps
    used = np.union1d(slices.low, slices.high)
    slices = replace(slices, low=np.searchsorted(used, slices.low), high=np.searchsorted(used, slices.high))
    last: torch.Tensor | None = None
    for start, slab in _slabs(source, used, before):
        plane = along(along(slab, 1, rows), 2, columns)
        if last is not None:
            plane = torch.cat((last, plane))
        first = start - (last is not None)
        done = np.flatnonzero((slices.high >= start) & (slices.high < start + len(slab)))
        if len(done):
            chosen = slice(int(done[0]), int(done[-1]) + 1)
            into[chosen] = along(plane, 0, slices.part(chosen, first))
            for change in after:
                change(into[chosen])
        last = plane[-1:].clone()


def _finished(tensor: torch.Tensor, lattice: Lattice, steps: Sequence[Step]) -> Prepared:
    """Do what is left once the volume is on its grid; (channel, …) with the network's axes."""
    for step in steps:
        if isinstance(step, CropForeground):
            starts, counts = _foreground(tensor, step)
            lattice = lattice.cut(starts, counts)
            (a, b, c), (i, j, k) = starts, counts
            tensor = tensor[:, a : a + i, b : b + j, c : c + k]
        elif isinstance(step, Pad):
            more = [max(0, wanted - size) for wanted, size in zip(step.size, lattice.shape, strict=True)]
            front = [extra // 2 if step.both_sides else 0 for extra in more]
            counts = [size + extra for size, extra in zip(lattice.shape, more, strict=True)]
            lattice = lattice.cut([-extra for extra in front], counts)
            ends = [(front[axis], more[axis] - front[axis]) for axis in (2, 1, 0)]
            tensor = torch.nn.functional.pad(tensor, [end for pair in ends for end in pair], value=step.value)
        elif isinstance(step, ValueStep):
            apply(step, tensor)
    return Prepared(tensor=tensor[None], lattice=lattice)


def _foreground(tensor: torch.Tensor, step: CropForeground) -> tuple[list[int], list[int]]:
    """Return where the box begins and how many voxels it has, along each axis."""
    starts, counts = [], []
    found = torch.zeros(tensor.shape[1:], dtype=torch.bool, device=tensor.device)
    for channel in tensor:
        found |= channel > 0
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        filled = torch.nonzero(found.any(dim=others[1]).any(dim=others[0]))
        if not len(filled):
            raise Unsuitable("no voxel is in the foreground that the model looks at")
        low = max(0, int(filled[0]) - step.margin)
        starts.append(low)
        counts.append(min(tensor.shape[axis + 1], int(filled[-1]) + 1 + step.margin) - low)
    return starts, counts
