"""Figures of the pixels by which a model refuses an input it was not made for, before it reads.

A header may promise a whole head and the pixels be blank, cut off, upside down, or of a kind that the model never saw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray

from node.domain.gate import Figure, Gate
from node.domain.geometry import Grid
from node.domain.model_card import ModelCard
from node.errors import Unsuitable
from node.imaging.pipelines import Given

#: Looked at of each volume or image; figures of every n-th pixel along each axis are as good.
_MOST_PIXELS = 2_000_000
_BINS = 256
#: LPS: the axis that grows towards the head.
_HEADWARD = 2

Values = NDArray[np.float32]


def passed(card: ModelCard, given: Given) -> tuple[str, ...]:
    """Return one sentence a gate with the figure that it found.

    Raises:
        Unsuitable: a figure is out of its range; says all of them.
    """
    parts = [_part(volume.array, volume.grid) for volume in given.volumes.values()]
    parts += [_part(image.array[None], None) for image in given.images]
    told: list[str] = []
    against: list[str] = []
    for gate in card.gates if parts else ():
        # Of several series the worst counts; of many single images, where odd ones are common, the median.
        found = [_FIGURES[gate.figure](part, gate) for part in parts]
        value = _worst(gate, found) if given.volumes else median(found)
        (told if _holds(gate, value) else against).append(_said(gate, value))
    if against:
        raise Unsuitable("; ".join(against))
    return tuple(f"{sentence}." for sentence in told)


class _Part:
    """Every n-th pixel of one volume or image, (slice, row, column)."""

    def __init__(self, values: Values, grid: Grid | None) -> None:
        self.values = values
        #: Index axis and sign along which the patient's head lies; rows from below where there is no place in space.
        self.headward = _headward(grid)
        self.body = values > _threshold(values)


def _part(array: NDArray[np.generic], grid: Grid | None) -> _Part:
    if array.ndim == 4:
        array = array.mean(axis=-1)  # colours
    step = max(1, int(np.ceil((array.size / _MOST_PIXELS) ** (1 / 3))))
    slices = step if len(array) > step else 1
    return _Part(np.asarray(array[::slices, ::step, ::step], np.float32), grid)


def _headward(grid: Grid | None) -> tuple[int, int]:
    if grid is None:
        return 1, -1
    towards = grid.matrix[_HEADWARD, :3] / grid.spacing_mm
    axis = int(np.argmax(np.abs(towards)))
    return axis, 1 if towards[axis] > 0 else -1


def _threshold(values: Values) -> float:
    """Otsu's threshold (IEEE Trans Syst Man Cybern 1979;9:62) between what is dark and what is bright."""
    low, high = (float(value) for value in np.percentile(values, (0.5, 99.5)))
    if not high > low:
        return high
    counts, edges = np.histogram(np.clip(values, low, high), bins=_BINS, range=(low, high))
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:][int(np.nanargmax(between[:-1]))])


def _most_common_share(part: _Part, _gate: Gate) -> float:
    _, counts = np.unique(part.values, return_counts=True)
    return float(counts.max() / part.values.size)


def _spread(part: _Part, _gate: Gate) -> float:
    low, high = np.percentile(part.values, (1, 99))
    return float(high - low)


def _body_share(part: _Part, _gate: Gate) -> float:
    return float(part.body.mean())


def _cut_share(part: _Part, _gate: Gate) -> float:
    body = part.body
    return float(max(body[:, 0].mean(), body[:, -1].mean(), body[:, :, 0].mean(), body[:, :, -1].mean()))


def _headward_share(part: _Part, _gate: Gate) -> float:
    axis, sign = part.headward
    along = np.moveaxis(part.body, axis, 0)[::sign].sum(axis=(1, 2), dtype=np.float64)
    half = len(along) // 2
    # The middle slice of an odd number belongs to neither half.
    feet, head = along[:half].sum(), along[len(along) - half :].sum()
    return float(head / (feet + head)) if feet + head else 0.5


def _intensity_distance(part: _Part, gate: Gate) -> float:
    found = np.percentile(part.values, [each.percentile for each in gate.reference])
    scores = [(value - each.mean) / each.deviation for value, each in zip(found, gate.reference, strict=True)]
    return float(np.sqrt(np.mean(np.square(scores))))


_FIGURES: dict[Figure, Callable[[_Part, Gate], float]] = {
    Figure.MOST_COMMON_SHARE: _most_common_share,
    Figure.SPREAD: _spread,
    Figure.BODY_SHARE: _body_share,
    Figure.CUT_SHARE: _cut_share,
    Figure.HEADWARD_SHARE: _headward_share,
    Figure.INTENSITY_DISTANCE: _intensity_distance,
}


def _holds(gate: Gate, value: float) -> bool:
    # Not a number is in no range.
    above = gate.at_least is None or value >= gate.at_least
    below = gate.at_most is None or value <= gate.at_most
    return above and below and bool(np.isfinite(value))


def _worst(gate: Gate, found: Sequence[float]) -> float:
    return next((value for value in found if not _holds(gate, value)), found[0])


def _said(gate: Gate, value: float) -> str:
    shown = f"{value:.3g}"
    if gate.because and not _holds(gate, value):
        return gate.because.replace("{value}", shown).strip().rstrip(".")
    least = [f"at least {gate.at_least:g}"] if gate.at_least is not None else []
    most = [f"at most {gate.at_most:g}"] if gate.at_most is not None else []
    return f"{gate.figure.replace('_', ' ').capitalize()} of the pixels {shown} ({', '.join(least + most)})"
