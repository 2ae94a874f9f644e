"""How much a model disagrees with itself when it is asked in another way.

The answer is the plain one's; of an ensemble it is what the members come to together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.domain.model_card import ModelCard
from node.errors import Failed
from node.imaging import pipelines
from node.imaging.pipelines import Fitting, Given, Pulse, Reading, Runner, RunsMany
from node.imaging.tasks.classification import scores_of
from node.imaging.tasks.numbers import number_of
from node.imaging.volume import Volume

FLIPS, ENSEMBLE = "flips", "ensemble"
#: Axes of volumes may differ by this much (cosine) and still be mirrored together.
_PARALLEL = 1e-3
#: The least share that has a logarithm.
_LEAST = 1e-12
#: Numbers nearer to a threshold than this share of the largest logit, and of 1, are read alone: ten times as far as
#: answers in one pass may lie from those alone.
_NEAR = 1e-4


def members(fitting: Fitting) -> tuple[Runner, ...]:
    """Load the further members of an ensemble: each weights file after the first takes the first one's place.

    Raises:
        Misconfigured: as the pipeline's `load`.
    """
    doubt = fitting.card.uncertainty
    if doubt is None or doubt.method != ENSEMBLE:
        return ()
    load = pipelines.named(fitting.card.pipeline).load
    return tuple(load(_one(fitting, role)) for role in list(fitting.weights)[1:])


def alone(fitting: Fitting) -> Fitting:
    """The same for the first member: of an ensemble a pipeline sees one weights file."""
    doubt = fitting.card.uncertainty
    if doubt is None or doubt.method != ENSEMBLE:
        return fitting
    return _one(fitting, next(iter(fitting.weights)))


def _one(fitting: Fitting, role: str) -> Fitting:
    """The same for one member, in the first one's place."""
    first, path = next(iter(fitting.weights)), fitting.weights[role]
    if not fitting.card.is_mixed:
        return replace(fitting, weights={first: path})
    card = replace(fitting.card, architecture=fitting.card.architecture_of(role), weights=())
    # An engine was measured with the first one, and another architecture may not come to the same with it.
    return replace(fitting, card=card, weights={first: path}, evidence=None)


def read(card: ModelCard, runner: Runner, others: Sequence[Runner], given: Given, pulse: Pulse) -> Reading:
    """Have the model read, and say how far its answers lie apart where the card asks for that.

    Raises:
        Unsuitable, Failed: as `Runner.run`; a member or a mirrored input that fails fails the whole.
    """
    doubt = card.uncertainty
    if doubt is None:
        return runner.run(given, pulse)
    if doubt.method == ENSEMBLE:
        return _together(card, [each.run(given, pulse) for each in (runner, *others)])
    plain = runner.run(given, pulse)
    tally = _Tally(card)
    tally.add(plain)
    left_out = sorted(axis for axis in doubt.axes if not _mirrors(given, axis))
    usable = [axis for axis in doubt.axes if axis not in left_out]
    asked = 1
    for axes in _subsets(usable):
        tally.add(_mirrored_back(runner.run(_mirrored(given, axes), pulse), axes))
        asked += 1
    names = ("slices", "rows", "columns")
    notes = [f"Asked {asked} times, with its input mirrored, to see how far its answers lie apart."]
    if left_out:
        notes.append(f"Not mirrored along {', '.join(names[axis] for axis in left_out)}: the series lie differently.")
    return replace(plain, uncertainty=tally.disagreement(), notes=(*plain.notes, *notes))


def reads_many(card: ModelCard, runner: Runner, others: Sequence[Runner]) -> bool:
    """Whether several studies may be read in one pass: not where the card asks for mirrored inputs."""
    mirrors = card.uncertainty is not None and card.uncertainty.method != ENSEMBLE
    return not mirrors and all(isinstance(each, RunsMany) for each in (runner, *others))


def read_many(
    card: ModelCard, runner: Runner, others: Sequence[Runner], givens: Sequence[Given], pulse: Pulse
) -> list[Reading | None]:
    """Return what `read` would of each, but for the order of sums; `None` for one that has to be read alone.

    That is also one whose number lies so near to a threshold of the card that another order might move it over.
    """
    asked = [runner, *others] if card.uncertainty is not None else [runner]
    answers = [each.run_many(givens, pulse) for each in asked if isinstance(each, RunsMany)]
    readings: list[Reading | None] = []
    for of_study in zip(*answers, strict=True):
        told = [reading for reading in of_study if reading is not None]
        if len(told) < len(asked):
            readings.append(None)
            continue
        made = _together(card, told) if card.uncertainty is not None else told[0]
        largest = max((float(np.abs(each.logits).max()) for each in told if each.logits is not None), default=0.0)
        readings.append(made if _is_decided(card, made, _NEAR * max(1.0, largest)) else None)
    return readings


def _is_decided(card: ModelCard, reading: Reading, near: float) -> bool:
    """Whether no threshold that the card declares lies within what numbers come to that differ by `near`, as logits."""
    limit = None if card.uncertainty is None else card.uncertainty.doubtful_from
    if limit is not None and any(abs(each - limit) <= near for each in reading.uncertainty.values()):
        return False
    logits = reading.logits
    for target in card.targets if logits is not None else ():
        said = set()
        for sign in (-1, 1):
            moved = np.asarray(logits, np.float32) - np.float32(sign * near)
            moved[:, target.index] += 2 * sign * near
            scores = scores_of(card, moved)[:, target.index]
            told = float(scores.mean() if card.aggregate == "mean" else scores.max())
            said.add(number_of(target, told).present)
        if len(said) > 1:
            return False
    return True


@dataclass(slots=True)
class _Tally:
    """What each asking came to, as numbers: voxels a segment, or the probability of a target."""

    card: ModelCard
    rows: list[dict[int, float]] = field(default_factory=list)

    def add(self, reading: Reading) -> None:
        found: dict[int, float] = {}
        if reading.labels is not None:
            counts = np.bincount(reading.labels.ravel(), minlength=256)
            found = {segment.number: float(counts[segment.number]) for segment in self.card.segments}
        elif reading.logits is not None:
            numbers = scores_of(self.card, reading.logits).max(axis=0)
            found = {target.index: float(numbers[target.index]) for target in self.card.targets}
        else:
            for target in self.card.targets:
                scores = [box.score for box in reading.boxes if box.target == target.index]
                found[target.index] = max(scores, default=0.0)
        self.rows.append(found)

    def disagreement(self) -> dict[int, float]:
        """Coefficient of variation of a segment's voxels, or standard deviation of a target's number."""
        told = {}
        for number in self.rows[0]:
            values = np.array([row[number] for row in self.rows])
            spread = float(values.std())
            if self.card.segments:
                mean = float(values.mean())
                spread = spread / mean if mean else 0.0
            told[number] = spread
        return told


def _together(card: ModelCard, readings: Sequence[Reading]) -> Reading:
    """The members' one answer: of labels what most say, of numbers the mean; boxes are the first member's."""
    tally = _Tally(card)
    for reading in readings:
        tally.add(reading)
    first = readings[0]
    labels, logits = first.labels, first.logits
    if labels is not None:
        labels = _majority([each.labels for each in readings if each.labels is not None], card)
    elif logits is not None:
        logits = _mean([each.logits for each in readings if each.logits is not None], exclusive=card.exclusive)
    notes = dict.fromkeys(note for each in readings for note in each.notes)
    kind = "several architectures, in single precision," if card.is_mixed else "one kind"
    timings = {name: sum(each.timings.get(name, 0.0) for each in readings) for name in first.timings}
    return replace(
        first,
        labels=labels,
        logits=logits,
        uncertainty=tally.disagreement(),
        notes=(*notes, f"What {len(readings)} models of {kind} say together."),
        timings=timings,
    )


def _mean(rows: Sequence[NDArray[np.float32]], *, exclusive: bool) -> NDArray[np.float32]:
    """Mean of the logits, or of classes that exclude each other the logarithm of their mean shares."""
    if not exclusive:
        return np.asarray(np.mean(rows, axis=0, dtype=np.float32), np.float32)
    exact = [row.astype(np.float64) for row in rows]
    powers = [np.exp(row - row.max(axis=-1, keepdims=True)) for row in exact]
    shares = np.mean([each / each.sum(axis=-1, keepdims=True) for each in powers], axis=0)
    return np.asarray(np.log(np.maximum(shares, _LEAST)), np.float32)


def _majority(votes: Sequence[NDArray[np.uint8]], card: ModelCard) -> NDArray[np.uint8]:
    """The label that most members give; of equals the lower one, and the background is the lowest."""
    if len({each.shape for each in votes}) > 1:
        raise Failed("the members of the ensemble gave masks of different shapes")
    best = np.zeros(votes[0].shape, np.uint8)
    most = sum((each == 0).astype(np.uint8) for each in votes)
    for segment in sorted(card.segments, key=lambda each: each.number):
        count = sum((each == segment.number).astype(np.uint8) for each in votes)
        better = count > most
        best[better] = segment.number
        most = np.maximum(most, count)
    return best


def _subsets(axes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    ordered = sorted(set(axes))
    for count in range(1, len(ordered) + 1):
        yield from combinations(ordered, count)


def _mirrors(given: Given, axis: int) -> bool:
    """Whether mirroring along an index axis means the same for everything that is given."""
    if given.images:
        return axis in (1, 2)
    directions = [volume.grid.matrix[:3, axis] / volume.grid.spacing_mm[axis] for volume in given.volumes.values()]
    return all(np.linalg.norm(each - directions[0]) < _PARALLEL for each in directions)


def _mirrored(given: Given, axes: Sequence[int]) -> Given:
    def turned(volume: Volume) -> Volume:
        # The grid stays: the network is to see another patient, not the same one from behind.
        return replace(volume, array=_flipped(volume.array, axes))

    volumes = {role: turned(volume) for role, volume in given.volumes.items()}
    of_image = tuple(axis - 1 for axis in axes)
    images = tuple(replace(each, array=_flipped(each.array, of_image)) for each in given.images)
    return replace(given, volumes=volumes, images=images)


def _flipped(array: Any, axes: Sequence[int]) -> Any:
    return np.ascontiguousarray(np.flip(array, tuple(axes)))


def _mirrored_back(reading: Reading, axes: Sequence[int]) -> Reading:
    """Labels where they belong; logits and scores have no place."""
    if reading.labels is None:
        return reading
    return replace(reading, labels=np.flip(reading.labels, tuple(axes)))
