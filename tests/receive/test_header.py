from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from node.errors import Refused
from node.receive.header import walk
from tests.receive.objects import SERIES, STUDY, compressed, encoded, mr_slice

NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian)
EXPLICIT = str(ExplicitVRLittleEndian)


def nested(depth: int, *, undefined: bool) -> Dataset:
    dataset = mr_slice()
    inner = Dataset()
    inner.CodeValue = "1"
    for _ in range(depth):
        outer = Dataset()
        outer.RequestAttributesSequence = Sequence([inner])
        outer["RequestAttributesSequence"].is_undefined_length = undefined
        inner.is_undefined_length_sequence_item = undefined
        inner = outer
    dataset.update(inner)
    return dataset


def element(group: int, number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", group, number, vr, len(value)) + value


def deep(depth: int) -> bytes:
    """Sequences of undefined length inside each other, with all their ends."""
    start = struct.pack("<HH2sHI", 0x0040, 0x0275, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    end = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    return start * depth + end * depth


@pytest.mark.parametrize("syntax", NATIVE)
def test_the_uids_are_found_in_each_encoding(syntax: str):
    header = walk(encoded(mr_slice(7), syntax), syntax)
    assert (header.sop_instance_uid, header.series_instance_uid) == (f"{SERIES}.7", SERIES)
    assert header.study_instance_uid == STUDY
    assert header.sop_class_uid == mr_slice().SOPClassUID
    assert header.lossy_image_compression == ""


@pytest.mark.parametrize("syntax", NATIVE)
@pytest.mark.parametrize("undefined", [False, True])
def test_sequences_are_passed_over(syntax: str, undefined: bool):
    assert walk(encoded(nested(5, undefined=undefined), syntax), syntax).study_instance_uid == STUDY


def test_a_uid_inside_a_sequence_is_not_the_objects():
    dataset = mr_slice()
    inner = Dataset()
    inner.StudyInstanceUID = "9.9"
    dataset.RequestAttributesSequence = Sequence([inner])
    dataset["RequestAttributesSequence"].is_undefined_length = True
    assert walk(encoded(dataset), EXPLICIT).study_instance_uid == STUDY


def test_encapsulated_pixels_are_passed_over():
    dataset = compressed(mr_slice(), RLELossless)
    assert walk(encoded(dataset, RLELossless), str(RLELossless)).study_instance_uid == STUDY


def test_unknown_values_of_undefined_length_are_implicit():
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    inner = struct.pack("<HHI", 0x0009, 0x1001, 2) + b"ab"
    ends = struct.pack("<HHI", 0xFFFE, 0xE00D, 0) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    unknown = struct.pack("<HH2sHI", 0x7FE3, 0x1010, b"UN", 0, 0xFFFFFFFF) + item + inner + ends
    assert walk(encoded(mr_slice()) + unknown, EXPLICIT).study_instance_uid == STUDY


@pytest.mark.parametrize("syntax", NATIVE)
def test_an_object_cut_inside_its_last_element_is_refused(syntax: str):
    whole = encoded(mr_slice(), syntax)
    for cut in (1, 2, 100, 2880, 2887):
        with pytest.raises(Refused, match=r"truncated|UID") as refused:
            walk(whole[:-cut], syntax)
        assert refused.value.status == 0xC000


def test_encapsulated_pixels_without_an_end_are_refused():
    whole = encoded(compressed(mr_slice(), RLELossless), RLELossless)
    with pytest.raises(Refused, match="truncated"):
        walk(whole[:-8], str(RLELossless))


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (b"\x00", "truncated"),
        (struct.pack("<HH2sHI", 0x7FE1, 0x0010, b"OB", 0, 0xFFFFFFF0), "claims 4294967280 bytes where 0 are left"),
        (struct.pack("<HH2sHI", 0x7FE1, 0x0010, b"SQ", 0, 0xFFFFFFFF), "truncated"),
        (struct.pack("<HH2sHI", 0x7FE1, 0x0010, b"SQ", 0, 0xFFFFFFFF) + b"abcdefgh", "where an item"),
        (struct.pack("<HHI", 0xFFFE, 0xE0DD, 0), "does not belong"),
        (element(0x0002, 0x0010, b"UI", b"1.2\0"), "(0002,0010) does not belong"),
        (element(0x0000, 0x0100, b"US", b"\1\0"), "(0000,0100) does not belong"),
        (element(0x0020, 0x000D, b"UI", b"9.9\0"), "Study Instance UID occurs twice"),
        (element(0x7FE1, 0x0010, b"\0\0", b"abcd"), "truncated"),
        (deep(101), "nested more than 100 deep"),
        (deep(20000), "nested more than 100 deep"),
    ],
)
def test_what_does_not_end_where_it_says_is_refused(more: bytes, reason: str):
    with pytest.raises(Refused) as refused:
        walk(encoded(mr_slice()) + more, EXPLICIT)
    assert reason in refused.value.reason
    assert refused.value.status == 0xC000


def test_deep_but_sound_nesting_is_kept():
    assert walk(deep(99) + encoded(mr_slice()), EXPLICIT).study_instance_uid == STUDY


@pytest.mark.parametrize("keyword", ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_or_empty_uid_is_named(keyword: str, value: str | None):
    with pytest.raises(Refused, match="missing or empty: S") as refused:
        walk(encoded(mr_slice(**{keyword: value})), EXPLICIT)
    assert refused.value.status == 0xC000


@pytest.mark.parametrize(
    "uid",
    ["../../etc/passwd", "/abs", "1.2.$(id)", "1..2", ".1.2", "1.2.", "12", "1." + "2" * 64, "1" * 300, "a\nb", "é"],
)
def test_a_sop_instance_uid_that_is_none_has_its_own_status(uid: str):
    dataset = mr_slice()
    value = uid.encode("latin-1")
    value += b"\0" * (len(value) % 2)
    sop = element(0x0008, 0x0018, b"UI", value)
    del dataset.SOPInstanceUID
    with pytest.raises(Refused, match="SOP Instance UID is no UID") as refused:
        walk(sop + encoded(dataset), EXPLICIT)
    assert refused.value.status == 0x0117


@examples(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(NATIVE))
def test_no_bytes_raise_anything_but_a_refusal(content: bytes, syntax: str):
    with pytest.raises(Refused):
        walk(content, syntax)


@examples(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(NATIVE))
def test_a_damaged_object_is_refused_or_walked_but_never_fails(data: st.DataObject, syntax: str):
    whole = bytearray(encoded(nested(2, undefined=True), syntax))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with suppress(Refused):
        walk(bytes(whole), syntax)
