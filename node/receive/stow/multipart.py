"""A multipart/related body (RFC 2387, RFC 2046 §5.1) taken apart while it comes, piece by piece."""

from __future__ import annotations

import logging
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser

from node.errors import MatinsError

#: What may stand before the first delimiter; a body without any is not read to its end.
_LONGEST_PREAMBLE = 1 << 13
_MOST_HEADERS = 16
_LONGEST_HEADER = 2048
#: RFC 2046 §5.1.1 has 70 characters; Orthanc sends 73.
_LONGEST_BOUNDARY = 200

# It quotes what a peer sent.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


class Malformed(MatinsError):
    """The body is not what its Content-Type says, or is too much; the parts before this point are sound."""

    def __init__(self, reason: str, status: int = 400) -> None:
        self.reason = reason
        #: HTTP status.
        self.status = status
        super().__init__(reason)


class Parts(Protocol):
    """Who takes the parts of a body."""

    def begin(self) -> None:
        """A part begins."""
        ...

    def describe(self, headers: dict[str, str]) -> None:
        """Its header fields, names in small letters; comes once a part, before its content."""
        ...

    def write(self, piece: memoryview) -> None:
        """The next bytes of its content; the memory is used again afterwards."""
        ...

    def end(self) -> None:
        """The part is whole."""
        ...


class Multipart:
    """Takes one body apart."""

    def __init__(self, boundary: str, parts: Parts) -> None:
        """Begin; `boundary` is the parameter of the Content-Type, without the two hyphens.

        Raises:
            Malformed: there is none, or it is too long.
        """
        if not 1 <= len(boundary) <= _LONGEST_BOUNDARY or not boundary.isascii() or not boundary.isprintable():
            raise Malformed(f"the boundary is missing, or longer than {_LONGEST_BOUNDARY} characters")
        self._parts = parts
        self._delimiter = b"--" + boundary.encode()
        #: Bytes in which the first delimiter is still looked for; `None` once it was found.
        self._preamble: bytes | None = b""
        self._ended = False
        self._headers: dict[str, str] = {}
        self._field, self._value = bytearray(), bytearray()
        self._parser = MultipartParser(
            boundary.encode(),
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda piece, start, end: self._field.extend(piece[start:end]),
                "on_header_value": lambda piece, start, end: self._value.extend(piece[start:end]),
                "on_header_end": self._header,
                "on_headers_finished": lambda: parts.describe(self._headers),
                "on_part_data": self._write,
                "on_part_end": parts.end,
                "on_end": self._end,
            },
            max_header_count=_MOST_HEADERS,
            max_header_size=_LONGEST_HEADER,
        )

    def feed(self, piece: bytes) -> None:
        """Take the next bytes of the body.

        Raises:
            Malformed: it is no such body; the part that had begun never ends.
        """
        if self._preamble is not None:
            piece = self._after_preamble(piece)
        if not piece:
            return
        try:
            self._parser.write(piece)
        except FormParserError as error:
            # Without the library's words: they quote the body.
            raise Malformed("the body is no sound multipart message") from error

    def close(self) -> None:
        """The body is over.

        Raises:
            Malformed: before its last delimiter.
        """
        if not self._ended:
            what = "ends before its last delimiter" if self._preamble is None else "does not hold its boundary"
            raise Malformed(f"the body {what}")

    def _after_preamble(self, piece: bytes) -> bytes:
        """What of the bytes so far begins with the first delimiter; empty while it has not come."""
        assert self._preamble is not None
        seen = self._preamble + piece
        start = 0 if seen.startswith(self._delimiter) else seen.find(b"\r\n" + self._delimiter)
        if start >= 0:
            self._preamble = None
            return seen[start:]
        if len(seen) > _LONGEST_PREAMBLE:
            raise Malformed("the body does not hold its boundary")
        self._preamble = seen
        return b""

    def _begin(self) -> None:
        self._headers = {}
        self._field.clear()
        self._value.clear()
        self._parts.begin()

    def _header(self) -> None:
        self._headers[self._field.decode("latin-1").lower()] = self._value.decode("latin-1").strip()
        self._field.clear()
        self._value.clear()

    def _write(self, piece: bytes, start: int, end: int) -> None:
        with memoryview(piece) as whole, whole[start:end] as part:
            self._parts.write(part)

    def _end(self) -> None:
        self._ended = True
