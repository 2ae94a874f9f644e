"""The walk of windows over a volume: the positions, weights and padding of MONAI's `sliding_window_inference`.

What is finished is handed on at once, block by block, and its memory used again: beside the volume only one row of
windows is held, and what the next layer of windows still adds to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import torch

from node.errors import Failed
from node.imaging.bundle.plan import Blend, Window
from node.imaging.pipelines import STILL, Pulse

#: Windows (n, channel, …) → answers (n, class, …) of the same extent, any floating type.
Forward = Callable[[torch.Tensor], torch.Tensor]
Triple = tuple[int, int, int]

#: Least weight of a voxel in a window, as MONAI has it.
_LEAST_WEIGHT = 1e-3
#: Classes of an answer that are copied at once.
_CLASSES_AT_ONCE = 16
#: MONAI's standard deviation of the weights where none is given, as a share of the window.
_SIGMA_SCALE = 0.125


@dataclass(frozen=True, slots=True)
class Block:
    """A finished part of the answer: all columns of some slices and rows of the volume."""

    #: First slice and row.
    start: tuple[int, int]
    #: (class, slice, row, column) float32; overwritten as soon as the next block is asked for.
    scores: torch.Tensor


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the windows lie."""

    #: Extent of a window.
    roi: Triple
    #: Extent of the volume, padded.
    padded: Triple
    #: Voxels before the volume along each axis.
    before: Triple
    #: First indices of the windows along each axis, ascending.
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    @property
    def count(self) -> int:
        """How many windows there are."""
        return len(self.starts[0]) * len(self.starts[1]) * len(self.starts[2])


def layout(shape: Sequence[int], window: Window) -> Layout:
    """Lay windows over a volume of `shape`, (slice, row, column) or whatever the network calls its axes."""
    rois, overlaps = list(window.roi or (0,) * 3), list(window.overlap or (0.0,) * len(window.roi or (0,) * 3))
    if window.slice_axis is not None:
        rois.insert(window.slice_axis, 1)
        overlaps.insert(window.slice_axis, 0.0)
    roi = [size if wanted <= 0 else wanted for size, wanted in zip(shape, rois, strict=True)]
    padded = [max(size, extent) for size, extent in zip(shape, roi, strict=True)]
    starts = [_starts(*axis) for axis in zip(padded, roi, overlaps, strict=True)]
    before = [(extent - size) // 2 for extent, size in zip(padded, shape, strict=True)]
    return Layout(_triple(roi), _triple(padded), _triple(before), (starts[0], starts[1], starts[2]))


def walk(
    values: torch.Tensor, window: Window, forward: Forward, *, batch: int = 0, pulse: Pulse = STILL
) -> Iterator[Block]:
    """Lead a network over `values`, (channel, slice, row, column) float32, and yield what is finished.

    Blocks come in the order of their first slice and row and make up the volume. `batch` windows, or as many as the
    window says, are given to the network at once; `pulse` is called before each batch.

    Raises:
        Failed: the network's answer is of another extent than the window, or not finite.
    """
    lay, batch = layout(values.shape[1:], window), batch or window.batch
    padded = _padded(values, lay, window)
    flat = None if window.slice_axis is None else window.slice_axis + 2
    corners = list(product(*lay.starts))
    stitch: _Stitch | None = None
    sound = _Sound(values.device)
    for first in range(0, len(corners), batch):
        pulse.beat(first, len(corners))
        chosen = corners[first : first + batch]
        windows = torch.stack([_cut(padded, corner, lay.roi) for corner in chosen])
        with torch.no_grad():
            answers = forward(windows if flat is None else windows.squeeze(flat))
        answers = answers if flat is None else answers.unsqueeze(flat)
        _check_extent(answers, (len(chosen), *lay.roi))
        sound.add(answers)
        if stitch is None:
            stitch = _Stitch(lay, window, values.shape[1:], answers.shape[1], values.device)
        for number, corner in enumerate(chosen):
            yield from stitch.add(corner, answers[number])
        # Nothing of this answer may be left while the next one is computed: of a hundred classes it is a large part.
        del answers, windows
    if stitch is not None:
        yield from stitch.end()
    sound.check()
    pulse.beat(len(corners), len(corners))


def importance(window: Window, roi: Triple) -> torch.Tensor:
    """Return the weight of each voxel of a window: (slice, row, column) float32."""
    weights = torch.ones(roi)
    if window.blend is Blend.CONSTANT:
        return weights
    axes = [axis for axis in range(3) if axis != window.slice_axis]
    scales = window.sigma_scale or (_SIGMA_SCALE,)
    for axis, scale in zip(axes, scales * len(axes) if len(scales) == 1 else scales, strict=True):
        size = roi[axis]
        where = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        bell = torch.exp(where**2 / (-2 * (size * scale) ** 2))
        weights *= bell.reshape([size if each == axis else 1 for each in range(3)])
    return weights.clamp_(min=max(float(weights.min()), _LEAST_WEIGHT))


class _Stitch:
    """Sums of weighted answers: of one row of windows, and of what the next layer of windows adds to."""

    def __init__(self, lay: Layout, window: Window, shape: Sequence[int], classes: int, device: torch.device) -> None:
        self._lay, self._shape, self._classes = lay, shape, classes
        self._weights = importance(window, lay.roi).to(device)
        self._even = window.blend is Blend.CONSTANT
        depth, rows, _ = lay.roi
        columns = lay.padded[2]
        # The last channel is the sum of the weights.
        self._row = torch.zeros((classes + 1, depth, rows, columns), device=device)
        # First row of the volume → sums that this and the next layer of windows begin with.
        self._carried: dict[int, torch.Tensor] = {}
        self._coming: dict[int, torch.Tensor] = {}
        self._cuts = sorted({start + rows for start in lay.starts[1]})
        self._at: tuple[int, int] | None = None

    def add(self, corner: Triple, answer: torch.Tensor) -> Iterator[Block]:
        """Add the answer, (class, slice, row, column), of the window at `corner`; yield what that finishes."""
        place = (corner[0], corner[1])
        if place != self._at:
            if self._at is not None:
                yield from self._finish(place)
            self._at = place
        part = self._row[..., corner[2] : corner[2] + self._lay.roi[2]]
        for some in range(0, self._classes, _CLASSES_AT_ONCE):
            classes = slice(some, min(some + _CLASSES_AT_ONCE, self._classes))
            # Answers with channels last would be added voxel by voxel: first in the order in which the sums lie.
            ordered = answer[classes].contiguous()
            if self._even:
                part[classes] += ordered
            else:
                part[classes].addcmul_(ordered.float(), self._weights)
        part[-1] += self._weights

    def end(self) -> Iterator[Block]:
        """Yield what is left."""
        yield from self._finish(None)

    def _finish(self, following: tuple[int, int] | None) -> Iterator[Block]:
        """Yield the block that no further window reaches, keep the sums that others reach, and go on to `following`."""
        assert self._at is not None
        (first, top), (depth, rows, _) = self._at, self._lay.roi
        bottom = following[1] if following is not None and following[1] > top else self._lay.padded[1]
        later = [start for start in self._lay.starts[0] if start > first]
        stop = later[0] if later else self._lay.padded[0]
        done, shared = stop - first, max(0, first + depth - stop)
        if shared:
            self._carry(top, self._row[:, done:, : bottom - top])
        sums = self._row[:, :done, : bottom - top]
        scores = sums[:-1].div_(sums[-1:].clone())
        block = self._cropped(Block((first, top), scores))
        if block is not None:
            yield block
        if following is None:
            return
        kept = rows - (bottom - top) if following[0] == first else 0
        for channel in range(len(self._row)):
            # A copy of one class at a time: source and target overlap.
            self._row[channel, :, :kept] = self._row[channel, :, rows - kept :].clone()
        self._row[:, :, kept:] = 0
        if following[0] != first:
            self._carried, self._coming = self._coming, {}
        for row in [row for row in self._carried if row < following[1] + rows]:
            sums = self._carried.pop(row)
            at = row - following[1]
            self._row[:, : sums.shape[1], at : at + sums.shape[2]] = sums

    def _carry(self, top: int, sums: torch.Tensor) -> None:
        """Keep sums that begin at row `top`, cut where the next layer takes them: each is free once it is taken."""
        cuts = [cut - top for cut in self._cuts if 0 < cut - top < sums.shape[2]]
        for low, high in pairwise((0, *cuts, sums.shape[2])):
            self._coming[top + low] = sums[:, :, low:high].clone()

    def _cropped(self, block: Block) -> Block | None:
        """The part of the block that lies in the volume, in its indices."""
        ranges = []
        for axis, start in enumerate((*block.start, 0)):
            low = self._lay.before[axis]
            stop = start + block.scores.shape[axis + 1]
            ranges.append((max(start, low) - start, min(stop, low + self._shape[axis]) - start))
        if any(low >= high for low, high in ranges):
            return None
        place = [start + low - pad for start, (low, _), pad in zip(block.start, ranges, self._lay.before, strict=False)]
        parts = tuple(slice(low, high) for low, high in ranges)
        return Block((place[0], place[1]), block.scores[(slice(None), *parts)])


def _starts(size: int, extent: int, overlap: float) -> tuple[int, ...]:
    """First indices of windows of `extent` along an axis of `size`; the last one is moved back to fit."""
    step = extent if extent == size else max(1, int(extent * (1 - overlap)))
    starts = [0]
    while starts[-1] + extent < size:
        starts.append(min(len(starts) * step, size - extent))
    return tuple(starts)


def _padded(values: torch.Tensor, lay: Layout, window: Window) -> torch.Tensor:
    """`values` with the axes that are shorter than the window filled evenly on both sides."""
    pads: list[int] = []
    for size, extent in reversed(list(zip(values.shape[1:], lay.padded, strict=True))):
        pads += [(extent - size) // 2, extent - size - (extent - size) // 2]
    if not any(pads):
        return values
    fill = window.padding_value if window.padding == "constant" else None
    return torch.nn.functional.pad(values[None], pads, mode=window.padding, value=fill)[0]


def _cut(padded: torch.Tensor, corner: Triple, roi: Triple) -> torch.Tensor:
    (a, b, c), (d, e, f) = corner, roi
    return padded[:, a : a + d, b : b + e, c : c + f]


class _Sound:
    """Whether all answers were numbers: said at once on a CPU.

    Elsewhere the host would wait for every answer before it could ask for the next one: there it is said in the end.
    """

    def __init__(self, device: torch.device) -> None:
        self._total = torch.zeros((), device=device)

    def add(self, answers: torch.Tensor) -> None:
        """Take the answers of one batch."""
        # What is not a number, and what is infinite, is no number times 0 either, and stays so in every sum.
        self._total += answers.sum(dtype=torch.float32) * 0
        if self._total.device.type == "cpu":
            self.check()

    def check(self) -> None:
        """Raise if any answer so far was not sound."""
        if not torch.isfinite(self._total):
            raise Failed("the network gave values that are not numbers (NaN or infinite)")


def _check_extent(answers: torch.Tensor, expected: tuple[int, ...]) -> None:
    if answers.ndim != 5 or (answers.shape[0], *answers.shape[2:]) != expected:
        raise Failed(f"the network gave an output of shape {tuple(answers.shape)} for windows of {expected[1:]}")


def _triple(sizes: Sequence[int]) -> Triple:
    a, b, c = sizes
    return a, b, c
