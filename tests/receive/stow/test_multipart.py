from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.receive.stow.multipart import Malformed, Multipart
from tests.receive.stow.bodies import body


class Heard:
    """Notes the parts."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.headers: list[dict[str, str]] = []
        self.ended = 0

    def begin(self) -> None:
        self.parts.append(b"")

    def describe(self, headers: dict[str, str]) -> None:
        self.headers.append(headers)

    def write(self, piece: memoryview) -> None:
        self.parts[-1] += piece

    def end(self) -> None:
        self.ended += 1


def taken_apart(content: bytes, size: int, boundary: str = "edge") -> Heard:
    heard = Heard()
    multipart = Multipart(boundary, heard)
    for start in range(0, len(content), size):
        multipart.feed(content[start : start + size])
    multipart.close()
    return heard


PIECES = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b"-", b"--", b"edge", b"--edg", b"\r\n--edg", b"\r\n--Edge", b"\0", b"x"]
)


@given(st.lists(st.lists(PIECES, max_size=12).map(b"".join), max_size=5), st.integers(1, 70))
def test_parts_come_out_as_they_went_in_however_they_are_cut(contents: list[bytes], size: int):
    contents = [content for content in contents if b"\r\n--edge" not in b"\r\n" + content]
    heard = taken_apart(b"a preamble\r\n" + body(contents) + b"epilogue", size)
    assert heard.parts == contents
    assert heard.ended == len(contents)


@given(st.binary(max_size=400), st.integers(1, 50))
def test_no_body_brings_anything_but_parts_or_a_refusal(content: bytes, size: int):
    for whole in (content, b"--edge" + content, b"--edge\r\n" + content, body([content])[:-5] + content):
        try:
            taken_apart(whole, size)
        except Malformed:
            continue


def test_fields_of_a_part_are_told_once_and_before_its_content():
    heard = taken_apart(body([b"x", b"y"], headers=b"Content-Type: a/b\r\nX-Y:  z \r\n"), 3)
    assert heard.headers == [{"content-type": "a/b", "x-y": "z"}] * 2
    assert taken_apart(body([b"x"], headers=b""), 3).headers == [{}]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "does not hold its boundary"),
        (b"no delimiter at all", "does not hold its boundary"),
        (b"x" * 10_000, "does not hold its boundary"),
        (body([b"x"], end=False), "ends before its last delimiter"),
        (body([b"x"])[:-6], "ends before its last delimiter"),
        (b"--edge\n\nlines of Unix\n--edge--\n", "no sound multipart"),
        (body([b"x"], headers=b"X: " + b"y" * 5000 + b"\r\n"), "no sound multipart"),
        (body([b"x"], headers=b"X: y\r\n" * 50), "no sound multipart"),
        (body([b"x"], headers=b"a field without colon\r\n"), "no sound multipart"),
    ],
)
def test_what_is_no_such_body_is_refused(content: bytes, reason: str):
    with pytest.raises(Malformed, match=reason):
        taken_apart(content, 1000)


def test_a_boundary_longer_than_allowed_is_taken_as_orthanc_sends_it():
    boundary = "0" * 73
    assert taken_apart(body([b"x"], boundary=boundary), 10, boundary).parts == [b"x"]


@pytest.mark.parametrize("boundary", ["", "x" * 201, "ä", "a\x00b"])
def test_a_boundary_is_needed(boundary: str):
    with pytest.raises(Malformed, match="the boundary is missing"):
        Multipart(boundary, Heard())
