"""Element headers of an encoded data set (PS3.5 §7), and a walk over all of them by the book.

The walk takes any encoding and any `Source`, names what is wrong and where, and needs no more memory than a few
headers, however large the data set. `node.receive.scan` is its shortcut for what is usual.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Mapping
from typing import NamedTuple, Protocol, TypeAlias

from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from node.errors import Refused
from node.receive.status import CANNOT_UNDERSTAND

Content: TypeAlias = bytes | memoryview
Tag: TypeAlias = tuple[int, int]

UNDEFINED = 0xFFFFFFFF
#: VRs whose explicit header has two reserved bytes and a 32-bit length (PS3.5 §7.1.2).
LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
#: Elements, items and fragments that are looked at; the largest sound objects have some hundred thousand.
MOST_ELEMENTS = 2_000_000
#: Float, double float and integer pixel data (PS3.3 §C.7.6.24, §C.7.6.25, §C.7.6.3).
PIXEL_DATA: frozenset[Tag] = frozenset({(0x7FE0, 0x0008), (0x7FE0, 0x0009), (0x7FE0, 0x0010)})

#: After so many elements, about a millisecond, others have their turn: the interpreter lets each thread wait for 5 ms,
#: and somebody who sends objects of nothing but elements would delay every answer.
_TURN = 1024
_PAUSE_S = 1e-6
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)
_LONGEST_HEADER = 12
#: Sequences inside sequences of undefined length; readers that recurse fail at about 249.
_DEEPEST = 100
#: Command and file meta elements, items and delimiters: behind our own file meta group, (0002,eeee) would read as part
#: of it.
_FOREIGN_GROUPS = (0x0000, 0x0002, 0xFFFE)
_SHORT_HEADER = {order: struct.Struct(f"{order}HH2sH").unpack_from for order in "<>"}
_IMPLICIT_HEADER = {order: struct.Struct(f"{order}HHI").unpack_from for order in "<>"}
_LENGTH = {order: struct.Struct(f"{order}I").unpack_from for order in "<>"}


class Encoding(NamedTuple):
    """How element headers are written (PS3.5 §A)."""

    explicit: bool
    #: struct's sign for the byte order.
    order: str


class Element(NamedTuple):
    """One element's header."""

    tag: Tag
    #: Empty where the encoding is implicit.
    vr: bytes
    #: Where the value starts.
    start: int
    #: `UNDEFINED` where it is undefined.
    length: int


class Source(Protocol):
    """The bytes of a data set, wherever they lie; read from the front to the back."""

    #: Bytes in all.
    size: int

    def at(self, offset: int, count: int) -> bytes:
        """Return `count` bytes, fewer where the data set ends; `offset` is never smaller than in the call before.

        Raises:
            OSError: they cannot be read.
        """
        ...


def encoding_of(transfer_syntax_uid: str) -> Encoding:
    """How a data set of this transfer syntax is written: all but two are Explicit VR Little Endian (PS3.5 §A.4)."""
    if transfer_syntax_uid == ImplicitVRLittleEndian:
        return Encoding(explicit=False, order="<")
    return Encoding(explicit=True, order=">" if transfer_syntax_uid == ExplicitVRBigEndian else "<")


def element_at(content: Content, offset: int, encoding: Encoding) -> Element:
    """Read the element header at `offset` (PS3.5 §7.1).

    A VR that is not two capital letters is read as an implicit header, as other readers do: some equipment mixes.

    Raises:
        struct.error: the content ends inside it.
    """
    explicit, order = encoding
    if explicit:
        group, number, vr, short = _SHORT_HEADER[order](content, offset)
        if vr in LONG_VRS:
            (length,) = _LENGTH[order](content, offset + 8)
            return Element((group, number), vr, offset + 12, length)
        if vr.isalpha() and vr.isupper():
            return Element((group, number), vr, offset + 8, short)
    group, number, length = _IMPLICIT_HEADER[order](content, offset)
    return Element((group, number), b"", offset + 8, length)


def text_of(content: Content, element: Element) -> str:
    """Return a short text value without its padding; bytes that are no ASCII become U+FFFD."""
    return bytes(content[element.start : element.start + element.length]).decode("ascii", "replace").strip("\0 ")


def wanted(source: Source, encoding: Encoding, once: Mapping[Tag, str], longest: int) -> dict[Tag, tuple[int, bytes]]:
    """Walk over all elements; return length and value of each of `once`, the value cut off behind `longest` bytes.

    Out of order is no fault, as long as nothing stands behind the pixel data that belongs in front of it: readers of
    headers stop there. What stands inside a sequence of defined length is not looked at: it ends where it says.

    Raises:
        Refused: 0xC000, an element does not end where it says, or does not belong there, or one of `once` is there
            twice, or there are too many, or too deep.
        OSError: the source cannot be read.
    """
    found: dict[Tag, tuple[int, bytes]] = {}
    offset, end, count = 0, source.size, 0
    pixels: Tag | None = None
    try:
        while offset < end:
            element = _element_in(source, offset, encoding)
            tag = element.tag
            if tag[0] in _FOREIGN_GROUPS:
                raise broken(f"{shown(tag)} does not belong in a data set")
            if element.length == UNDEFINED:
                offset, count = _after_sequence(source, element, encoding, count)
            else:
                offset = _end_of(element, end)
            if tag in once:
                if tag in found:
                    raise broken(f"{once[tag]} occurs twice")
                found[tag] = (element.length, _value(source, element, longest))
            if pixels is not None and tag < pixels:
                raise broken(f"{shown(tag)} behind the pixel data")
            if tag in PIXEL_DATA:
                pixels = tag
            count = _counted(count)
    except struct.error as error:
        raise broken("the data set ends inside an element: truncated") from error
    return found


def broken(problem: str) -> Refused:
    """The refusal of a data set that cannot be read."""
    return Refused(CANNOT_UNDERSTAND, problem)


def shown(tag: Tag) -> str:
    """The tag as the standard writes it."""
    return f"({tag[0]:04X},{tag[1]:04X})"


def _element_in(source: Source, offset: int, encoding: Encoding) -> Element:
    tag, vr, start, length = element_at(source.at(offset, _LONGEST_HEADER), 0, encoding)
    return Element(tag, vr, offset + start, length)


def _after_sequence(source: Source, element: Element, encoding: Encoding, count: int) -> tuple[int, int]:
    """Return where a value of undefined length ends, and the elements counted so far (PS3.5 §7.5, §A.4).

    Encapsulated pixel data is walked the same way: its fragments are items of defined length.
    """
    end, offset = source.size, element.start
    #: One entry an open sequence or item: how its elements are written, and whether it is an item.
    open_ones: list[tuple[Encoding, bool]] = [(_inside(element, encoding), False)]
    while open_ones:
        inner, in_item = open_ones[-1]
        piece = source.at(offset, _LONGEST_HEADER)
        group, number, length = _IMPLICIT_HEADER[inner.order](piece, 0)
        tag = (group, number)
        if tag == (_ITEM_END if in_item else _SEQUENCE_END):
            open_ones.pop()
            offset += 8
        elif in_item:
            if group == _ITEM[0]:
                raise broken(f"{shown(tag)} inside an item of {shown(element.tag)}")
            _, vr, start, length = element_at(piece, 0, inner)
            nested = Element(tag, vr, offset + start, length)
            if length == UNDEFINED:
                open_ones.append((_inside(nested, inner), False))
                offset = nested.start
            else:
                offset = _end_of(nested, end)
        elif tag != _ITEM:
            raise broken(f"{shown(tag)} where an item of {shown(element.tag)} should be")
        elif length == UNDEFINED:
            open_ones.append((inner, True))
            offset += 8
        else:
            offset = _end_of(Element(tag, b"", offset + 8, length), end)
        if len(open_ones) > 2 * _DEEPEST:
            raise broken(f"sequences nested more than {_DEEPEST} deep")
        count = _counted(count)
    return offset, count


def _counted(count: int) -> int:
    if count >= MOST_ELEMENTS:
        raise broken(f"more than {MOST_ELEMENTS} elements")
    if not (count + 1) % _TURN:
        time.sleep(_PAUSE_S)
    return count + 1


def _inside(element: Element, encoding: Encoding) -> Encoding:
    """How the items of a sequence are written: UN of undefined length is implicit (PS3.5 §6.2.2)."""
    return Encoding(explicit=False, order="<") if element.vr == b"UN" else encoding


def _value(source: Source, element: Element, longest: int) -> bytes:
    if element.length == UNDEFINED:
        return b""
    return source.at(element.start, min(element.length, longest))


def _end_of(element: Element, end: int) -> int:
    after = element.start + element.length
    if after > end:
        left = end - element.start
        raise broken(f"{shown(element.tag)} claims {element.length} bytes where {left} are left: truncated")
    return after
