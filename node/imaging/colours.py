"""Images in colour as red, green and blue of 8 bits, whatever they are stored as (PS3.3 §C.7.6.3.1.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_color_lut

from node.domain.study import Pixels
from node.errors import Failed, Unsuitable
from node.imaging.pixel_data import DECODING_FAULTS
from node.imaging.shading import table_of

Rgb = NDArray[np.uint8]

PALETTE = "PALETTE COLOR"
GREYS = frozenset({"MONOCHROME1", "MONOCHROME2"})
#: What pydicom and the codecs turn into RGB; the others are retired, or those of video.
_KNOWN = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", PALETTE})
#: Brightness of red, green and blue (ITU-R BT.601), in thousandths.
_BRIGHTNESS = (299, 587, 114)


def is_known(pixels: Pixels) -> bool:
    """Whether images of this photometric interpretation can be read here."""
    return pixels.photometric_interpretation in _KNOWN | GREYS


def rgb(decoded: NDArray[Any], pixels: Pixels, header: Dataset, sop_instance_uid: str) -> Rgb:
    """One frame as pydicom decodes it, as (row, column, 3) uint8.

    Raises:
        Failed: it has another size than described.
        Unsuitable: its palette cannot be read.
    """
    if pixels.photometric_interpretation == PALETTE:
        return _through_palette(_checked(decoded, (pixels.rows, pixels.columns), sop_instance_uid), header)
    return _eight_bits(_checked(decoded, (pixels.rows, pixels.columns, 3), sop_instance_uid), pixels.bits_stored)


def tripled(level: NDArray[np.float32]) -> Rgb:
    """Grey from 0 to 1 as red, green and blue."""
    return np.repeat((level * 255 + 0.5).astype(np.uint8)[..., None], 3, axis=2)


def brightness(colours: Rgb) -> NDArray[np.int16]:
    """(row, column) 0 to 255."""
    weighed = colours.astype(np.int32) @ np.array(_BRIGHTNESS, np.int32)
    return ((weighed + 500) // 1000).astype(np.int16)


def _checked(decoded: NDArray[Any], expected: tuple[int, ...], sop_instance_uid: str) -> NDArray[Any]:
    if decoded.shape != expected:
        raise Failed(f"{sop_instance_uid}: decoded pixels are {decoded.shape}, not {expected}")
    return decoded


def _eight_bits(values: NDArray[Any], bits: int) -> Rgb:
    if bits == 8:
        return values.astype(np.uint8, copy=False)
    return (values.astype(np.float64) * (255.0 / ((1 << bits) - 1)) + 0.5).clip(0, 255).astype(np.uint8)


def _through_palette(indices: NDArray[Any], header: Dataset) -> Rgb:
    if "RedPaletteColorLookupTableData" not in header:
        try:  # in segments (PS3.3 §C.7.9.2)
            found: NDArray[Any] = apply_color_lut(indices.astype(np.int32), header)
        except DECODING_FAULTS as error:
            raise Unsuitable("the palette of an image cannot be read") from error
        return _eight_bits(found[..., :3], found.dtype.itemsize * 8)
    tables = [table_of(header, header, f"{colour}PaletteColorLookupTable") for colour in ("Red", "Green", "Blue")]
    colours = np.stack([table(indices) for table in tables], axis=-1)
    wide = tables[0].bits > 8 or colours.max(initial=0) > 255
    return (colours >> 8).astype(np.uint8) if wide else colours.astype(np.uint8)
