"""A short walk over an encoded data set: what the index needs, and whether every element ends where it says.

No value is parsed but a handful of UIDs, nothing is copied, nothing recurses; time and depth are bounded. Truncated
objects, elements that claim more than there is, and sequences without an end are found here, before the answer.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from node.domain.uid import is_valid_uid
from node.errors import Refused
from node.receive.status import CANNOT_UNDERSTAND, INVALID_OBJECT_INSTANCE

Content: TypeAlias = bytes | memoryview

_UNDEFINED = 0xFFFFFFFF
#: VRs whose explicit header has two reserved bytes and a 32-bit length (PS3.5 §7.1.2).
_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
#: Sequences inside sequences of undefined length; readers that recurse fail at about 249.
_DEEPEST = 100
#: Elements and items that are looked at; the largest sound objects have some hundred thousand.
_MOST_ELEMENTS = 2_000_000

_SOP_CLASS, _SOP_INSTANCE = (0x0008, 0x0016), (0x0008, 0x0018)
_STUDY, _SERIES = (0x0020, 0x000D), (0x0020, 0x000E)
_LOSSY = (0x0028, 0x2110)
_NAMES = {
    _SOP_CLASS: "SOP Class UID",
    _SOP_INSTANCE: "SOP Instance UID",
    _STUDY: "Study Instance UID",
    _SERIES: "Series Instance UID",
    _LOSSY: "Lossy Image Compression",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What the index needs of one object; UIDs without padding, valid by PS3.5 §9.1."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    #: Lossy Image Compression (0028,2110) as the object has it: "00", "01" or empty.
    lossy_image_compression: str


class Encoding(NamedTuple):
    """How element headers are written (PS3.5 §A)."""

    explicit: bool
    #: struct's sign for the byte order.
    order: str


class Element(NamedTuple):
    """One element's header."""

    tag: tuple[int, int]
    #: Empty where the encoding is implicit.
    vr: bytes
    #: Where the value starts.
    start: int
    #: `0xFFFFFFFF` where it is undefined.
    length: int


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """How a data set of this transfer syntax is written: all but two are Explicit VR Little Endian (PS3.5 §A.4)."""
    if transfer_syntax_uid == ImplicitVRLittleEndian:
        return Encoding(explicit=False, order="<")
    return Encoding(explicit=True, order=">" if transfer_syntax_uid == ExplicitVRBigEndian else "<")


def walk(content: Content, transfer_syntax_uid: str) -> Header:
    """Walk over the encoded data set from its first to its last byte.

    Raises:
        Refused: 0xC000 if an element does not end where it says, a UID is missing or no UID, or the data set holds
            elements that belong elsewhere; 0x0117 if the SOP Instance UID is no UID.
    """
    try:
        return _header(_wanted(content, encoding_of(transfer_syntax_uid)))
    except struct.error as error:
        raise _broken("the data set ends inside an element: truncated") from error


def element_at(content: Content, offset: int, encoding: Encoding) -> Element:
    """Read the element header at `offset` (PS3.5 §7.1).

    A VR that is not two capital letters is read as an implicit header, as other readers do: some equipment mixes.

    Raises:
        struct.error: the content ends inside it.
    """
    if encoding.explicit:
        group, number, vr, short = struct.unpack_from(f"{encoding.order}HH2sH", content, offset)
        if vr in _LONG_VRS:
            (length,) = struct.unpack_from(f"{encoding.order}I", content, offset + 8)
            return Element((group, number), vr, offset + 12, length)
        if vr.isalpha() and vr.isupper():
            return Element((group, number), vr, offset + 8, short)
    group, number, length = struct.unpack_from(f"{encoding.order}HHI", content, offset)
    return Element((group, number), b"", offset + 8, length)


def text_of(content: Content, element: Element) -> str:
    """Return a short text value without its padding; bytes that are no ASCII become U+FFFD."""
    return bytes(content[element.start : element.start + element.length]).decode("ascii", "replace").strip("\0 ")


def _wanted(content: Content, encoding: Encoding) -> dict[tuple[int, int], str]:
    """Walk over all elements and return the few texts that are wanted."""
    found: dict[tuple[int, int], str] = {}
    offset, end, count = 0, len(content), 0
    while offset < end:
        element = element_at(content, offset, encoding)
        tag = element.tag
        if tag[0] in (0x0000, 0x0002, 0xFFFE):
            # Behind our own file meta group, (0002,eeee) would read as part of it.
            raise _broken(f"{_shown(tag)} does not belong in a data set")
        if element.length == _UNDEFINED:
            offset, count = _after_sequence(content, element, encoding, count)
        else:
            offset = _end_of(element, end)
            if tag in _NAMES:
                if tag in found:
                    raise _broken(f"{_NAMES[tag]} occurs twice")
                found[tag] = text_of(content, element)
        count += 1
        if count > _MOST_ELEMENTS:
            raise _broken(f"more than {_MOST_ELEMENTS} elements")
    return found


def _after_sequence(content: Content, element: Element, encoding: Encoding, count: int) -> tuple[int, int]:
    """Return where a value of undefined length ends, and the elements counted so far (PS3.5 §7.5, §A.4).

    Encapsulated pixel data is walked the same way: its fragments are items of defined length.
    """
    end, offset = len(content), element.start
    #: One entry an open sequence or item: how its elements are written, and whether it is an item.
    open_ones: list[tuple[Encoding, bool]] = [(_inside(element, encoding), False)]
    while open_ones:
        inner, in_item = open_ones[-1]
        tag, length = _tag_and_length(content, offset, inner)
        if tag == (_ITEM_END if in_item else _SEQUENCE_END):
            open_ones.pop()
            offset += 8
        elif in_item:
            nested = element_at(content, offset, inner)
            if nested.length == _UNDEFINED:
                open_ones.append((_inside(nested, inner), False))
                offset = nested.start
            else:
                offset = _end_of(nested, end)
        elif tag != _ITEM:
            raise _broken(f"{_shown(tag)} where an item of {_shown(element.tag)} should be")
        elif length == _UNDEFINED:
            open_ones.append((inner, True))
            offset += 8
        else:
            offset = _end_of(Element(tag, b"", offset + 8, length), end)
        count += 1
        if len(open_ones) > 2 * _DEEPEST:
            raise _broken(f"sequences nested more than {_DEEPEST} deep")
        if count > _MOST_ELEMENTS:
            raise _broken(f"more than {_MOST_ELEMENTS} elements")
    return offset, count


def _inside(element: Element, encoding: Encoding) -> Encoding:
    """How the items of a sequence are written: UN of undefined length is implicit (PS3.5 §6.2.2)."""
    return Encoding(explicit=False, order="<") if element.vr == b"UN" else encoding


def _tag_and_length(content: Content, offset: int, encoding: Encoding) -> tuple[tuple[int, int], int]:
    group, number, length = struct.unpack_from(f"{encoding.order}HHI", content, offset)
    return (group, number), length


def _end_of(element: Element, end: int) -> int:
    after = element.start + element.length
    if after > end:
        left = end - element.start
        raise _broken(f"{_shown(element.tag)} claims {element.length} bytes where {left} are left: truncated")
    return after


def _header(found: dict[tuple[int, int], str]) -> Header:
    needed = (_SOP_CLASS, _SOP_INSTANCE, _STUDY, _SERIES)
    missing = [_NAMES[tag] for tag in needed if not found.get(tag)]
    if missing:
        raise _broken(f"missing or empty: {', '.join(missing)}")
    for tag in needed:
        if not is_valid_uid(found[tag]):
            status = INVALID_OBJECT_INSTANCE if tag == _SOP_INSTANCE else CANNOT_UNDERSTAND
            raise Refused(status, f"the {_NAMES[tag]} is no UID")
    return Header(
        sop_class_uid=found[_SOP_CLASS],
        sop_instance_uid=found[_SOP_INSTANCE],
        study_instance_uid=found[_STUDY],
        series_instance_uid=found[_SERIES],
        lossy_image_compression=found.get(_LOSSY, ""),
    )


def _shown(tag: tuple[int, int]) -> str:
    return f"({tag[0]:04X},{tag[1]:04X})"


def _broken(problem: str) -> Refused:
    return Refused(CANNOT_UNDERSTAND, problem)
