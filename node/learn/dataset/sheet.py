"""The data sheet: what a data set holds, in numbers, before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from node.learn.case import Case
from node.learn.dataset.duplicates import members
from node.learn.dataset.problems import Problem
from node.learn.dataset.survey import Region, Sight, Survey

_FORBID: Any = {"extra": "forbid"}
#: Name of the sheet's file in a run folder.
FILE_NAME = "sheet.json"
#: Attributes with more values than this are told as a range, or by how many values there are.
_VALUES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How one number is spread over cases."""

    __pydantic_config__: ClassVar = _FORBID

    least: float
    median: float
    greatest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensities:
    """The values of one channel, over all pixels of so many cases (of a sample of them, evenly taken)."""

    __pydantic_config__: ClassVar = _FORBID

    minimum: float
    #: Percentile → value: "0.5", "5", "25", "50", "75", "95", "99.5".
    percentiles: dict[str, float]
    maximum: float
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """One class of a classification."""

    __pydantic_config__: ClassVar = _FORBID

    name: str
    cases: int
    #: Counted so that what stays together counts once.
    groups: int
    #: Official part → cases; "" where the data set names none.
    parts: dict[str, int]
    #: One a channel.
    intensities: tuple[Intensities, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFigures:
    """One label of a segmentation, over the cases that have it."""

    __pydantic_config__: ClassVar = _FORBID

    name: str
    label: int
    cases: int
    #: Of all pixels of a case, 0–1.
    share: Spread
    #: Of volumes.
    volume_ml: Spread | None
    #: Sides of the smallest box around it, along each axis: mm in volumes, else pixels.
    extent: tuple[Spread, ...]
    intensities: tuple[Intensities, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sheet:
    """A data set in numbers."""

    __pydantic_config__: ClassVar = _FORBID

    name: str
    layout: str
    task: str
    digest: str
    cases: int
    #: Official part → cases.
    parts: dict[str, int]
    classes: tuple[ClassFigures, ...] = ()
    labels: tuple[LabelFigures, ...] = ()
    #: Pixels along (row, column) or (slice, row, column).
    size: tuple[Spread, ...]
    #: How many different sizes there are.
    sizes: int
    #: Along (slice, row, column); empty: pictures.
    spacing_mm: tuple[Spread, ...] = ()
    #: Number of channels → cases.
    channels: dict[int, int]
    #: Of all cases, one a channel.
    intensities: tuple[Intensities, ...]
    #: What stays together counts once.
    groups: int
    #: How many patients the data set tells apart; 0: it names none.
    patients: int
    #: Keys of equal images.
    duplicates: tuple[tuple[str, ...], ...] = ()
    #: Keys of images that are nearly equal, or equal.
    near_duplicates: tuple[tuple[str, ...], ...] = ()
    #: Keys of groups that reach over several official parts.
    leaks: tuple[tuple[str, ...], ...] = ()
    #: Attribute → value → cases, where it has few values; of numbers "least–greatest".
    attributes: dict[str, dict[str, int]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


_SHEET: TypeAdapter[Sheet] = TypeAdapter(Sheet)


def sheet_text(sheet: Sheet) -> str:
    """Write a sheet as JSON."""
    return _SHEET.dump_json(sheet, indent=1).decode() + "\n"


def read_sheet(text: str | bytes) -> Sheet:
    """Read what `sheet_text` wrote.

    Raises:
        ValueError: it is no sheet.
    """
    return _SHEET.validate_json(text)


def make_sheet(
    survey: Survey,
    *,
    layout: str,
    similar: Mapping[str, str],
    groups: Mapping[str, str],
    problems: tuple[Problem, ...],
) -> Sheet:
    """Return the sheet of the cases that could be read.

    Args:
        survey: those cases.
        layout: name of the layout.
        similar: key → group of equal and nearly equal images.
        groups: key → group of what stays together.
        problems: all that is wrong.
    """
    sights = survey.sights
    parts = {case.key: case.part for case in survey.cases}
    depth = max((sight.channels for sight in sights), default=1)
    spacings = [sight.spacing_mm for sight in sights if sight.spacing_mm]
    return Sheet(
        name=survey.source.stem if survey.source.is_file() else survey.source.name,
        layout=layout,
        task=survey.task,
        digest=survey.digest,
        cases=len(survey.cases),
        parts=dict(sorted(Counter(part for part in parts.values() if part).items())),
        classes=_classes(survey, groups, depth),
        labels=_labels(survey, depth),
        size=_spreads([sight.shape for sight in sights]),
        sizes=len({sight.shape for sight in sights}),
        spacing_mm=_spreads(spacings),
        channels=dict(sorted(Counter(sight.channels for sight in sights).items())),
        intensities=_intensities([sight.sample for sight in sights], depth),
        groups=len(set(groups.values())),
        patients=len({case.group for case in survey.cases} - {""}),
        duplicates=tuple(members({sight.key: sight.digest for sight in sights}).values()),
        near_duplicates=tuple(members(similar).values()),
        leaks=tuple(keys for keys in members(groups).values() if len({parts[key] for key in keys} - {""}) > 1),
        attributes=_attributes(survey.cases),
        problems=problems,
    )


def _classes(survey: Survey, groups: Mapping[str, str], depth: int) -> tuple[ClassFigures, ...]:
    found = []
    for label, name in enumerate(survey.classes):
        own = [(case, sight) for case, sight in zip(survey.cases, survey.sights, strict=True) if case.label == label]
        if own:
            found.append(
                ClassFigures(
                    name=name,
                    cases=len(own),
                    groups=len({groups[case.key] for case, _ in own}),
                    parts=dict(sorted(Counter(case.part for case, _ in own).items())),
                    intensities=_intensities([sight.sample for _, sight in own], depth),
                )
            )
    return tuple(found)


def _labels(survey: Survey, depth: int) -> tuple[LabelFigures, ...]:
    found = []
    for label, name in enumerate(survey.classes, 1):
        own = [(sight, region) for sight in survey.sights for region in sight.regions if region.label == label]
        if own:
            volumes = [(region.volume_ml,) for _, region in own if region.volume_ml is not None]
            found.append(
                LabelFigures(
                    name=name,
                    label=label,
                    cases=len(own),
                    share=_spreads([(region.count / float(np.prod(sight.shape)),) for sight, region in own])[0],
                    volume_ml=_spreads(volumes)[0] if volumes else None,
                    extent=_spreads([_sides(sight, region) for sight, region in own]),
                    intensities=_intensities([region.sample for _, region in own], depth),
                )
            )
    return tuple(found)


def _sides(sight: Sight, region: Region) -> tuple[float, ...]:
    steps = sight.spacing_mm or (1.0,) * len(region.edges)
    return tuple((high - low) * step for (low, high), step in zip(region.edges, steps, strict=True))


def _spreads(rows: Sequence[Sequence[float]]) -> tuple[Spread, ...]:
    """One for each place in rows, of those that are as long as most."""
    if not rows:
        return ()
    length = Counter(map(len, rows)).most_common(1)[0][0]
    columns = zip(*(row for row in rows if len(row) == length), strict=True)
    return tuple(
        Spread(least=float(min(each)), median=float(np.median(each)), greatest=float(max(each))) for each in columns
    )


def _intensities(samples: Sequence[NDArray[np.float32]], depth: int) -> tuple[Intensities, ...]:
    """One a channel; grey among colours counts for all of them."""
    found = []
    for channel in range(depth if samples else 0):
        values = np.concatenate([sample[min(channel, len(sample) - 1)] for sample in samples]).astype(np.float64)
        values = values[np.isfinite(values)]
        if values.size:
            shares = (0.5, 5, 25, 50, 75, 95, 99.5)
            found.append(
                Intensities(
                    minimum=float(values.min()),
                    percentiles=dict(
                        zip(map(str, shares), map(float, np.percentile(values, shares)), strict=True),
                    ),
                    maximum=float(values.max()),
                    mean=float(values.mean()),
                    deviation=float(values.std()),
                )
            )
    return tuple(found)


def _attributes(cases: Iterable[Case]) -> dict[str, dict[str, int]]:
    held: dict[str, list[str]] = {}
    for case in cases:
        for name, value in case.attributes.items():
            held.setdefault(name, []).append(value)
    return {name: _values(values) for name, values in sorted(held.items())}


def _values(values: list[str]) -> dict[str, int]:
    counts = Counter(values)
    if len(counts) <= _VALUES:
        return dict(sorted(counts.items()))
    try:
        numbers = [float(value) for value in values]
    except ValueError:
        return {f"{len(counts)} different values": len(values)}
    return {f"{min(numbers):g}–{max(numbers):g}": len(values)}
