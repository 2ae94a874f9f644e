"""Single images as a model reads them: no place in space is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from node.domain.colour import Colour
from node.domain.model_card import Intensity
from node.domain.study import Instance, Pixels
from node.errors import Failed, Unsuitable
from node.imaging import colours, shading
from node.imaging.pixel_data import PixelFile, Stored, read_file
from node.imaging.places import in_order, spacing_mm

#: Images that take more than this as they are stored are not read together.
_MOST_BYTES = 4 << 30
#: Widths of a stored value that can be read.
_WIDTHS = (1, 8, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One frame of one instance.

    array: (row, column) rescaled values, MONOCHROME1 inverted so that more is brighter (not in CT, where values have a
        unit), int16 where that holds them exactly, else float32; or 0 to 1 float32 as it asks to be shown; or (row,
        column, 3) uint8 RGB. What the image says is padding is as dark as its darkest pixel.
    """

    array: NDArray[np.int16] | NDArray[np.float32] | NDArray[np.uint8]
    sop_instance_uid: str
    #: 1 is the first; 0 where the image has a single one.
    frame_number: int = 0
    #: Distance between rows, then columns; `None` where it is not said.
    spacing_mm: tuple[float, float] | None = None


def read_images(
    slices: Sequence[tuple[Path, Instance]],
    *,
    intensity: Intensity = Intensity.RESCALED,
    colour: Colour = Colour.REFUSED,
) -> tuple[Image, ...]:
    """Read the described images of one series, in any order, from their Part 10 files: frame by frame, in order.

    The order is that of their positions where they are parallel slices, else that of instance numbers.

    Raises:
        Unsuitable: they are nothing that can be read so; the reason says why.
        Failed: a file is gone, truncated or cannot be decoded.
    """
    _refuse(slices, colour)
    by_instance = {instance.sop_instance_uid: (path, instance) for path, instance in slices}
    ordered = [by_instance[uid] for uid in in_order([instance for _, instance in slices])]
    return tuple(image for path, instance in ordered for image in _images(path, instance, intensity, colour))


def _refuse(slices: Sequence[tuple[Path, Instance]], colour: Colour) -> None:
    """Say why these cannot be read.

    Raises:
        Unsuitable: with the reason.
    """
    described = [instance.pixels for _, instance in slices if instance.pixels is not None]
    if not slices or len(described) < len(slices):
        raise Unsuitable(f"{len(slices) - len(described)} of {len(slices)} instance(s) without pixel data")
    undecodable = {pixels.undecodable for pixels in described if pixels.undecodable}
    if undecodable:
        raise Unsuitable(f"pixel data cannot be decoded here: {'; '.join(sorted(undecodable))}")
    kinds = {pixels.photometric_interpretation for pixels in described}
    unknown = sorted({each.photometric_interpretation for each in described if not colours.is_known(each)})
    if unknown:
        raise Unsuitable(f"colours that cannot be read here: {', '.join(unknown)}")
    if colour is Colour.REFUSED and not kinds <= colours.GREYS:
        raise Unsuitable(f"not monochrome: {', '.join(sorted(kinds - colours.GREYS))}")
    if any(pixels.rows < 1 or pixels.columns < 1 or pixels.number_of_frames < 1 for pixels in described):
        raise Unsuitable("images without rows, columns or frames")
    if any(pixels.bits_allocated not in _WIDTHS or not 1 <= pixels.bits_stored <= 32 for pixels in described):
        raise Unsuitable("pixels that are not 1, 8, 16 or 32 bits wide")
    size = sum(
        each.rows * each.columns * each.number_of_frames * each.samples_per_pixel * max(1, each.bits_allocated // 8)
        for each in described
    )
    if size > _MOST_BYTES:
        raise Unsuitable(f"the images take {size / 2**30:.1f} GiB: too many to be read together (4 GiB)")


def _images(path: Path, instance: Instance, intensity: Intensity, colour: Colour) -> Iterator[Image]:
    """The frames of one instance, in order."""
    assert instance.pixels is not None
    uid, count = instance.sop_instance_uid, instance.pixels.number_of_frames
    numbers = [instance.frame.number] if instance.frame else list(range(1, count + 1))
    pixels = replace(instance.pixels, number_of_frames=1)
    file = read_file(path, uid)
    header = file.header()
    named = count > 1 or instance.frame is not None
    arrays: Iterator[NDArray[np.int16] | NDArray[np.float32] | NDArray[np.uint8]]
    if pixels.photometric_interpretation in colours.GREYS:
        pixels = shading.meant(pixels, instance.modality)
        arrays = _greys(file, pixels, header, numbers, intensity, colour)
    else:
        decoded = (colours.rgb(each, pixels, header, uid) for each in file.colours(numbers))
        arrays = (_as_wanted(each, intensity, colour) for each in decoded)
    found = 0
    for number, array in zip(numbers, arrays, strict=False):
        found += 1
        array.flags.writeable = False
        spacing = spacing_mm(instance, header, number)
        yield Image(array=array, sop_instance_uid=uid, frame_number=number if named else 0, spacing_mm=spacing)
    if found < len(numbers):
        raise Failed(f"{uid}: {found} of {len(numbers)} frames are there")


def _greys(
    file: PixelFile, pixels: Pixels, header: Dataset, numbers: Sequence[int], intensity: Intensity, colour: Colour
) -> Iterator[NDArray[np.int16] | NDArray[np.float32] | NDArray[np.uint8]]:
    if pixels.samples_per_pixel != 1:
        raise Unsuitable(f"{pixels.samples_per_pixel} samples per pixel of an image in grey")
    padding = file.padding(pixels)
    is_shown = intensity is Intensity.SHOWN or colour is Colour.RGB
    for number, stored in zip(numbers, file.frames(pixels, numbers), strict=False):
        array = _grey(stored, pixels, shading.shading(header, number), padding, is_shown=is_shown)
        yield colours.tripled(array) if colour is Colour.RGB else array  # type: ignore[arg-type]


def _grey(
    stored: Stored, pixels: Pixels, found: shading.Shading, padding: tuple[int, int] | None, *, is_shown: bool
) -> shading.Values:
    """One grey frame, rescaled and perhaps as it asks to be shown."""
    if found.rescale is not None:
        slope, intercept = found.rescale
        pixels = replace(pixels, rescale_slope=slope, rescale_intercept=intercept)
    if not pixels.rescale_slope or not np.isfinite((pixels.rescale_slope, pixels.rescale_intercept)).all():
        raise Unsuitable("a rescale slope of zero: the values mean nothing")
    outside = shading.padded(stored, padding)
    if found.modality is not None:
        is_inverse = pixels.photometric_interpretation == "MONOCHROME1"
        values = shading.looked_up(stored, found.modality, inverts=is_inverse and not is_shown)
    else:
        dtype = np.dtype(np.int16 if shading.fits_int16(pixels) else np.float32)
        values = shading.rescaled(stored, pixels, dtype, inverts=not is_shown)
    if is_shown:
        values = shading.shown(values, found, shading.span_of(values, pixels, outside))
    if outside is not None and not outside.all():
        values = np.where(outside, values.dtype.type(0) if is_shown else values[~outside].min(), values)
    return values if values.flags.writeable else values.copy()


def _as_wanted(
    found: colours.Rgb, intensity: Intensity, colour: Colour
) -> NDArray[np.int16] | NDArray[np.float32] | NDArray[np.uint8]:
    """A frame in colour as the model wants it."""
    if colour is Colour.RGB:
        return found if found.flags.writeable else found.copy()
    grey = colours.brightness(found)
    return grey.astype(np.float32) / np.float32(255) if intensity is Intensity.SHOWN else grey
