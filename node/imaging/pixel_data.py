"""Pixel data of one instance as stored values, read as fast as the disk allows.

Native pixel data is found by a short walk over the element headers, without parsing them; whatever the
walk does not understand, and everything compressed, goes through pydicom's decoders.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.pixels.utils import iter_pixels, pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from node.domain.study import Pixels
from node.errors import Failed

_PREAMBLE = 128
_UNDEFINED = 0xFFFFFFFF
#: VRs whose explicit header has a 32-bit length (PS3.5 §7.1.2).
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
#: Preamble and file meta group of a kept object.
_LONGEST_META = 4 << 10
_TRANSFER_SYNTAX = (0x0002, 0x0010)
_HIGH_BIT = (0x0028, 0x0102)
_PIXEL_DATA = (0x7FE0, 0x0010)
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD
#: Sequences inside sequences that the walk follows; deeper ones are left to pydicom.
_DEPTH = 16

Stored = NDArray[np.integer]

#: What pydicom and its decoders raise over damaged objects.
_DECODING_FAULTS: tuple[type[Exception], ...] = (
    *(InvalidDicomError, BytesLengthException, struct.error, zlib.error),
    *(
        ArithmeticError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ),
)


@dataclass(frozen=True, slots=True)
class _Syntax:
    """How element headers are written (PS3.5 §A)."""

    explicit: bool
    #: struct's sign for the byte order.
    order: str


_NATIVE = {
    ImplicitVRLittleEndian: _Syntax(explicit=False, order="<"),
    ExplicitVRLittleEndian: _Syntax(explicit=True, order="<"),
    ExplicitVRBigEndian: _Syntax(explicit=True, order=">"),
}


@dataclass(frozen=True, slots=True)
class _Located:
    """Where native pixel data lies in the file."""

    order: str
    offset: int
    length: int
    #: High Bit (0028,0102), where given.
    high_bit: int | None


def stored_values(path: Path, pixels: Pixels, sop_instance_uid: str) -> Stored:
    """Return the stored values of a single-frame monochrome instance: (row, column), signed or unsigned.

    Bits beyond Bits Stored (PS3.5 §8.1.1) are taken off, and the sign is extended; no rescaling.

    Raises:
        Failed: the file is gone, truncated or cannot be decoded; says which.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Failed(f"{sop_instance_uid}: the file cannot be read ({error.strerror})") from error
    located = _located_by_us(content, pixels)
    if located is None:
        return _meaningful(_decoded(content, pixels, sop_instance_uid), pixels, None)
    return _meaningful(_native(content, located, pixels, sop_instance_uid), pixels, located.high_bit)


def stored_frames(path: Path, pixels: Pixels, sop_instance_uid: str, numbers: Sequence[int]) -> Iterator[Stored]:
    """Yield the stored values of these frames of a multi-frame instance, as `stored_values`; 1 is the first.

    `pixels` describes one frame. The file is read, or decoded, once for all of them.

    Raises:
        Failed: as `stored_values`; or a frame is not there.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Failed(f"{sop_instance_uid}: the file cannot be read ({error.strerror})") from error
    located = _located_by_us(content, pixels)
    if located is not None:
        frame_bytes = pixels.rows * pixels.columns * (pixels.bits_allocated // 8)
        for number in numbers:
            offset = located.offset + (number - 1) * frame_bytes
            left = located.length - (number - 1) * frame_bytes
            frame = replace(located, offset=offset, length=min(frame_bytes, max(0, left)))
            yield _meaningful(_native(content, frame, pixels, sop_instance_uid), pixels, located.high_bit)
        return
    try:
        for values in iter_pixels(_source(content), indices=[number - 1 for number in numbers], raw=True):
            yield _meaningful(_checked(values, pixels, sop_instance_uid), pixels, None)
    except _DECODING_FAULTS as error:
        raise _undecodable(sop_instance_uid, error) from error


def _located_by_us(content: bytes, pixels: Pixels) -> _Located | None:
    located = _locate(content)
    return None if located is not None and located.order == ">" and pixels.bits_allocated == 8 else located


def _native(content: bytes, located: _Located, pixels: Pixels, sop_instance_uid: str) -> Stored:
    kind = "i" if pixels.pixel_representation else "u"
    dtype = np.dtype(f"{located.order}{kind}{pixels.bits_allocated // 8}")
    expected = pixels.rows * pixels.columns * dtype.itemsize
    present = min(located.length, len(content) - located.offset)
    if present < expected:
        raise Failed(f"{sop_instance_uid}: pixel data is truncated, {max(0, present)} of {expected} bytes")
    if located.length > expected + expected % 2:
        problem = f"{located.length} bytes where {pixels.rows} × {pixels.columns} pixels need {expected}"
        raise Failed(f"{sop_instance_uid}: pixel data has {problem}")
    values: Stored = np.frombuffer(content, dtype, pixels.rows * pixels.columns, located.offset)
    return values.reshape(pixels.rows, pixels.columns).astype(dtype.newbyteorder("="), copy=False)


def _decoded(content: bytes, pixels: Pixels, sop_instance_uid: str) -> Stored:
    """Let pydicom decode what is compressed or oddly written."""
    try:
        values: Stored = pixel_array(_source(content), index=0, raw=True)
    except _DECODING_FAULTS as error:
        raise _undecodable(sop_instance_uid, error) from error
    return _checked(values, pixels, sop_instance_uid)


def _source(content: bytes) -> Dataset | BytesIO:
    """What pydicom decodes from: where the pixels lie in the file; those of a deflated one lie nowhere yet.

    How large a deflated one becomes was looked at when it came.
    """
    is_deflated = DeflatedExplicitVRLittleEndian.encode() in content[:_LONGEST_META]
    return dcmread(BytesIO(content)) if is_deflated else BytesIO(content)


def _checked(values: Stored, pixels: Pixels, sop_instance_uid: str) -> Stored:
    if values.shape != (pixels.rows, pixels.columns):
        raise Failed(f"{sop_instance_uid}: decoded pixels are {values.shape}, not {pixels.rows} × {pixels.columns}")
    return values


def _undecodable(sop_instance_uid: str, error: Exception) -> Failed:
    text = " ".join(str(error).split()) or type(error).__name__
    return Failed(f"{sop_instance_uid}: pixel data cannot be decoded ({text[:200]})")


def _meaningful(values: Stored, pixels: Pixels, high_bit: int | None) -> Stored:
    """Keep Bits Stored bits up to the high bit, and extend the sign."""
    top = pixels.bits_stored - 1 if high_bit is None else high_bit
    unused = pixels.bits_allocated - 1 - top
    below = top + 1 - pixels.bits_stored
    if unused <= 0 and below <= 0:
        return values
    signed = np.dtype(f"{'i' if pixels.pixel_representation else 'u'}{pixels.bits_allocated // 8}")
    shifted: Stored = (values.astype(signed, copy=False) << unused) >> (unused + below)
    return shifted


def _locate(content: bytes) -> _Located | None:
    """Find native pixel data; `None` where pydicom has to look."""
    if content[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
        return None
    try:
        syntax, offset = _dataset(content)
        return _pixel_data(content, syntax, offset) if syntax else None
    except (struct.error, RecursionError, UnicodeDecodeError):
        return None


def _dataset(content: bytes) -> tuple[_Syntax | None, int]:
    """Return how the data set is written and where it starts (PS3.10 §7.1)."""
    meta = _Syntax(explicit=True, order="<")
    offset, syntax = _PREAMBLE + 4, None
    while content[offset : offset + 2] == b"\x02\x00":
        tag, start, length = _header(content, meta, offset)
        if tag == _TRANSFER_SYNTAX:
            syntax = _NATIVE.get(content[start : start + length].decode("ascii").rstrip("\0 "))  # type: ignore[call-overload]
        offset = start + length
    return syntax, offset


def _pixel_data(content: bytes, syntax: _Syntax, offset: int) -> _Located | None:
    high_bit = None
    while offset + 8 <= len(content):
        tag, start, length = _header(content, syntax, offset)
        if tag == _PIXEL_DATA:
            return None if length == _UNDEFINED else _Located(syntax.order, start, length, high_bit)
        if tag == _HIGH_BIT and length == 2:
            high_bit = int(struct.unpack_from(f"{syntax.order}H", content, start)[0])
        offset = start + length if length != _UNDEFINED else _after_sequence(content, syntax, offset, start, _DEPTH)
    return None


def _header(content: bytes, syntax: _Syntax, offset: int) -> tuple[tuple[int, int], int, int]:
    """Return (tag, start of the value, its length) of the element at `offset` (PS3.5 §7.1)."""
    if not syntax.explicit:
        group, element, length = struct.unpack_from("<HHI", content, offset)
        return (group, element), offset + 8, length
    group, element, vr, short = struct.unpack_from(f"{syntax.order}HH2sH", content, offset)
    if vr in _LONG_VRS:
        return (group, element), offset + 12, struct.unpack_from(f"{syntax.order}I", content, offset + 8)[0]
    return (group, element), offset + 8, short


def _after_sequence(content: bytes, syntax: _Syntax, header: int, start: int, depth: int) -> int:
    """Return where a sequence of undefined length ends (PS3.5 §7.5).

    Raises:
        struct.error: it does not end, or is nested too deep.
    """
    if depth == 0:
        raise struct.error("nested too deep")
    if syntax.explicit and content[header + 4 : header + 6] == b"UN":
        syntax = _Syntax(explicit=False, order="<")  # PS3.5 §6.2.2, note 2
    offset = start
    while True:
        _, element, length = struct.unpack_from(f"{syntax.order}HHI", content, offset)
        offset += 8
        if element == _SEQUENCE_END:
            return offset
        if length != _UNDEFINED:
            offset += length
            continue
        while struct.unpack_from(f"{syntax.order}HH", content, offset) != (0xFFFE, _ITEM_END):
            _, inner, size = _header(content, syntax, offset)
            offset = inner + size if size != _UNDEFINED else _after_sequence(content, syntax, offset, inner, depth - 1)
        offset += 8
