"""The pixels of one slice as a viewer would show them first: decoded, rescaled, windowed as the source says.

Grey values go through the Modality LUT, the first window or VOI LUT of the source (PS3.3 §C.11.1, §C.11.2), and the
polarity of MONOCHROME1; a source that names no window is stretched between its darkest and brightest hundredth.
"""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian

from node.errors import Failed, Transient
from node.report.evidence import SourceSlice

#: What pydicom and its decoders raise over damaged objects.
_FAULTS: tuple[type[Exception], ...] = (
    *(InvalidDicomError, BytesLengthException, struct.error, zlib.error, ArithmeticError, AttributeError, EOFError),
    *(LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError),
)
_DAMAGED: tuple[type[Exception], ...] = (Failed, *_FAULTS)
#: Pixels may be this many times as high as wide, or the reverse; beyond, the spacing is a slip.
_MOST_STRETCHED = 20.0
#: Where there is no window: these hundredths of the values are shown black and white.
_DARKEST, _BRIGHTEST = 1.0, 99.0

Numbers = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One slice as it is shown."""

    #: (row, column, 3) uint8, sRGB.
    colours: NDArray[np.uint8]
    #: Height of a pixel divided by its width.
    stretch: float


@dataclass(frozen=True, slots=True, eq=False)
class Shades:
    """How the stored values of one slice become grey, as its source has it."""

    #: Rescale Slope, Rescale Intercept, Rescale Type (PS3.3 §C.11.1.1.2).
    rescale: tuple[float, float, str]
    #: Centre, width, function; `None` where the source names none.
    window: tuple[float, float, str] | None
    #: VOI LUT Sequence of a source that names no window.
    tables: tuple[Dataset, ...] = ()


def shades(slices: Sequence[SourceSlice]) -> list[Shades]:
    """The shades of each slice; of one whose file is not at hand, or is damaged, those that its header names.

    Raises:
        Transient: a file cannot be read now.
    """
    headers: dict[Path | str, Dataset] = {}
    found = []
    for source in slices:
        key = source.path or str(source.header.SOPInstanceUID)
        if key not in headers:
            headers[key] = _header(source)
        groups = frame_groups(headers[key], source.frame_number)
        given = window(groups)
        tables = () if given else tuple(headers[key].get("VOILUTSequence") or ())
        item = grouped(groups, "PixelValueTransformationSequence", "RescaleSlope")
        kind = "US" if item is None else str(item.get("RescaleType") or ("HU" if _is_ct(source) else "US"))
        found.append(Shades((*rescale(groups), kind), given, tables))
    return found


def _is_ct(source: SourceSlice) -> bool:
    return bool(source.header.get("Modality") == "CT")


def _header(source: SourceSlice) -> Dataset:
    try:
        return _whole_header(source)
    except _DAMAGED:
        return source.header


def picture(source: SourceSlice) -> Picture:
    """Decode one slice for a reader's eye.

    Raises:
        Failed: its file is not known, is another object's, or cannot be decoded; says which.
        Transient: its file cannot be read now.
    """
    uid = source.header.SOPInstanceUID
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            header = _whole_header(source)
            values = _values(source, header)
            groups = frame_groups(header, source.frame_number)
            shown = _colour(values, header) if values.ndim == 3 else _grey(values, header, groups)
            return Picture(shown, stretch(*groups))
    except _FAULTS as error:
        raise Failed(f"{uid}: pixel data cannot be decoded ({type(error).__name__})") from error


def _whole_header(source: SourceSlice) -> Dataset:
    uid, path = source.header.SOPInstanceUID, source.path
    if path is None:
        raise Failed(f"{uid}: its file is not at hand")
    try:
        header = dcmread(path, stop_before_pixels=True)
    except FileNotFoundError as error:
        raise Failed(f"{uid}: {path.name} is gone") from error
    except OSError as error:
        raise Transient(f"{path.name} cannot be read: {error.strerror}") from error
    if header.SOPInstanceUID != uid:
        raise Failed(f"{uid}: {path.name} holds another object")
    return header


def frame_groups(header: Dataset, frame_number: int | None) -> tuple[Dataset, ...]:
    """Where attributes of one frame may stand, nearest first: its functional groups, the shared ones, the header."""
    shared = header.get("SharedFunctionalGroupsSequence") or []
    each = header.get("PerFrameFunctionalGroupsSequence") or []
    own = [each[frame_number - 1]] if frame_number is not None and frame_number <= len(each) else []
    return (*own, *shared, header)


def grouped(groups: tuple[Dataset, ...], sequence: str, keyword: str) -> Dataset | None:
    """The nearest dataset with an attribute: the item of a functional group's `sequence`, or the header."""
    items: list[Dataset] = [item for group in groups for item in (*(group.get(sequence) or ()), group)]
    return next((item for item in items if item.get(keyword) not in (None, "")), None)


def window(groups: tuple[Dataset, ...]) -> tuple[float, float, str] | None:
    """The first window of a frame: centre, width, function (PS3.3 §C.11.2.1.2); `None` where there is no sound one."""
    item = grouped(groups, "FrameVOILUTSequence", "WindowCenter")
    if item is None or item.get("WindowWidth") in (None, ""):
        return None
    centre, width = (float(np.atleast_1d(np.array(item[k].value, float))[0]) for k in ("WindowCenter", "WindowWidth"))
    function = str(item.get("VOILUTFunction", "") or "LINEAR")
    least = 1.0 if function == "LINEAR" else 0.0
    sound = np.isfinite(centre) and np.isfinite(width) and width > 0 and width >= least
    return (centre, width, function) if sound else None


def is_inverse(header: Dataset) -> bool:
    """Whether high values are dark: MONOCHROME1, or a Presentation LUT Shape that says so (PS3.3 §C.11.6)."""
    return bool(
        header.get("PhotometricInterpretation") == "MONOCHROME1" or header.get("PresentationLUTShape") == "INVERSE"
    )


def rescale(groups: tuple[Dataset, ...]) -> tuple[float, float]:
    """Slope and intercept of a frame (PS3.3 §C.11.1.1.2)."""
    item = grouped(groups, "PixelValueTransformationSequence", "RescaleSlope")
    return (1.0, 0.0) if item is None else (float(item.RescaleSlope), float(item.get("RescaleIntercept") or 0))


def stretch(*groups: Dataset) -> float:
    """Height of a pixel divided by its width: by the spacing, of pixels or of the detector, else by the aspect ratio.

    See PS3.3 §C.7.6.3.1.7; a ratio beyond reason is 1.
    """
    found = grouped(groups, "PixelMeasuresSequence", "PixelSpacing")
    pairs = [None if found is None else found.PixelSpacing]
    pairs += [groups[-1].get(k) for k in ("ImagerPixelSpacing", "NominalScannedPixelSpacing", "PixelAspectRatio")]
    for pair in pairs:
        if pair and len(pair) == 2 and float(pair[0]) > 0 and float(pair[1]) > 0:
            ratio = float(pair[0]) / float(pair[1])
            return ratio if 1 / _MOST_STRETCHED <= ratio <= _MOST_STRETCHED else 1.0
    return 1.0


def _values(source: SourceSlice, header: Dataset) -> NDArray[Any]:
    """Stored values of one frame; pixels of colour as RGB."""
    deflated = header.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian
    # Pixels are decoded from where they lie in the file: those of a deflated one lie nowhere yet.
    origin = dcmread(source.path) if deflated else source.path  # type: ignore[arg-type]
    values: NDArray[Any] = pixel_array(origin, index=(source.frame_number or 1) - 1)  # type: ignore[arg-type]
    rows, columns = int(source.header.Rows), int(source.header.Columns)
    if values.shape[:2] != (rows, columns):
        raise Failed(f"{header.SOPInstanceUID}: pixels are {values.shape[:2]}, not {rows} × {columns}")
    if header.PhotometricInterpretation == "PALETTE COLOR":
        values = apply_color_lut(values, header)
    return values


def _colour(values: NDArray[Any], header: Dataset) -> NDArray[np.uint8]:
    wide = header.PhotometricInterpretation == "PALETTE COLOR" and values.dtype.itemsize == 2
    bits = 16 if wide else int(header.BitsStored)
    return (values[..., :3].astype(np.float32) * (255.0 / ((1 << bits) - 1))).clip(0, 255).astype(np.uint8)


def _grey(values: NDArray[Any], header: Dataset, groups: tuple[Dataset, ...]) -> NDArray[np.uint8]:
    values = _meaningful(values, header)
    given = window(groups)
    lut = header.get("ModalityLUTSequence")
    slope, intercept = rescale(groups)
    scaled = apply_modality_lut(values, header) if lut else values
    if given is None and header.get("VOILUTSequence"):
        level = _looked_up(scaled, header)
    else:
        numbers = scaled.astype(np.float32)
        if not lut:
            numbers = numbers * np.float32(slope) + np.float32(intercept)
        level = _windowed(numbers, *given) if given else _stretched(numbers)
    level = np.nan_to_num(1 - level if is_inverse(header) else level).clip(0, 1)
    return np.repeat((level * 255 + 0.5).astype(np.uint8)[..., None], 3, axis=2)


def _meaningful(values: NDArray[Any], header: Dataset) -> NDArray[Any]:
    """Keep Bits Stored bits up to the high bit, and extend the sign (PS3.5 §8.1.1)."""
    if values.dtype.kind == "f" or "BitsStored" not in header:
        return values
    unused = values.dtype.itemsize * 8 - 1 - int(header.get("HighBit", int(header.BitsStored) - 1))
    below = int(header.get("HighBit", int(header.BitsStored) - 1)) + 1 - int(header.BitsStored)
    return values if unused <= 0 and below <= 0 else (values << unused) >> (unused + below)


def _windowed(values: Numbers, centre: float, width: float, function: str) -> Numbers:
    """0 to 1 through a window (PS3.3 §C.11.2.1.2.1, §C.11.2.1.3)."""
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(-4 * (values - centre) / width)), np.float32)
    if function == "LINEAR_EXACT":
        return (values - centre) / width + 0.5
    return (values - (centre - 0.5)) / max(width - 1, 1e-6) + 0.5


def _stretched(values: Numbers) -> Numbers:
    low, high = np.percentile(values[np.isfinite(values)], (_DARKEST, _BRIGHTEST))
    return (values - np.float32(low)) / np.float32(max(high - low, 1e-6))


def _looked_up(values: NDArray[Any], header: Dataset) -> Numbers:
    bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
    table = apply_voi(values.astype(np.int64), header)
    return np.asarray(table, np.float32) / np.float32((1 << bits) - 1)
