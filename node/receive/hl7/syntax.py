"""HL7 v2 in its delimited form (chapter 2, §2.5 to §2.7): segments, fields, repetitions, components, escapes.

Nothing is taken apart before it is asked for, and only so far: a megabyte of delimiters costs no more than a megabyte
of text. Libraries that build the whole tree took 900 MB and 16 s for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from node.errors import MatinsError

#: Segments of one message, fields of one segment, and repetitions of one field that are looked at.
MOST_SEGMENTS = 4000
_MOST_FIELDS = 100
_MOST_REPETITIONS = 100
_MOST_COMPONENTS = 32
_LONGEST_HEADER = 10_000
#: Characters of one component that are read; what is kept of it is shorter.
_LONGEST_TEXT = 20_000
#: Deletes what was told before; an empty field leaves it as it is.
NULL = '""'
#: Character sets of table 0211 that are read, by Python's names.
CHARACTER_SETS = {
    "ASCII": "ascii",
    "UNICODE UTF-8": "utf-8",
    "GB 18030-2000": "gb18030",
    "KS X 1001": "euc_kr",
    "BIG-5": "big5",
    **{f"8859/{part}": f"iso8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 15)},
}
_SEGMENT_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")
_HEXADECIMAL = re.compile(r"(?:[0-9A-Fa-f]{2})+")
#: What cannot stand in a field, or would end a line or a frame.
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class NotUnderstood(MatinsError):
    """A message that cannot be read; the reason names the segment and field, and no value."""


@dataclass(frozen=True, slots=True)
class Delimiters:
    """MSH-1 and the characters of MSH-2, in their order there; the truncation character (2.7) is none of them."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"

    @property
    def named(self) -> dict[str, str]:
        """Letter of the escape sequence → the delimiter that it stands for (§2.7)."""
        return {
            "F": self.field, "S": self.component, "T": self.subcomponent, "R": self.repetition, "E": self.escape,
        }  # fmt: skip


def escaped(text: str, delimiters: Delimiters, encoding: str = "ascii") -> str:
    """Write a text so that it may stand in a field (§2.7); control characters in hexadecimal."""
    mark = delimiters.escape
    letters = {character: f"{mark}{letter}{mark}" for letter, character in delimiters.named.items()}
    plain = "".join(letters.get(character, character) for character in text)
    return _CONTROL.sub(lambda found: f"{mark}X{found.group().encode(encoding).hex().upper()}{mark}", plain)


def unescaped(raw: str, delimiters: Delimiters, encoding: str = "ascii") -> str:
    """Return the text that a field means (§2.7).

    Line breaks of formatted text are kept, its highlighting and commands of other kinds are left out; an escape
    character without a partner stands for itself.
    """
    mark = delimiters.escape
    if not mark or mark not in raw:
        return raw
    first, *parts = raw.split(mark)
    made, inside = [first], True
    for index, part in enumerate(parts):
        if inside and index == len(parts) - 1:
            made.append(mark + part)
        elif inside and (meant := _meaning(part, delimiters, encoding)) is not None:
            made.append(meant)
            inside = False
        elif inside:
            # No sequence that there is: the character is meant as it stands, and the next one may begin one.
            made.append(mark + part)
        else:
            made.append(part)
            inside = True
    return "".join(made)


def _meaning(sequence: str, delimiters: Delimiters, encoding: str) -> str | None:
    """What stands between two escape characters; `None` where that is no sequence."""
    named = delimiters.named.get(sequence)
    if named is not None:
        return named
    if sequence in ("H", "N"):
        return ""
    if sequence[:1] == "X" and _HEXADECIMAL.fullmatch(sequence, 1):
        return bytes.fromhex(sequence[1:]).decode(encoding, "replace")
    if sequence[:1] == ".":
        return "\n" if sequence[1:3] in ("br", "sp") else ""
    return "" if sequence[:1] in ("C", "M", "Z") and sequence[1:].isalnum() else None


@dataclass(frozen=True, slots=True)
class Element:
    """One repetition of a field."""

    raw: str
    delimiters: Delimiters
    encoding: str

    @property
    def is_null(self) -> bool:
        """Whether it deletes what was told before."""
        return self.raw == NULL

    def text(self, component: int = 1, subcomponent: int = 1) -> str:
        """Return the text of a component, numbered from 1; empty where there is none, or where it is null."""
        parts = self.raw.split(self.delimiters.component, _MOST_COMPONENTS)[:_MOST_COMPONENTS]
        if len(parts) < component:
            return ""
        parts = parts[component - 1].split(self.delimiters.subcomponent, _MOST_COMPONENTS)[:_MOST_COMPONENTS]
        raw = parts[subcomponent - 1] if len(parts) >= subcomponent else ""
        return "" if raw == NULL else unescaped(raw[:_LONGEST_TEXT], self.delimiters, self.encoding).strip()


@dataclass(frozen=True)
class Segment:
    """One line of a message."""

    raw: str
    delimiters: Delimiters
    encoding: str

    @property
    def name(self) -> str:
        """Its three letters."""
        return self.raw[:3]

    @cached_property
    def _fields(self) -> list[str]:
        parts = self.raw.split(self.delimiters.field, _MOST_FIELDS)[:_MOST_FIELDS]
        return [parts[0], self.delimiters.field, *parts[1:]] if self.name == "MSH" else parts

    def raw_field(self, number: int) -> str:
        """Return a field as it stands, with all its delimiters; numbered from 1, as the standard does."""
        return self._fields[number] if number < len(self._fields) else ""

    def elements(self, number: int) -> list[Element]:
        """Return the repetitions of a field; none where it is empty."""
        raw = self.raw_field(number)
        if not raw:
            return []
        parts = raw.split(self.delimiters.repetition, _MOST_REPETITIONS)[:_MOST_REPETITIONS]
        return [Element(part, self.delimiters, self.encoding) for part in parts if part]

    def first(self, number: int) -> Element:
        """Return the first repetition of a field, an empty one where there is none."""
        return next(iter(self.elements(number)), Element("", self.delimiters, self.encoding))

    def text(self, number: int, component: int = 1, subcomponent: int = 1) -> str:
        """Return a component of the first repetition of a field."""
        return self.first(number).text(component, subcomponent)


@dataclass(frozen=True, slots=True)
class Message:
    """A message: its segments in their order, the first one MSH."""

    segments: tuple[Segment, ...]
    encoding: str = "ascii"

    @property
    def header(self) -> Segment:
        """The MSH segment."""
        return self.segments[0]

    def named(self, *names: str) -> Iterator[Segment]:
        """The segments of these names, in their order."""
        return (segment for segment in self.segments if segment.name in names)

    def one(self, name: str) -> Segment | None:
        """The first segment of that name."""
        return next(self.named(name), None)


def header_of(content: bytes) -> Segment:
    """Read the MSH segment alone, a byte a character: who sends, and what is to be answered.

    Raises:
        NotUnderstood: it does not begin with one.
    """
    line = content.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n").split(b"\r", 1)[0].split(b"\n", 1)[0]
    text = line[:_LONGEST_HEADER].decode("latin-1")
    if not text.startswith("MSH") or len(text) < len("MSH|^~\\&|"):
        raise NotUnderstood("it does not begin with an MSH segment")
    delimiters = _delimiters(text)
    return Segment(text, delimiters, "latin-1")


def parsed(content: bytes, default_character_set: str) -> Message:
    """Take a message apart into its segments.

    `default_character_set`: of table 0211, where MSH-18 names none.

    Raises:
        NotUnderstood: no MSH, an unknown character set or bytes that it does not have, too many segments, or a line
            that is none.
    """
    header = header_of(content)
    said = header.text(18).upper() or default_character_set
    encoding = CHARACTER_SETS.get(said)
    if encoding is None:
        raise NotUnderstood("MSH-18 names a character set that is not read here")
    try:
        # All of it first: in some character sets the second byte of a letter is that of a delimiter.
        text = content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError:
        raise NotUnderstood(f"bytes that the character set {said} does not have") from None
    lines = text.replace("\r\n", "\r").replace("\n", "\r").split("\r", MOST_SEGMENTS)
    if len(lines) > MOST_SEGMENTS:
        raise NotUnderstood(f"more than {MOST_SEGMENTS} segments")
    segments = tuple(Segment(line, header.delimiters, encoding) for line in lines if line.strip())
    for segment in segments:
        if not _SEGMENT_NAME.fullmatch(segment.name) or segment.raw[3:4] not in ("", header.delimiters.field):
            raise NotUnderstood("a line that is no segment")
    return Message(segments, encoding)


def _delimiters(header: str) -> Delimiters:
    separator = header[3]
    rest = header[4:].split(separator, 1)[0]
    found = (separator, *rest[:4])
    if len(found) < 5 or len(set(found)) < 5 or any(each.isalnum() or each in ' \r\n"' for each in found):
        raise NotUnderstood("MSH-1 and MSH-2 name no five delimiters that can be told apart")
    return Delimiters(*found)
