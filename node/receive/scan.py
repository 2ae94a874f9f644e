"""The shortcut of the header walk: a little endian data set as it usually is, in as few steps as Python can.

It knows no errors. Whatever is unusual (an unknown VR, an element that ends elsewhere, comes twice or out of place, too
deep a sequence) makes it give up, and the walk by the book in `node.receive.elements` decides from the start. So
nothing is taken here that would be refused there; a property test holds the two together.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from contextlib import suppress
from typing import NamedTuple

from node.receive.elements import LONG_VRS, MOST_ELEMENTS, PIXEL_DATA, UNDEFINED, Content, Tag
from node.receive.layouts import Found, Layouts, Read, Reads, TooManyError

#: VRs with a 16-bit length (PS3.5 §7.1.2).
_SHORT_VRS = (
    *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO"),
    *(b"LT", b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
)
#: VRs are compared as little endian integers of their two letters.
_SHORT = frozenset(int.from_bytes(vr, "little") for vr in _SHORT_VRS)
_LONG = frozenset(int.from_bytes(vr, "little") for vr in LONG_VRS)
_UN = int.from_bytes(b"UN", "little")
_PIXELS, _DELIMITERS = 0x7FE0, 0xFFFE
#: Groups that are looked at more closely; all but that of the pixels are not for a data set.
_SPECIAL_GROUPS = frozenset((0x0000, 0x0002, _DELIMITERS, _PIXELS))
_ITEM, _ITEM_END, _SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD
_EXPLICIT, _IMPLICIT, _LENGTH = struct.Struct("<HHHH"), struct.Struct("<HHI"), struct.Struct("<I")
#: Sequences in sequences; more go by the book.
_DEEPEST = 8
#: An element, item or delimiter has 8 bytes: in so many there are never too many.
_MOST_BYTES = 8 * MOST_ELEMENTS


class _Readers(NamedTuple):
    """Everything that a walk reads, it reads with these."""

    #: Group, number, VR and 16-bit length.
    explicit: Read
    #: Group, number and 32-bit length: of an element without VR, an item or a delimiter.
    implicit: Read
    #: The 32-bit length behind a VR.
    length: Read


_READERS = _Readers(_EXPLICIT.unpack_from, _IMPLICIT.unpack_from, _LENGTH.unpack_from)


class _UnusualError(Exception):
    """Not for the shortcut."""


def scan(
    content: Content,
    once: Collection[Tag],
    numbers: Collection[int],
    longest: int,
    *,
    explicit: bool,
    layouts: Layouts | None = None,
) -> dict[Tag, tuple[int, bytes]] | None:
    """Return what `elements.wanted` would for little endian, or `None` where it has to be asked.

    `numbers` are the element numbers of `once`: the second half of a tag, which rules out most at the first look.
    `layouts`, of objects that were looked through for the same tags, save most of the way.
    """
    if len(content) > _MOST_BYTES:
        return None
    try:
        found = _found(content, once, numbers, explicit=explicit, layouts=layouts)
    except (struct.error, _UnusualError):
        return None
    return {
        tag: (length, bytes(content[start : start + min(length, longest)])) for tag, (start, length) in found.items()
    }


def _found(
    content: Content, once: Collection[Tag], numbers: Collection[int], *, explicit: bool, layouts: Layouts | None
) -> Found:
    """Walk over a data set, only over its last element where its layout is known; remember a layout that is not."""
    walk = _explicit if explicit else _implicit
    begin, found = 0, Found()
    if layouts is not None:
        layout = layouts.of(content, explicit=explicit)
        if layout is not None:
            begin, found = layout.end, layout.found.copy()
        elif layouts.are_wanted():
            reads, learned = Reads(), Found()
            readers = _Readers(*map(reads.noted, (_EXPLICIT, _IMPLICIT, _LENGTH)))
            with suppress(TooManyError):
                end = walk(content, once, numbers, readers, learned, 0)
                layouts.learn(content, reads, learned, end, explicit=explicit)
                return learned
    walk(content, once, numbers, _READERS, found, begin)
    return found


def _explicit(
    content: Content, once: Collection[Tag], numbers: Collection[int], readers: _Readers, found: Found, offset: int
) -> int:
    """Walk over a data set in Explicit VR Little Endian from an element's `offset` on.

    What is looked for goes to `found`, where it may be already. Returned is where the last element starts.
    """
    short_vrs, long_vrs, special = _SHORT, _LONG, _SPECIAL_GROUPS
    header, _, long_length = readers
    start, end = offset, len(content)
    while offset < end:
        start = offset
        group, number, vr, length = header(content, offset)
        if vr in short_vrs:
            if number in numbers and (group, number) in once:
                if (group, number) in found:
                    raise _UnusualError
                found[group, number] = (offset + 8, length)
            elif group in special:
                raise _UnusualError
            offset += 8 + length
        elif vr in long_vrs:
            (length,) = long_length(content, offset + 8)
            offset += 12
            if length != UNDEFINED:
                offset += length
            else:
                offset = (_after_implicit if vr == _UN else _after_explicit)(content, offset, readers, 1)
            if (group, number) in once or (group in special and not _are_last(group, number, offset == end)):
                raise _UnusualError
        else:
            raise _UnusualError
    if offset > end:
        raise _UnusualError
    return start


def _implicit(
    content: Content, once: Collection[Tag], numbers: Collection[int], readers: _Readers, found: Found, offset: int
) -> int:
    """As `_explicit`, in Implicit VR Little Endian."""
    header, special = readers.implicit, _SPECIAL_GROUPS
    start, end = offset, len(content)
    while offset < end:
        start = offset
        group, number, length = header(content, offset)
        offset += 8
        if number in numbers and (group, number) in once:
            if (group, number) in found or length == UNDEFINED:
                raise _UnusualError
            found[group, number] = (offset, length)
        offset = offset + length if length != UNDEFINED else _after_implicit(content, offset, readers, 1)
        if group in special and not _are_last(group, number, offset == end):
            raise _UnusualError
    if offset > end:
        raise _UnusualError
    return start


def _are_last(group: int, number: int, at_end: bool) -> bool:
    """Whether an element of a special group is sound: behind the pixel data usually nothing follows."""
    return group == _PIXELS and (at_end or (group, number) not in PIXEL_DATA)


def _after_explicit(content: Content, offset: int, readers: _Readers, depth: int) -> int:
    """Return where a sequence of undefined length ends, or encapsulated pixel data; `offset` is that of its value."""
    if depth > _DEEPEST:
        raise _UnusualError
    short_vrs, long_vrs = _SHORT, _LONG
    header, item, long_length = readers
    while True:
        group, number, length = item(content, offset)
        offset += 8
        if group != _DELIMITERS or number != _ITEM:
            return _checked_end(group, number, offset)
        if length != UNDEFINED:
            offset += length
            continue
        while True:
            group, number, vr, length = header(content, offset)
            if group == _DELIMITERS:
                break
            if vr in short_vrs:
                offset += 8 + length
            elif vr in long_vrs:
                (length,) = long_length(content, offset + 8)
                offset += 12
                if length != UNDEFINED:
                    offset += length
                else:
                    offset = (_after_implicit if vr == _UN else _after_explicit)(content, offset, readers, depth + 1)
            else:
                raise _UnusualError
        if number != _ITEM_END:
            raise _UnusualError
        offset += 8


def _after_implicit(content: Content, offset: int, readers: _Readers, depth: int) -> int:
    """As `_after_explicit`, where no VR is written."""
    if depth > _DEEPEST:
        raise _UnusualError
    header = readers.implicit
    while True:
        group, number, length = header(content, offset)
        offset += 8
        if group != _DELIMITERS or number != _ITEM:
            return _checked_end(group, number, offset)
        if length != UNDEFINED:
            offset += length
            continue
        while True:
            group, number, length = header(content, offset)
            offset += 8
            if group == _DELIMITERS:
                break
            offset = offset + length if length != UNDEFINED else _after_implicit(content, offset, readers, depth + 1)
        if number != _ITEM_END:
            raise _UnusualError


def _checked_end(group: int, number: int, offset: int) -> int:
    """Where a sequence ends, if this is its delimiter."""
    if group != _DELIMITERS or number != _SEQUENCE_END:
        raise _UnusualError
    return offset
