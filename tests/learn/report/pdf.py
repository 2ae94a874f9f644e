"""Just enough of PDF (ISO 32000) to read back what reportlab wrote: the words of each page, and its fonts."""

from __future__ import annotations

import base64
import re
import zlib

_OBJECT = re.compile(rb"(\d+) 0 obj\s(.*?)\bendobj", re.DOTALL)
_STREAM = re.compile(rb"\bstream\r?\n(.*?)\r?\n?endstream", re.DOTALL)
_SHOWN = re.compile(rb"/(F\d+\+\d+) [\d.]+ Tf|\(((?:\\.|[^\\()])*)\) Tj", re.DOTALL)
_ESCAPED = re.compile(rb"\\([0-7]{1,3}|.)", re.DOTALL)
_LETTERS = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def objects(content: bytes) -> dict[int, bytes]:
    return {int(number): body for number, body in _OBJECT.findall(content)}


def stream(body: bytes) -> bytes:
    found = _STREAM.search(body)
    assert found, body[:80]
    data = found[1]
    if b"/ASCII85Decode" in body:
        data = base64.a85decode(data.strip().removesuffix(b"~>"))
    return zlib.decompress(data) if b"/FlateDecode" in body else data


def fonts(content: bytes) -> list[bytes]:
    return [body for body in objects(content).values() if re.search(rb"/Type /Font\b(?!Descriptor)", body)]


def pages(content: bytes) -> list[str]:
    """The words of each page, in the order in which they are drawn, a space between two draws."""
    found = objects(content)
    maps = {}
    for body in found.values():
        for name, number in re.findall(rb"/(F\d+\+\d+) (\d+) 0 R", body):
            reference = re.search(rb"/ToUnicode (\d+) 0 R", found[int(number)])
            if reference:
                table = stream(found[int(reference[1])])
                pairs = re.findall(rb"<([0-9A-Fa-f]{2})> <([0-9A-Fa-f]{4})>", table)
                maps[name] = {int(code, 16): chr(int(letter, 16)) for code, letter in pairs}
    words = []
    for _, body in sorted(found.items()):
        if re.search(rb"/Type /Page\b(?!s)", body):
            reference = re.search(rb"/Contents (\d+) 0 R", body)
            assert reference
            words.append(_words(stream(found[int(reference[1])]), maps))
    return words


def _words(drawn: bytes, maps: dict[bytes, dict[int, str]]) -> str:
    letters: dict[int, str] = {}
    words = []
    for font, text in _SHOWN.findall(drawn):
        if font:
            letters = maps.get(font, {})
        else:
            words.append("".join(letters.get(code, "?") for code in _ESCAPED.sub(_plain, text)))
    return " ".join(words)


def _plain(escaped: re.Match[bytes]) -> bytes:
    text = escaped[1]
    return bytes([int(text, 8)]) if text.isdigit() else _LETTERS.get(text, text)
