"""How the stored values of one frame become what a model sees: modality LUT, VOI LUT, polarity, padding (PS3.3 §C.11).

Slope and intercept, bits and polarity are described values (`domain.study.Pixels`); tables and windows are read from
the header, where the nearest word counts: the frame's functional groups, the shared ones, then the header itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from node.domain.study import Pixels
from node.errors import Unsuitable
from node.imaging.pixel_data import Stored

Values = NDArray[np.int16] | NDArray[np.float32]
Numbers = NDArray[np.float32]

_INT16 = np.iinfo(np.int16)
#: Where no window is given, images of so few bits are shown over their whole range, others from least to greatest.
_FEW_BITS = 8
#: Entries of a table whose descriptor says 0 (PS3.3 §C.11.1.1).
_MOST_ENTRIES = 1 << 16


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A lookup table (PS3.3 §C.11.1, §C.11.2)."""

    #: The input that the first entry is for; what is less gets the first entry, what is more than the last the last.
    first: int
    entries: NDArray[np.int64]
    #: Of an entry.
    bits: int

    def __call__(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """The entry of each value."""
        indices = np.clip(np.rint(values).astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return np.asarray(self.entries[indices])


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Window Centre, Window Width and VOI LUT Function (PS3.3 §C.11.2.1.2, §C.11.2.1.3)."""

    centre: float
    width: float
    function: str = "LINEAR"

    def __call__(self, values: Numbers) -> Numbers:
        """0 to 1."""
        if self.function == "SIGMOID":
            with np.errstate(over="ignore"):
                return np.asarray(1 / (1 + np.exp(-4 * (values - self.centre) / self.width)), np.float32)
        if self.function == "LINEAR_EXACT":
            level = (values - np.float32(self.centre)) / np.float32(self.width) + np.float32(0.5)
        elif self.width == 1:  # a step (PS3.3 §C.11.2.1.2.1)
            return (values > np.float32(self.centre - 0.5)).astype(np.float32)
        else:
            level = (values - np.float32(self.centre - 0.5)) / np.float32(self.width - 1) + np.float32(0.5)
        return np.asarray(level.clip(0, 1), np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shading:
    """What the header says of the grey values of one frame."""

    modality: Table | None = None
    #: Slope and intercept where the frame's own groups say them.
    rescale: tuple[float, float] | None = None
    voi: Table | Window | None = None
    #: Whether high values are dark: MONOCHROME1, or a Presentation LUT Shape that says so (PS3.3 §C.11.6).
    is_inverse: bool = False


def shading(header: Dataset, frame_number: int = 0) -> Shading:
    """What `header` says of one frame; 1 is the first, 0 stands for the image as a whole.

    Raises:
        Unsuitable: a table has no entries.
    """
    places = _places(header, frame_number)
    slope = _nearest(places, "RescaleSlope", "PixelValueTransformationSequence")
    table = _nearest(places, "ModalityLUTSequence")
    return Shading(
        modality=table_of(table.ModalityLUTSequence[0], header) if table is not None else None,
        rescale=None if slope is None else (float(slope.RescaleSlope), float(slope.get("RescaleIntercept") or 0)),
        voi=_voi(places, header),
        is_inverse=header.get("PhotometricInterpretation") == "MONOCHROME1"
        or header.get("PresentationLUTShape") == "INVERSE",
    )


def table_of(item: Dataset, header: Dataset, keyword: str = "LUT") -> Table:
    """The table that LUT Descriptor and LUT Data of `item` make, or those of one colour of a palette.

    Raises:
        Unsuitable: it has no entries.
    """
    descriptor, written = item.get(f"{keyword}Descriptor"), item.get(f"{keyword}Data")
    if descriptor is None or len(descriptor) != 3 or written is None:
        raise Unsuitable("a lookup table without a descriptor or without entries")
    count, first, bits = int(descriptor[0]) or _MOST_ENTRIES, int(descriptor[1]), int(descriptor[2])
    if isinstance(written, bytes):
        order = "<" if header.original_encoding[1] is not False else ">"
        narrow = len(written) < 2 * count
        entries = np.frombuffer(written, np.uint8 if narrow else f"{order}u2", min(count, len(written)))
    else:
        entries = np.atleast_1d(np.array(written))[:count]
    if not len(entries) or not 1 <= bits <= 16:
        raise Unsuitable("a lookup table without entries, or with more than 16 bits an entry")
    return Table(first, entries.astype(np.int64), bits)


def padded(stored: Stored, padding: tuple[int, int] | None) -> NDArray[np.bool_] | None:
    """Which pixels stand for none; `None` where all are some."""
    if padding is None:
        return None
    mask = (stored >= padding[0]) & (stored <= padding[1])
    return mask if mask.any() else None


def stored_range(pixels: Pixels) -> tuple[int, int]:
    """Least and greatest stored value that Bits Stored allows."""
    if pixels.pixel_representation:
        return -(1 << (pixels.bits_stored - 1)), (1 << (pixels.bits_stored - 1)) - 1
    return 0, (1 << pixels.bits_stored) - 1


def meant(pixels: Pixels, modality: str) -> Pixels:
    """The description by which values are made: those of CT are Hounsfield units, whichever way they are shown."""
    return replace(pixels, photometric_interpretation="MONOCHROME2") if modality == "CT" else pixels


def fits_int16(pixels: Pixels) -> bool:
    """Whether int16 holds every rescaled value exactly."""
    low, high = (value + pixels.rescale_intercept for value in stored_range(pixels))
    exact = pixels.rescale_slope == 1 and float(pixels.rescale_intercept).is_integer()
    return exact and low >= _INT16.min and high <= _INT16.max


def rescaled(stored: Stored, pixels: Pixels, dtype: np.dtype[Any], *, inverts: bool = True) -> Values:
    """Modality LUT by slope and intercept (PS3.3 §C.11.1), after inverting MONOCHROME1 where `inverts`."""
    values: NDArray[np.integer | np.floating] = stored
    if inverts and pixels.photometric_interpretation == "MONOCHROME1":
        low, high = stored_range(pixels)
        values = np.int64(low + high) - stored
    if pixels.rescale_slope == 1 and pixels.rescale_intercept == 0:
        return values.astype(dtype, copy=False)
    if dtype == np.int16:
        return (values.astype(np.int32) + np.int32(pixels.rescale_intercept)).astype(np.int16)
    return values.astype(np.float32) * np.float32(pixels.rescale_slope) + np.float32(pixels.rescale_intercept)


def looked_up(stored: Stored, table: Table, *, inverts: bool) -> Values:
    """Modality LUT by a table, then inverted where `inverts`; int16 where the entries fit."""
    values = table(stored)
    if inverts:
        values = (1 << table.bits) - 1 - values
    return values.astype(np.int16) if table.bits <= 15 else values.astype(np.float32)


def shown(values: Values, found: Shading, span: tuple[float, float]) -> Numbers:
    """Rescaled values as the image asks to be shown, 0 to 1; over `span` where it asks for nothing (§C.11.2)."""
    if isinstance(found.voi, Table):
        level = found.voi(values).astype(np.float32) / np.float32((1 << found.voi.bits) - 1)
    elif found.voi is not None:
        level = found.voi(values.astype(np.float32))
    else:
        level = levelled(values, span)
    level = level.clip(0, 1)
    return 1 - level if found.is_inverse else level


def levelled(values: Values, span: tuple[float, float]) -> Numbers:
    """Values from the first to the second of `span` as 0 to 1; all 0 where the two are one."""
    low, high = span
    if not high > low:
        return np.zeros(values.shape, np.float32)
    return (values.astype(np.float32) - np.float32(low)) / np.float32(high - low)


def span_of(values: Values, pixels: Pixels, outside: NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """Over which values an image without a window is shown: all that its bits allow, or those that it has."""
    if pixels.bits_stored <= _FEW_BITS:
        low, high = (value * pixels.rescale_slope + pixels.rescale_intercept for value in stored_range(pixels))
        return min(low, high), max(low, high)
    there = values if outside is None or outside.all() else values[~outside]
    return float(there.min()), float(there.max())


def _places(header: Dataset, frame_number: int) -> list[Dataset]:
    """Where attributes of one frame may stand, nearest first (PS3.3 §C.7.6.16)."""
    each = header.get("PerFrameFunctionalGroupsSequence") or []
    own = [each[frame_number - 1]] if 1 <= frame_number <= len(each) else []
    return [*own, *(header.get("SharedFunctionalGroupsSequence") or []), header]


def _nearest(places: list[Dataset], keyword: str, group: str = "") -> Dataset | None:
    """The nearest dataset with `keyword`: the item of a functional group's sequence, or the place itself."""

    def datasets() -> Iterator[Dataset]:
        for place in places:
            yield from (place.get(group) or ()) if group else ()
            yield place

    return next((each for each in datasets() if each.get(keyword)), None)


def _voi(places: list[Dataset], header: Dataset) -> Table | Window | None:
    """The first table, else the first sound window; `None` where there is neither."""
    table = _nearest(places, "VOILUTSequence", "FrameVOILUTSequence")
    if table is not None:
        return table_of(table.VOILUTSequence[0], header)
    item = _nearest(places, "WindowWidth", "FrameVOILUTSequence")
    if item is None or item.get("WindowCenter") in (None, ""):
        return None
    centre, width = (float(np.atleast_1d(np.array(item[k].value, float))[0]) for k in ("WindowCenter", "WindowWidth"))
    function = str(item.get("VOILUTFunction") or "LINEAR").upper()
    least = 1.0 if function == "LINEAR" else 0.0
    sound = np.isfinite(centre) and np.isfinite(width) and width > 0 and width >= least
    return Window(centre=centre, width=width, function=function) if sound else None
