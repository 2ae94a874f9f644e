"""From the slices of one series to a volume with a true affine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from node.domain.geometry import Grid, stack
from node.domain.study import Instance, Pixels, Plane
from node.errors import Unsuitable
from node.imaging.pixel_data import Stored, stored_frames, stored_values

Values = NDArray[np.int16] | NDArray[np.float32]

_INT16 = np.iinfo(np.int16)
#: Threads that read; more gain nothing, the decoding is bound by memory.
_THREADS = 4


@dataclass(frozen=True, slots=True)
class Volume:
    """One series as an array in patient space.

    array: (slice, row, column), rescaled values (Hounsfield units in CT); int16 where that holds them
        exactly, else float32. MONOCHROME1 is inverted, so that more is always brighter.
    """

    array: Values
    grid: Grid
    #: SOP Instance UID of each slice, in the array's order.
    sop_instance_uids: tuple[str, ...]
    #: Frame number of each slice where they are frames of a multi-frame image, 1 is the first; else empty.
    frame_numbers: tuple[int, ...] = ()


def read_volume(slices: Sequence[tuple[Path, Instance]]) -> Volume:
    """Read the described slices of one series, in any order, from their Part 10 files.

    A frame of a multi-frame image is described as a slice of its own (see `domain.frames`).

    Raises:
        Unsuitable: they do not form one regular monochrome volume; the reason says why.
        Failed: a file is gone, truncated or cannot be decoded.
    """
    instances = [instance for _, instance in slices]
    described = _pixels_of(instances)
    order, grid = stack(_planes_of(instances), described[0].rows, described[0].columns)
    dtype: np.dtype[Any] = np.dtype(np.int16 if all(map(_fits_int16, described)) else np.float32)
    array: Values = np.empty(grid.shape, dtype)

    def read(path: Path, places: Sequence[int]) -> None:
        for place, stored in zip(places, _stored(path, [instances[order[place]] for place in places]), strict=True):
            array[place] = _rescaled(stored, described[order[place]], dtype)

    places: dict[Path, list[int]] = {}
    for place, index in enumerate(order):
        places.setdefault(slices[index][0], []).append(place)
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as readers:
        for _ in readers.map(read, places.keys(), places.values()):
            pass
    array.flags.writeable = False
    return Volume(
        array,
        grid,
        tuple(instances[index].sop_instance_uid for index in order),
        tuple(frame.number for index in order if (frame := instances[index].frame) is not None),
    )


def _stored(path: Path, slices: Sequence[Instance]) -> Iterator[Stored]:
    """The stored values of what one file holds: one image, or frames of one."""
    first = slices[0]
    assert first.pixels is not None
    numbers = [each.frame.number for each in slices if each.frame is not None]
    if not numbers:
        yield stored_values(path, first.pixels, first.sop_instance_uid)
    else:
        yield from stored_frames(path, first.pixels, first.sop_instance_uid, numbers)


def _pixels_of(instances: Sequence[Instance]) -> list[Pixels]:
    """The pixel descriptions of all slices, if they can be one array."""
    described = [instance.pixels for instance in instances if instance.pixels is not None]
    if not instances or len(described) < len(instances):
        raise Unsuitable(f"{len(instances) - len(described)} of {len(instances)} instance(s) without pixel data")
    undecodable = {pixels.undecodable for pixels in described if pixels.undecodable}
    if undecodable:
        raise Unsuitable(f"pixel data cannot be decoded here: {'; '.join(sorted(undecodable))}")
    if any(pixels.number_of_frames != 1 for pixels in described):
        raise Unsuitable("a multi-frame image that does not say where its frames lie: no volume")
    if len({instance.frame is None for instance in instances}) > 1:
        raise Unsuitable("frames of a multi-frame image beside single images in one series")
    colours = {pixels.photometric_interpretation for pixels in described}
    if not colours <= {"MONOCHROME1", "MONOCHROME2"} or any(pixels.samples_per_pixel != 1 for pixels in described):
        raise Unsuitable(f"not monochrome: {', '.join(sorted(colours))}")
    sizes = sorted({(pixels.rows, pixels.columns) for pixels in described})
    if len(sizes) > 1:
        raise Unsuitable(f"mixed image sizes in one series: {', '.join(f'{r} × {c}' for r, c in sizes)}")
    if min(sizes[0]) < 1:
        raise Unsuitable("images without rows or columns")
    if any(pixels.bits_allocated not in (8, 16, 32) or pixels.bits_stored < 1 for pixels in described):
        raise Unsuitable("pixels that are not 8, 16 or 32 bits wide")
    if any(pixels.rescale_slope == 0 or not np.isfinite(pixels.rescale_slope) for pixels in described):
        raise Unsuitable("a rescale slope of zero: the values mean nothing")
    return described


def _planes_of(instances: Sequence[Instance]) -> list[Plane]:
    planes = [instance.plane for instance in instances if instance.plane is not None]
    if len(planes) < len(instances):
        raise Unsuitable(f"{len(instances) - len(planes)} of {len(instances)} slice(s) without a position in space")
    if len({instance.frame_of_reference_uid for instance in instances}) > 1:
        raise Unsuitable("slices of several frames of reference in one series")
    return planes


def _range(pixels: Pixels) -> tuple[int, int]:
    """Least and greatest stored value that Bits Stored allows."""
    if pixels.pixel_representation:
        return -(1 << (pixels.bits_stored - 1)), (1 << (pixels.bits_stored - 1)) - 1
    return 0, (1 << pixels.bits_stored) - 1


def _fits_int16(pixels: Pixels) -> bool:
    low, high = (value + pixels.rescale_intercept for value in _range(pixels))
    exact = pixels.rescale_slope == 1 and float(pixels.rescale_intercept).is_integer()
    return exact and low >= _INT16.min and high <= _INT16.max


def _rescaled(stored: Stored, pixels: Pixels, dtype: np.dtype[Any]) -> Values:
    """Modality LUT by slope and intercept (PS3.3 §C.11.1), after inverting MONOCHROME1."""
    values: NDArray[np.integer | np.floating] = stored
    if pixels.photometric_interpretation == "MONOCHROME1":
        low, high = _range(pixels)
        values = np.int64(low + high) - stored
    if pixels.rescale_slope == 1 and pixels.rescale_intercept == 0:
        return values.astype(dtype, copy=False)
    if dtype == np.int16:
        return (values.astype(np.int32) + np.int32(pixels.rescale_intercept)).astype(np.int16)
    return values.astype(np.float32) * np.float32(pixels.rescale_slope) + np.float32(pixels.rescale_intercept)
