"""The elements of an encoded data set with those of the sequences in it, without recursion and within bounds."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from node.errors import Refused
from node.receive.header import Element, Encoding, element_at
from node.receive.status import PROCESSING_FAILURE, RESOURCE_LIMITATION

Tag: TypeAlias = tuple[int, int]
#: The sequences around an element, outermost first, each with the number of the item in it, from 1.
Path: TypeAlias = tuple[tuple[Tag, int], ...]

_UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)


@dataclass(slots=True)
class _Open:
    """A data set or a sequence that is being walked through."""

    encoding: Encoding
    path: Path
    #: Where it ends: exactly there if its length is defined, at the latest otherwise.
    end: int
    is_defined: bool
    #: Of a sequence: its tag; `None` for the data set or an item.
    sequence: Tag | None = None
    #: Of a sequence: how many items have begun.
    items: int = 0


def elements(
    content: bytes, encoding: Encoding, opened: Collection[Tag], *, deepest: int, most: int
) -> Iterator[tuple[Path, Element]]:
    """Yield every element with the path to it, in the order written; a sequence comes before what is in it.

    A sequence of defined length is looked into if its tag is one of `opened`, else stepped over: without a VR it cannot
    be told from other values. `deepest` bounds the sequences around an element, `most` the elements and items in all.

    Raises:
        Refused: 0x0110, an element does not end where it says, or they are nested deeper; 0x0213, there are more.
    """
    stack = [_Open(encoding, (), len(content), is_defined=True)]
    offset = count = 0
    try:
        while stack:
            around = stack[-1]
            if around.is_defined and offset >= around.end:
                stack.pop()
                continue
            count += 1
            if count > most:
                raise Refused(RESOURCE_LIMITATION, f"more than {most} elements")
            if around.sequence is not None:
                offset = _next_item(content, offset, stack)
                continue
            element = element_at(content, offset, around.encoding)
            if element.tag == _ITEM_END and not around.is_defined:
                stack.pop()
                offset += 8
                continue
            end = around.end if element.length == _UNDEFINED else element.start + element.length
            if element.tag[0] in (0x0000, 0x0002, 0xFFFE) or end > around.end:
                raise broken(f"({element.tag[0]:04X},{element.tag[1]:04X}) does not belong there, or ends elsewhere")
            yield around.path, element
            if element.length != _UNDEFINED and element.tag not in opened:
                offset = end
                continue
            if len(around.path) >= deepest:
                raise broken(f"sequences nested more than {deepest} deep")
            # UN is written as implicit inside (PS3.5 §6.2.2).
            inside = Encoding(explicit=False, order="<") if element.vr == b"UN" else around.encoding
            stack.append(_Open(inside, around.path, end, element.length != _UNDEFINED, sequence=element.tag))
            offset = element.start
    except struct.error as error:
        raise broken("it ends inside an element") from error
    if offset != len(content):
        raise broken("it ends elsewhere than its sequences")


def broken(problem: str) -> Refused:
    """The answer to a data set that cannot be read."""
    return Refused(PROCESSING_FAILURE, f"the data set cannot be read: {problem}")


def _next_item(content: bytes, offset: int, stack: list[_Open]) -> int:
    """Open the next item of the innermost sequence, or close the sequence; return where to read on."""
    around = stack[-1]
    group, number, length = struct.unpack_from(f"{around.encoding.order}HHI", content, offset)
    offset += 8
    if (group, number) == _SEQUENCE_END and not around.is_defined:
        stack.pop()
        return offset
    end = around.end if length == _UNDEFINED else offset + length
    if (group, number) != _ITEM or end > around.end or around.sequence is None:
        raise broken("a sequence holds something else than whole items")
    around.items += 1
    path = (*around.path, (around.sequence, around.items))
    stack.append(_Open(around.encoding, path, end, length != _UNDEFINED))
    return offset
