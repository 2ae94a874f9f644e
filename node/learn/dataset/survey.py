"""One look at every case of a data set: each file is really decoded, once, and what it shows is kept in few numbers."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn.case import Case, Dataset, Pixels, region_of
from node.learn.dataset.problems import Gravity, Problem
from node.learn.dataset.thumbnails import thumbnail_of

#: Values that are kept of all cases together, by which percentiles are told.
_SAMPLED = 20_000_000
#: Values that are kept of one channel of a case at least and at most.
_LEAST, _MOST = 64, 4096
_THREADS = 8

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """One label of one mask."""

    label: int
    #: Pixels or voxels that have it.
    count: int
    #: Of volumes.
    volume_ml: float | None
    #: (low, high) along each axis in index units: the smallest box around it.
    edges: tuple[tuple[int, int], ...]
    #: Some of the values under it, evenly taken: (channel, value) float32.
    sample: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one case shows."""

    key: str
    #: SHA-256 of the decoded pixels with their type and shape.
    digest: str
    #: SHA-256 of what is true: the label, the mask or the boxes.
    truth_digest: str
    #: (row, column), or (slice, row, column).
    shape: tuple[int, ...]
    channels: int
    #: Along (slice, row, column); empty for pictures.
    spacing_mm: tuple[float, ...]
    minimum: float
    maximum: float
    #: Every value is a number.
    is_finite: bool
    #: Some of the values, evenly taken: (channel, value) float32.
    sample: NDArray[np.float32]
    #: Of a segmentation: the labels that occur, in their order.
    regions: tuple[Region, ...] = ()
    #: Of a detection: how many there are.
    boxes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """All cases that could be read."""

    source: Path
    task: Task
    classes: tuple[str, ...]
    #: The cases that were read, and what each shows: in the same order, sorted by key.
    cases: tuple[Case, ...]
    sights: tuple[Sight, ...]
    #: (case, value) float32: thumbnails of mean 0 and length 1; all 0 where an image is constant.
    thumbnails: NDArray[np.float32]
    #: Cases that could not be read, and masks of cases that could not.
    problems: tuple[Problem, ...] = field(default=())

    @property
    def digest(self) -> str:
        """SHA-256 over the keys, labels and pixels of all cases: what a split file is bound to."""
        lines = (f"{each.key}\0{each.digest}\0{each.truth_digest}\n" for each in self.sights)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def survey(dataset: Dataset, *, thumbnail: int = 48, progress: Progress | None = None) -> Survey:
    """Decode every case once, in parallel threads; `progress` is called with (done, of so many).

    Cases that cannot be read become problems of the result, one for each kind of reason; so do the masks of cases
    that are classified, of which no training makes use.
    """
    cases = dataset.cases
    size = min(_MOST, max(_LEAST, _SAMPLED // max(1, len(cases))))

    def look(case: Case) -> tuple[Sight, NDArray[np.float32], str] | Misconfigured:
        try:
            pixels = dataset.read(case)
        except Misconfigured as error:
            return error
        small = thumbnail_of(_array(pixels), thumbnail, is_volume=pixels.volume is not None)
        return _sight(case, pixels, size), small, _wrong_mask(dataset, case)

    kept: list[Case] = []
    sights: list[Sight] = []
    thumbnails: list[NDArray[np.float32]] = []
    damaged: dict[str, list[str]] = {}
    masks: list[str] = []
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as threads:
        for done, (case, seen) in enumerate(zip(cases, threads.map(look, cases), strict=True), 1):
            if isinstance(seen, Misconfigured):
                # Reasons that differ only in their figures are one kind.
                damaged.setdefault(re.sub(r"[\d.]+", "", seen.problem), []).append(f"{case.key} ({seen.problem})")
            else:
                kept.append(case)
                sights.append(seen[0])
                thumbnails.append(seen[1])
                masks += [seen[2]] if seen[2] else []
            if progress is not None:
                progress(done, len(cases))
    return Survey(
        source=dataset.source,
        task=dataset.task,
        classes=dataset.classes,
        cases=tuple(kept),
        sights=tuple(sights),
        thumbnails=_stacked(thumbnails),
        problems=(*_unreadable(damaged), *_unusable(masks)),
    )


def _unreadable(damaged: Mapping[str, list[str]]) -> Iterator[Problem]:
    for names in damaged.values():
        fault, remedy = "cases that cannot be read", "Replace the files, or take them out"
        yield Problem(fault=fault, names=tuple(names), remedy=remedy)


def _unusable(masks: list[str]) -> Iterator[Problem]:
    if masks:
        fault = "masks that explanations cannot be held against"
        remedy = "Draw them anew on the grid of their picture; the training does without them"
        yield Problem(fault=fault, names=tuple(masks), remedy=remedy, gravity=Gravity.WARNING)


def _wrong_mask(dataset: Dataset, case: Case) -> str:
    """What is wrong with the masks of a case that is classified; empty: nothing, or there are none."""
    try:
        region_of(dataset, case)
    except Misconfigured as error:
        return f"{Path(error.file).name} ({error.problem})"
    return ""


def _stacked(thumbnails: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """One row a case; volumes beside pictures have no common length: the shorter are filled up."""
    length = max((each.size for each in thumbnails), default=0)
    stacked = np.zeros((len(thumbnails), length), np.float32)
    for row, each in zip(stacked, thumbnails, strict=True):
        row[: each.size] = each
    return stacked


def _array(pixels: Pixels) -> NDArray[Any]:
    """(slice, row, column), (row, column) or (row, column, 3)."""
    found: NDArray[Any] | None = pixels.image if pixels.volume is None else pixels.volume.array
    assert found is not None, "a case holds a volume or an image"
    return found


def _sight(case: Case, pixels: Pixels, size: int) -> Sight:
    array = _array(pixels)
    is_colour = pixels.volume is None and array.ndim == 3
    channels = [array[..., number] for number in range(array.shape[2])] if is_colour else [array]
    is_finite = array.dtype.kind != "f" or bool(np.isfinite(array).all())
    finite = array if is_finite else array[np.isfinite(array)]
    if finite.size == 0:
        finite = np.zeros(1, np.float32)
    return Sight(
        key=case.key,
        digest=_digest(array),
        truth_digest=_truth(case, pixels),
        shape=tuple(channels[0].shape),
        channels=len(channels),
        spacing_mm=() if pixels.volume is None else pixels.volume.grid.spacing_mm,
        minimum=float(finite.min()),
        maximum=float(finite.max()),
        is_finite=is_finite,
        sample=np.stack([_taken(channel.reshape(-1), size) for channel in channels]),
        regions=() if pixels.labels is None else _regions(pixels, channels, size),
        boxes=len(pixels.boxes),
    )


def _regions(pixels: Pixels, channels: list[NDArray[Any]], size: int) -> tuple[Region, ...]:
    labels = pixels.labels
    assert labels is not None
    voxel_ml = None if pixels.volume is None else pixels.volume.grid.voxel_volume_ml
    counts = np.bincount(labels.reshape(-1), minlength=256)
    found = []
    for label in np.flatnonzero(counts[1:]) + 1:
        places = np.nonzero(labels == label)
        found.append(
            Region(
                label=int(label),
                count=int(counts[label]),
                volume_ml=None if voxel_ml is None else float(counts[label]) * voxel_ml,
                edges=tuple((int(axis.min()), int(axis.max()) + 1) for axis in places),
                sample=np.stack([_taken(channel[places], size) for channel in channels]),
            )
        )
    return tuple(found)


def _taken(values: NDArray[Any], size: int) -> NDArray[np.float32]:
    """At most so many of the values, evenly spread."""
    if values.size > size:
        values = values[(np.arange(size) * (values.size / size)).astype(np.int64)]
    return values.astype(np.float32)


def _digest(array: NDArray[Any]) -> str:
    # Written as little endian, whatever the machine.
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    found = hashlib.sha256(f"{plain.dtype.str} {plain.shape}\n".encode())
    found.update(plain.data)
    return found.hexdigest()


def _truth(case: Case, pixels: Pixels) -> str:
    if pixels.labels is not None:
        return _digest(pixels.labels)
    told = repr([(box.label, box.edges) for box in pixels.boxes]) if case.label is None else str(case.label)
    return hashlib.sha256(told.encode()).hexdigest()
