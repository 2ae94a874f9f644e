"""What can be read in a file, whatever it is: all its texts, also those in compressed parts, escaped or in UTF-16."""

from __future__ import annotations

import binascii
import gzip
import html
import re
import struct
import zipfile
import zlib
from base64 import a85decode, b64decode
from collections.abc import Callable, Iterator
from io import BytesIO
from urllib.parse import unquote

from pydicom import Dataset, dcmread
from pydicom.dataelem import DataElement
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID

#: Text that one part yields at most when it is unpacked, bytes; and how deeply parts lie in parts.
_MOST_BYTES = 1 << 28
_DEPTH = 4
_PLAIN_RUN = re.compile(rb"[\t\n\r\x20-\x7e]{4,}")
#: Words with letters beyond ASCII among numbers: in UTF-8, and in ISO 8859-1 with few such letters.
_UTF8_RUN = re.compile(rb"[\x20-\x7e]{0,64}(?:(?:[\xc3-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2})+[\x20-\x7e]{0,64})+")
_LATIN_RUN = re.compile(rb"[\x20-\x7e]{0,64}(?:[\xc0-\xff]{1,2}[\x20-\x7e]{1,64})+")
_SHORTEST_RUN, _MOST_ACCENTED = 5, 1 / 3
_WIDE_LITTLE = re.compile(rb"(?:[\t\n\r\x20-\x7e\xa0-\xff]\x00|[\x00-\xff][\x01-\x06]){4,}")
_WIDE_BIG = re.compile(rb"(?:\x00[\t\n\r\x20-\x7e\xa0-\xff]|[\x01-\x06][\x00-\xff]){4,}")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")
_EMBEDDED = re.compile(rb";base64,([A-Za-z0-9+/\s]{16,}={0,2})")
_PDF_STREAM = re.compile(rb"<<(.{0,2000}?)>>\s*stream\r?\n(.*?)endstream", re.DOTALL)
_PDF_BREAK = re.compile(rb"\)\s*-?[\d.]*\s*\(")
_PDF_OCTAL = re.compile(rb"\\([0-7]{3})")
_PNG, _ZIP, _GZIP, _PDF, _PREFIX = b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"\x1f\x8b", b"%PDF", b"DICM"
#: What damaged content raises.
UNREADABLE = (
    *(ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError, OverflowError, EOFError),
    *(OSError, RecursionError, InvalidDicomError, BytesLengthException, struct.error, zlib.error, binascii.Error),
    *(zipfile.BadZipFile, RuntimeError),
)


def texts(content: bytes, depth: int = 0) -> Iterator[str]:
    """All texts of a file or part: as they stand, and as they are meant."""
    written = _written(content)
    if written is not None:
        yield written
        yield from _meant(written)
    else:
        yield from _among_numbers(content)
    if depth < _DEPTH:
        for part in _parts(content):
            yield from texts(part, depth + 1)


def identifiers(content: bytes) -> Iterator[str]:
    """The whole values of a DICOM object, one by one; none of anything else."""
    dataset = _object(content)
    if dataset is not None:
        for element in every_element(dataset):
            if element.VR in ("LO", "SH", "PN", "LT", "ST", "UT", "UC", "UI", "DA"):
                for value in element.value if element.VM > 1 else [element.value]:
                    yield str(value)


def every_element(dataset: Dataset) -> Iterator[DataElement]:
    """The elements that are no sequences, at all depths; without those that cannot be read."""
    for tag in list(dataset.keys()):
        try:
            element = dataset[tag]
            if element.VR != "SQ":
                yield element
                continue
            items = list(element.value)
        except UNREADABLE:
            continue
        for item in items:
            yield from every_element(item)


def _written(content: bytes) -> str | None:
    """A content that is text as a whole; `None`: it is none."""
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if content.startswith(mark):
            return content[2:].decode(encoding, "replace")
    try:
        # NUL is a letter to UTF-8, and a sign of numbers here.
        return None if b"\0" in content else content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _among_numbers(content: bytes) -> Iterator[str]:
    """What is written between the numbers of a content."""
    yield "\n".join(run.decode("ascii") for run in _PLAIN_RUN.findall(content))
    yield "\n".join(run.decode("utf-8", "replace") for run in _UTF8_RUN.findall(content) if len(run) >= _SHORTEST_RUN)
    yield "\n".join(run.decode("latin-1") for run in _LATIN_RUN.findall(content) if _is_written(run))
    yield "\n".join(run.decode("utf-16-le", "replace") for run in _WIDE_LITTLE.findall(content))
    yield "\n".join(run.decode("utf-16-be", "replace") for run in _WIDE_BIG.findall(content))


def _is_written(run: bytes) -> bool:
    """Whether it looks like words with a few accents, and not like numbers."""
    return len(run) >= _SHORTEST_RUN and sum(each > 127 for each in run) <= _MOST_ACCENTED * len(run)


def _meant(text: str) -> Iterator[str]:
    """A text without the escapes of HTML, JSON and URLs, where it has some."""
    if "&" in text and ";" in text:
        yield html.unescape(text)
    if "\\u" in text:
        yield _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    if "%" in text:
        yield unquote(text)


def _parts(content: bytes) -> Iterator[bytes]:
    """What is packed into a content."""
    by_beginning: tuple[tuple[bytes, Callable[[bytes], Iterator[bytes]]], ...] = (
        (_PNG, _of_png),
        (_ZIP, _of_zip),
        (_GZIP, _of_gzip),
        (_PDF, _of_pdf),
    )
    for beginning, unpack in by_beginning:
        if content.startswith(beginning):
            try:
                yield from unpack(content)
            except UNREADABLE:
                return
    for found in _EMBEDDED.finditer(content):
        try:
            yield b64decode(found[1])
        except binascii.Error:
            continue
    dataset = _object(content)
    if dataset is not None:
        # As they are decoded in their own character set; inflated, where the object is deflated.
        values = (str(value) for element in every_element(dataset) for value in _values(element))
        yield "\n".join(values).encode("utf-8", "replace")


def _values(element: DataElement) -> list[object]:
    if element.VR in ("OB", "OW", "OD", "OF", "OL", "OV", "UN"):
        return []
    return list(element.value) if element.VM > 1 else [element.value]


def without_pixels(content: bytes) -> bytes:
    """A DICOM object without pixels that are stored as they are: numbers, in which words stand by chance."""
    dataset = _object(content)
    if dataset is None:
        return content
    syntax = UID(str(getattr(dataset, "file_meta", Dataset()).get("TransferSyntaxUID", "") or ""))
    if not syntax.is_transfer_syntax or syntax.is_encapsulated or "PixelData" not in dataset:
        return content
    pixels = dataset.PixelData
    return content.replace(pixels, b"\0" * 16) if isinstance(pixels, bytes) and len(pixels) > 64 else content


def _object(content: bytes) -> Dataset | None:
    if content[128:132] != _PREFIX:
        return None
    try:
        return dcmread(BytesIO(content), force=True)
    except UNREADABLE:
        return None


def _of_png(content: bytes) -> Iterator[bytes]:
    """Texts of a PNG that are compressed (PNG §11.3.4); the others stand there as they are."""
    place = len(_PNG)
    while place + 8 <= len(content):
        length, kind = struct.unpack(">I4s", content[place : place + 8])
        chunk = content[place + 8 : place + 8 + length]
        place += 12 + length
        if kind in (b"zTXt", b"iTXt"):
            start = chunk.find(b"x")
            while start >= 0:
                try:
                    yield _inflated(chunk[start:])
                    break
                except zlib.error:
                    start = chunk.find(b"x", start + 1)


def _of_zip(content: bytes) -> Iterator[bytes]:
    with zipfile.ZipFile(BytesIO(content)) as packed:
        for member in packed.infolist():
            yield member.filename.encode()
            with packed.open(member) as stream:
                yield stream.read(_MOST_BYTES)


def _of_gzip(content: bytes) -> Iterator[bytes]:
    with gzip.GzipFile(fileobj=BytesIO(content)) as stream:
        yield stream.read(_MOST_BYTES)


def _of_pdf(content: bytes) -> Iterator[bytes]:
    """Streams of a PDF as text: pieces of one line put together again (ISO 32000-1 §9.4.3)."""
    for found in _PDF_STREAM.finditer(content):
        stream = found[2].strip(b"\r\n")
        try:
            if b"ASCII85Decode" in found[1]:
                stream = a85decode(stream.strip(), adobe=stream.strip().startswith(b"<~") or b"~>" in stream)
            if b"FlateDecode" in found[1]:
                stream = _inflated(stream)
        except (ValueError, zlib.error):
            continue
        letters = _PDF_OCTAL.sub(lambda octal: bytes([int(octal[1], 8) & 0xFF]), stream)
        yield _PDF_BREAK.sub(b"", letters)


def _inflated(packed: bytes) -> bytes:
    return zlib.decompressobj().decompress(packed, _MOST_BYTES)
