"""A short walk over the element headers of a Part 10 file, without parsing them: where native pixel data lies.

What the walk does not understand is left to pydicom, which is right and slower.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
)

_PREAMBLE = 128
_UNDEFINED = 0xFFFFFFFF
#: VRs whose explicit header has a 32-bit length (PS3.5 §7.1.2).
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_TRANSFER_SYNTAX = (0x0002, 0x0010)
_HIGH_BIT = (0x0028, 0x0102)
_PADDING = (0x0028, 0x0120)
_PADDING_LIMIT = (0x0028, 0x0121)
_MODALITY_LUT = (0x0028, 0x3000)
_PIXEL_DATA = (0x7FE0, 0x0010)
#: Elements with one whole number of 16 bits.
_SHORTS = frozenset({_HIGH_BIT, _PADDING, _PADDING_LIMIT})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD
#: Sequences inside sequences that the walk follows; deeper ones are left to pydicom.
_DEPTH = 16


@dataclass(frozen=True, slots=True)
class _Syntax:
    """How element headers are written (PS3.5 §A)."""

    explicit: bool
    #: struct's sign for the byte order.
    order: str


@dataclass(frozen=True, slots=True)
class Walked:
    """What the walk came by."""

    #: struct's sign for the byte order.
    order: str
    #: Where the pixel data starts, and how many bytes it has; `None` where it is compressed.
    native: tuple[int, int] | None
    #: High Bit (0028,0102), where given.
    high_bit: int | None = None
    #: Pixel Padding Value (0028,0120) and, where given, Range Limit (0028,0121), as if without sign.
    padding: tuple[int, ...] = ()
    #: Whether there is a Modality LUT Sequence (0028,3000) outside functional groups.
    has_modality_lut: bool = False


def walk(content: bytes) -> Walked | None:
    """Find the pixel data of a Part 10 file; `None` where pydicom has to look."""
    if content[_PREAMBLE : _PREAMBLE + 4] != b"DICM":
        return None
    try:
        syntax, is_native, offset = _dataset(content)
        return None if syntax is None else _pixel_data(content, syntax, offset, is_native=is_native)
    except (struct.error, RecursionError, UnicodeDecodeError):
        return None


def _dataset(content: bytes) -> tuple[_Syntax | None, bool, int]:
    """Return how the data set is written, whether its pixels are native, and where it starts (PS3.10 §7.1)."""
    meta = _Syntax(explicit=True, order="<")
    offset, uid = _PREAMBLE + 4, ""
    while content[offset : offset + 2] == b"\x02\x00":
        tag, start, length = _header(content, meta, offset)
        if tag == _TRANSFER_SYNTAX:
            uid = content[start : start + length].decode("ascii").rstrip("\0 ")
        offset = start + length
    syntax = UID(uid)
    if not syntax.is_transfer_syntax or syntax.is_private or syntax == DeflatedExplicitVRLittleEndian:
        return None, False, offset
    written = _Syntax(explicit=syntax != ImplicitVRLittleEndian, order=">" if syntax == ExplicitVRBigEndian else "<")
    return written, not syntax.is_encapsulated, offset


def _pixel_data(content: bytes, syntax: _Syntax, offset: int, *, is_native: bool) -> Walked | None:
    shorts: dict[tuple[int, int], int] = {}
    has_modality_lut = False
    while offset + 8 <= len(content):
        tag, start, length = _header(content, syntax, offset)
        if tag == _PIXEL_DATA:
            if is_native and length == _UNDEFINED:
                return None
            return Walked(
                order=syntax.order,
                native=(start, length) if is_native else None,
                high_bit=shorts.get(_HIGH_BIT),
                padding=tuple(
                    shorts[each] for each in (_PADDING, _PADDING_LIMIT) if _PADDING in shorts and each in shorts
                ),
                has_modality_lut=has_modality_lut,
            )
        if tag in _SHORTS and length == 2:
            shorts[tag] = int(struct.unpack_from(f"{syntax.order}H", content, start)[0])
        has_modality_lut |= tag == _MODALITY_LUT and length != 0
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
