from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.errors import Refused
from node.receive.header import encoding_of, text_of
from node.receive.nested import elements
from tests.receive.objects import encoded

SERIES, IMAGES = (0x0040, 0x0340), (0x0008, 0x1140)
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"


def step(*, undefined: bool) -> Dataset:
    """A data set with a sequence in a sequence."""
    made = Dataset()
    made.Modality = "MR"
    items = []
    for number in (1, 2):
        item = Dataset()
        item.SeriesInstanceUID = f"1.2.{number}"
        references = [Dataset() for _ in range(number)]
        for at, reference in enumerate(references):
            reference.ReferencedSOPInstanceUID = f"1.2.{number}.{at}"
            reference.is_undefined_length_sequence_item = undefined
        item.ReferencedImageSequence = Sequence(references)
        item["ReferencedImageSequence"].is_undefined_length = undefined
        item.is_undefined_length_sequence_item = undefined
        items.append(item)
    made.PerformedSeriesSequence = Sequence(items)
    made["PerformedSeriesSequence"].is_undefined_length = undefined
    return made


@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_every_element_comes_with_its_path_however_it_is_encoded(syntax: str, undefined: bool) -> None:
    content = encoded(step(undefined=undefined), syntax)
    found = [
        (path, text_of(content, element))
        for path, element in elements(content, encoding_of(syntax), {SERIES, IMAGES}, deepest=4, most=100)
        if element.tag in {(0x0020, 0x000E), (0x0008, 0x1155), (0x0008, 0x0060)}
    ]
    assert found == [
        ((), "MR"),
        (((SERIES, 1), (IMAGES, 1)), "1.2.1.0"),
        (((SERIES, 1),), "1.2.1"),
        (((SERIES, 2), (IMAGES, 1)), "1.2.2.0"),
        (((SERIES, 2), (IMAGES, 2)), "1.2.2.1"),
        (((SERIES, 2),), "1.2.2"),
    ]


def walked(content: bytes, *, deepest: int = 16, most: int = 1000, syntax: str = ImplicitVRLittleEndian) -> int:
    return sum(1 for _ in elements(content, encoding_of(syntax), {SERIES}, deepest=deepest, most=most))


def open_sequence() -> bytes:
    return struct.pack("<HHI", *SERIES, 0xFFFFFFFF)


def test_twenty_thousand_sequences_in_each_other_are_refused_at_the_depth_allowed() -> None:
    nested = (open_sequence() + ITEM + b"\xff\xff\xff\xff") * 20_000
    with pytest.raises(Refused, match="more than 16 deep"):
        walked(nested, most=10**6)


def test_more_elements_than_are_looked_at_are_refused() -> None:
    with pytest.raises(Refused, match="0x0213: more than 1000 elements"):
        walked(struct.pack("<HHI", 0x0008, 0x0060, 0) * 2000)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<HHI", 0x0008, 0x0060, 9) + b"MR",
        struct.pack("<HHI", 0x0008, 0x0060, 0)[:5],
        open_sequence(),
        open_sequence() + ITEM + struct.pack("<I", 99),
        open_sequence() + struct.pack("<HHI", 0x0008, 0x0060, 0),
        struct.pack("<HHI", *SERIES, 8) + ITEM + struct.pack("<I", 8) + struct.pack("<HHI", 0x0008, 0x0060, 0),
        struct.pack("<HHI", 0x0002, 0x0010, 0),
        SEQUENCE_END + struct.pack("<I", 0),
    ],
)
def test_what_does_not_end_where_it_says_is_refused(content: bytes) -> None:
    with pytest.raises(Refused, match="0x0110: the data set cannot be read"):
        walked(content)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]))
def test_any_bytes_are_walked_through_or_refused(content: bytes, syntax: str) -> None:
    with suppress(Refused):
        walked(content, syntax=syntax)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_change_of_a_sound_data_set_is_walked_through_or_refused(data: st.DataObject) -> None:
    syntax = data.draw(st.sampled_from([ExplicitVRLittleEndian, ImplicitVRLittleEndian]))
    content = bytearray(encoded(step(undefined=data.draw(st.booleans())), syntax))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Refused):
        assert walked(bytes(content), syntax=syntax) <= 1000
