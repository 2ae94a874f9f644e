"""Layouts: where the elements of the last objects stood, so that the next of their series need not be walked anew.

Objects of a series differ in their values, and mostly in no length. Where the walk goes, and what it finds, hangs on
the element headers that it reads, and on where the data set ends: where all headers of an earlier object stand in the
next one too, byte by byte, the walk would come to the same place with the same findings. It goes on from there, at the
last element: the pixel data, whose length may differ. Everything before was taken though more followed, and what is
taken there is taken at the end too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from node.receive.elements import Content, Tag

#: Start and length of the values that are looked for.
Found: TypeAlias = dict[Tag, tuple[int, int]]
#: Reads some integers at an offset, as `Struct.unpack_from` does.
Read: TypeAlias = Callable[[Content, int], tuple[Any, ...]]

#: A series has few, and each that does not fit costs the time of a look.
_MOST = 4
#: An object with more headers is not remembered.
_MOST_READS = 1024


class TooManyError(Exception):
    """The object has too many headers."""


class Layout(NamedTuple):
    """Where the headers of an object stand, but for that of its last element."""

    explicit: bool
    #: Takes the bytes of the headers, and passes over the values.
    headers: struct.Struct
    expected: tuple[bytes, ...]
    #: Where the last header stands: hardly there where any length before it is another.
    last: slice
    found: Found
    #: Where the last element starts: the walk goes on there.
    end: int


class Layouts:
    """The layouts of one association; in the hands of its thread."""

    def __init__(self) -> None:
        self._known: list[Layout] = []
        #: Objects since the last one whose layout was known.
        self._unknown = 0

    def of(self, content: Content, *, explicit: bool) -> Layout | None:
        """The layout that the data set shares with an earlier one."""
        for at, layout in enumerate(self._known):
            if (
                layout.explicit is explicit
                and content[layout.last] == layout.expected[-1]
                and layout.headers.unpack_from(content) == layout.expected
            ):
                if at:
                    self._known.insert(0, self._known.pop(at))
                self._unknown = 0
                return layout
        self._unknown += 1
        return None

    def are_wanted(self) -> bool:
        """Whether to learn the layout of the object that was asked for last: the 1st, 2nd, 4th, 8th unknown one."""
        return not self._unknown & (self._unknown - 1)

    def learn(self, content: Content, reads: Reads, found: Found, end: int, *, explicit: bool) -> None:
        """Keep the layout of a data set that was walked over with `reads`; its last element starts at `end`."""
        places = [place for place in reads.places if place[0] < end]
        if not places or any(start >= end for start, _ in found.values()):
            return
        pattern, at = "<", 0
        for start, size in places:
            pattern += f"{start - at}x{size}s"
            at = start + size
        headers = struct.Struct(pattern)
        expected = headers.unpack_from(content)
        last = slice(places[-1][0], at)
        self._known.insert(0, Layout(explicit, headers, expected, last, dict(found), end))
        del self._known[_MOST:]


class Reads:
    """Where a walk reads, from the front to the back."""

    def __init__(self) -> None:
        #: Offset and size.
        self.places: list[tuple[int, int]] = []

    def noted(self, reader: struct.Struct) -> Read:
        """`reader.unpack_from`, of which is kept where it read; it raises TooManyError in the end."""
        size, unpack, places = reader.size, reader.unpack_from, self.places

        def read(content: Content, offset: int) -> tuple[Any, ...]:
            if len(places) == _MOST_READS:
                raise TooManyError
            places.append((offset, size))
            return unpack(content, offset)

        return read
