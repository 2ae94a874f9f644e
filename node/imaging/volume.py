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
from node.domain.model_card import Intensity
from node.domain.study import Instance, Pixels, Plane
from node.errors import Unsuitable
from node.imaging import shading
from node.imaging.pixel_data import PixelFile, Stored, read_file
from node.imaging.shading import Shading, Values

__all__ = ["Values", "Volume", "read_volume"]

#: Threads that read; more gain nothing, the decoding is bound by memory.
_THREADS = 4


@dataclass(frozen=True, slots=True)
class Volume:
    """One series as an array in patient space.

    array: (slice, row, column), rescaled values (Hounsfield units in CT); int16 where that holds them
        exactly, else float32; or float32 from 0 to 1, as the images ask to be shown. MONOCHROME1 is inverted, so that
        more is always brighter, but not in CT, whose values have a unit; what the images say is padding is as dark as
        their darkest pixel.
    """

    array: Values
    grid: Grid
    #: SOP Instance UID of each slice, in the array's order.
    sop_instance_uids: tuple[str, ...]
    #: Frame number of each slice where they are frames of a multi-frame image, 1 is the first; else empty.
    frame_numbers: tuple[int, ...] = ()


def read_volume(slices: Sequence[tuple[Path, Instance]], *, intensity: Intensity = Intensity.RESCALED) -> Volume:
    """Read the described slices of one series, in any order, from their Part 10 files.

    A frame of a multi-frame image is described as a slice of its own (see `domain.frames`).

    Raises:
        Unsuitable: they do not form one regular monochrome volume; the reason says why.
        Failed: a file is gone, truncated or cannot be decoded.
    """
    instances = [instance for _, instance in slices]
    described = [shading.meant(each, instances[0].modality) for each in _pixels_of(instances)]
    order, grid = stack(_planes_of(instances), described[0].rows, described[0].columns)
    building = _Building(grid.shape, [described[index] for index in order], intensity)

    def read(path: Path, places: Sequence[int]) -> None:
        file = read_file(path, instances[order[places[0]]].sop_instance_uid)
        frames = _stored(file, [instances[order[place]] for place in places])
        for place, stored in zip(places, frames, strict=True):
            frame = instances[order[place]].frame
            building.put(place, stored, file, frame.number if frame else 0)

    places: dict[Path, list[int]] = {}
    for place, index in enumerate(order):
        places.setdefault(slices[index][0], []).append(place)
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as readers:
        for _ in readers.map(read, places.keys(), places.values()):
            pass
    array = building.finished()
    array.flags.writeable = False
    return Volume(
        array,
        grid,
        tuple(instances[index].sop_instance_uid for index in order),
        tuple(frame.number for index in order if (frame := instances[index].frame) is not None),
    )


class _Building:
    """The array while slices come in, from several threads and in any order, each to its own place."""

    def __init__(self, shape: tuple[int, int, int], described: Sequence[Pixels], intensity: Intensity) -> None:
        self._described = described
        self._is_shown = intensity is Intensity.SHOWN
        is_int16 = not self._is_shown and all(map(shading.fits_int16, described))
        self._array: Values = np.empty(shape, np.int16) if is_int16 else np.empty(shape, np.float32)
        #: Place → what int16 does not hold.
        self._wider: dict[int, Values] = {}
        #: Place → packed bits of the padding, and the darkest of the other pixels, if there are others.
        self._padding: dict[int, tuple[NDArray[np.uint8], float | None]] = {}
        #: Place → slices that do not say how they want to be shown: the range that they have.
        self._spans: dict[int, tuple[Shading, tuple[float, float]]] = {}

    def put(self, place: int, stored: Stored, file: PixelFile, frame_number: int) -> None:
        """Take one slice."""
        pixels = self._described[place]
        outside = shading.padded(stored, file.padding(pixels))
        found: Shading | None = None
        if self._is_shown or file.has_modality_lut:
            found = shading.shading(file.header(), frame_number)
        values = self._values(stored, pixels, found)
        if found is not None and self._is_shown:
            span = shading.span_of(values, pixels, outside)
            if found.voi is None:
                self._spans[place] = found, span
            else:
                values = shading.shown(values, found, span)
        if values.dtype != np.int16 and self._array.dtype == np.int16:
            self._wider[place] = values
        else:
            self._array[place] = values
        if outside is not None:
            there = values[~outside]
            darkest = 0.0 if self._is_shown else float(there.min()) if there.size else None
            self._padding[place] = np.packbits(outside), darkest

    def finished(self) -> Values:
        """The array once every slice is in."""
        if self._wider:
            self._array = self._array.astype(np.float32)
            for place, values in self._wider.items():
                self._array[place] = values
        if self._spans:
            common = min(span[0] for _, span in self._spans.values()), max(span[1] for _, span in self._spans.values())
            for place, (found, _) in self._spans.items():
                self._array[place] = shading.shown(self._array[place], found, common)
        darkest = min((value for _, value in self._padding.values() if value is not None), default=None)
        for place, (packed, _) in self._padding.items() if darkest is not None else ():
            plane = self._array[place]
            plane[np.unpackbits(packed, count=plane.size).view(bool).reshape(plane.shape)] = darkest
        return self._array

    def _values(self, stored: Stored, pixels: Pixels, found: Shading | None) -> Values:
        if found is not None and found.modality is not None:
            is_inverse = pixels.photometric_interpretation == "MONOCHROME1"
            return shading.looked_up(stored, found.modality, inverts=is_inverse and not self._is_shown)
        dtype: np.dtype[Any] = self._array.dtype
        return shading.rescaled(stored, pixels, dtype, inverts=not self._is_shown)


def _stored(file: PixelFile, slices: Sequence[Instance]) -> Iterator[Stored]:
    """The stored values of what one file holds: one image, or frames of one."""
    first = slices[0]
    assert first.pixels is not None
    numbers = [each.frame.number for each in slices if each.frame is not None]
    if not numbers:
        yield file.single(first.pixels)
    else:
        yield from file.frames(first.pixels, numbers)


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
