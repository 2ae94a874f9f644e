"""The values that conditions on a series look at, and the words for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeAlias

from node.domain.geometry import stack
from node.domain.model_card import GEOMETRY_FIELDS, Condition, Preference
from node.domain.study import Instance
from node.errors import Unsuitable

#: What one instance says in one field; a tuple for a multi-valued attribute.
Value: TypeAlias = str | float | tuple[str, ...]

_UNITS = {"_mm": "mm", "_ms": "ms", "_years": "years"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """What the slices of a series form together."""

    slice_count: int
    slice_spacing_mm: float | None = None
    #: The coarser of the two pixel spacings.
    in_plane_spacing_mm: float | None = None
    #: Smallest side of the volume.
    extent_mm: float | None = None
    #: Why they form no volume, where one is needed.
    problem: str = ""

    @property
    def description(self) -> str:
        """A few words for the reader."""
        count = f"{self.slice_count} {'image' if self.slice_count == 1 else 'images'}"
        if self.slice_spacing_mm is None:
            return count
        return f"{self.slice_count} slices, {self.slice_spacing_mm:.2g} mm apart"


def geometry_of(images: Sequence[Instance], *, needs_volume: bool) -> Geometry:
    """Measure what `images` form; where they form no volume, `problem` says why if one is needed."""
    planes = [image.plane for image in images if image.plane is not None]
    spacing = max((max(plane.spacing) for plane in planes), default=None)
    sizes = {(image.pixels.rows, image.pixels.columns) for image in images if image.pixels}
    frames = max((image.pixels.number_of_frames for image in images if image.pixels), default=1)
    problem = ""
    if frames > 1:
        unplaced = next((image.frames.problem for image in images if image.frames and image.frames.problem), "")
        problem = (
            f"a multi-frame object ({frames} frames): {unplaced or 'it does not say where they lie in the patient'}"
        )
    elif len(planes) < len(images):
        problem = f"{len(images) - len(planes)} of {len(images)} images do not say where they lie in the patient"
    if problem or len(sizes) != 1:
        # Images of several sizes, or of none, are complained about where they are found.
        return Geometry(slice_count=len(images), in_plane_spacing_mm=spacing, problem=problem if needs_volume else "")
    try:
        _, grid = stack(planes, *next(iter(sizes)))
    except Unsuitable as error:
        return Geometry(
            slice_count=len(images), in_plane_spacing_mm=spacing, problem=str(error) if needs_volume else ""
        )
    sides = [count * step for count, step in zip(grid.shape, grid.spacing_mm, strict=True)]
    return Geometry(
        slice_count=len(images),
        slice_spacing_mm=grid.spacing_mm[0],
        in_plane_spacing_mm=max(grid.spacing_mm[1:]),
        extent_mm=min(sides),
    )


def values(field: str, images: Sequence[Instance], geometry: Geometry | None) -> list[Value]:
    """Return the different values of `field` in a series, sorted; absent ones left out."""
    if field in GEOMETRY_FIELDS:
        measured = None if geometry is None else getattr(geometry, field)
        return [] if measured is None else [float(measured)]
    if field.startswith("pixels."):
        images = [image for image in images if image.pixels is not None]
    found = set(map(attrgetter(field), images))
    return sorted((value for value in found if value not in (None, "", ())), key=repr)


def complies(condition: Condition | Preference, value: Value) -> bool:
    """Whether `value` meets the one operator of `condition`."""
    if isinstance(value, int | float):
        if condition.at_least is not None:
            return value >= condition.at_least
        return condition.at_most is None or value <= condition.at_most
    parts = (value,) if isinstance(value, str) else value
    words = {part.strip().casefold() for part in parts}
    if condition.one_of is not None:
        return any(word.casefold() in words for word in condition.one_of)
    if condition.matches is not None:
        return re.search(condition.matches, "\\".join(parts), re.IGNORECASE) is not None
    if isinstance(condition, Condition):
        if condition.none_of is not None:
            return not any(word.casefold() in words for word in condition.none_of)
        if condition.matches_not is not None:
            return re.search(condition.matches_not, "\\".join(parts), re.IGNORECASE) is None
    return True


def complaint(condition: Condition, wrong: Sequence[Value]) -> str:
    """Say that the `wrong` values do not meet `condition`: in the card's words, else in ours."""
    found = shown(condition.field, wrong)
    if condition.because:
        return condition.because.replace("{value}", found).strip().rstrip(".")
    name = label(condition.field)
    if condition.one_of is not None:
        return f"{name} is {found}, not {' or '.join(condition.one_of)}"
    if condition.none_of is not None:
        return f"{name} is {found}, which this model does not read"
    if condition.at_least is not None:
        return f"{name} is {found}, less than {shown(condition.field, [condition.at_least])}"
    if condition.at_most is not None:
        return f"{name} is {found}, more than {shown(condition.field, [condition.at_most])}"
    return f"{name} “{found}” does not name what this model reads"


def label(field: str) -> str:
    """What a reader calls `field`."""
    name = field.rpartition(".")[2]
    for suffix in _UNITS:
        name = name.removesuffix(suffix)
    return name.replace("_", " ")


def shown(field: str, found: Sequence[Value]) -> str:
    """Up to three values, with their unit."""
    unit = next((unit for suffix, unit in _UNITS.items() if field.endswith(suffix)), "")
    texts = []
    for value in found[:3]:
        if isinstance(value, int | float):
            texts.append(f"{value:.4g} {unit}".rstrip())
        else:
            texts.append(value if isinstance(value, str) else "\\".join(value))
    return ", ".join(texts) + (" …" if len(found) > 3 else "")


def capitalised(text: str) -> str:
    """`text` with a capital at its start."""
    return text[:1].upper() + text[1:]
