"""The shortcut and the walk by the book agree on everything, in memory and through windows onto a file."""

from __future__ import annotations

import os
import random
import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.errors import Refused
from node.receive import header
from node.receive.elements import Content, encoding_of, wanted
from node.receive.header import walk, walk_file
from node.receive.layouts import Layouts
from node.receive.scan import scan
from node.receive.windows import Whole
from tests.receive.objects import STUDY, encoded, mr_slice

LITTLE = (str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian))
NATIVE = (*LITTLE, str(ExplicitVRBigEndian))
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xE000, 0xE00D, 0xE0DD
UIDS = ((0x0008, 0x0016, "1.2.3"), (0x0008, 0x0018, "1.2.4"), (0x0020, 0x000D, "1.2.5"), (0x0020, 0x000E, "1.2.6"))
#: What the tests are made of: ordinary tags, those that are looked for, and those that do not belong there.
TAGS = (
    *((0x0008, 0x0018), (0x0020, 0x000D), (0x0010, 0x0020), (0x0028, 0x2110), (0x0008, 0x0060), (0x0028, 0x0010)),
    *((0x0040, 0x0275), (0x0029, 0x1001), (0x7FE0, 0x0010), (0x7FE0, 0x0009), (0x7FE0, 0x0001), (0xFFFC, 0xFFFC)),
    *((0x0000, 0x0002), (0x0002, 0x0010), (0xFFFE, 0xE000), (0xFFFE, 0xE00D), (0xFFFE, 0xE0DD)),
)
VRS = (b"CS", b"UI", b"DS", b"OW", b"OB", b"UN", b"SQ", b"UT", b"ZZ", b"\0\0", b"a1")

Outcome = tuple[object, ...]


def outcome_of(ask: Callable[[], object]) -> Outcome:
    """What comes back, or status and text of the refusal."""
    try:
        return ("is", ask())
    except Refused as refused:
        return ("refused", refused.status, refused.reason)


def delimiter(number: int, length: int = 0) -> bytes:
    return struct.pack("<HHI", 0xFFFE, number, length)


def element(group: int, number: int, vr: bytes, value: bytes, *, explicit: bool, length: int | None = None) -> bytes:
    length = len(value) if length is None else length
    if not explicit:
        return struct.pack("<HHI", group, number, length) + value
    if vr in (b"OW", b"OB", b"UN", b"SQ", b"UT"):
        return struct.pack("<HH2sHI", group, number, vr, 0, length) + value
    return struct.pack("<HH2sH", group, number, vr, length & 0xFFFF) + value


def uids(*, explicit: bool) -> bytes:
    return b"".join(element(g, n, b"UI", uid.encode() + b"\0", explicit=explicit) for g, n, uid in UIDS)


@st.composite
def pieces(draw: st.DrawFn, explicit: bool, depth: int = 0) -> bytes:
    """Some elements, mostly sound: plain ones, sequences of either length, encapsulated pixels."""
    made = []
    for _ in range(draw(st.integers(0, 4))):
        group, number = draw(st.sampled_from(TAGS))
        vr = draw(st.sampled_from(VRS))
        kind = draw(st.sampled_from(("plain", "plain", "plain", "sequence", "fragments", "lie")))
        if kind == "plain":
            made.append(element(group, number, vr, draw(st.binary(max_size=6)), explicit=explicit))
        elif kind == "sequence" and depth < 3:
            inside = explicit and vr != b"UN"
            items = b""
            for _ in range(draw(st.integers(0, 2))):
                item = draw(pieces(inside, depth + 1))
                if draw(st.booleans()):
                    items += delimiter(ITEM, len(item)) + item
                else:
                    items += delimiter(ITEM, UNDEFINED) + item + delimiter(ITEM_END)
            vr = draw(st.sampled_from((b"SQ", b"UN"))) if explicit else vr
            if draw(st.booleans()):
                made.append(element(group, number, vr, items, explicit=explicit))
            else:
                value = items + delimiter(SEQUENCE_END)
                made.append(element(group, number, vr, value, explicit=explicit, length=UNDEFINED))
        elif kind == "fragments":
            value = b"".join(delimiter(ITEM, 4) + b"abcd" for _ in range(draw(st.integers(0, 3))))
            value += delimiter(SEQUENCE_END)
            made.append(element(0x7FE0, 0x0010, b"OB", value, explicit=explicit, length=UNDEFINED))
        elif kind == "lie":
            length = draw(st.sampled_from((0, 1, 7, 0xFFFF, UNDEFINED - 1, UNDEFINED)))
            made.append(element(group, number, vr, draw(st.binary(max_size=6)), explicit=explicit, length=length))
    return b"".join(made)


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[bytes, str]:
    """A data set that may be sound, changed in some bytes, or cut off."""
    syntax = draw(st.sampled_from(LITTLE))
    explicit = syntax == LITTLE[0]
    whole = bytearray(draw(pieces(explicit)) + uids(explicit=explicit) + draw(pieces(explicit)))
    for _ in range(draw(st.integers(0, 3))):
        whole[draw(st.integers(0, len(whole) - 1))] = draw(st.sampled_from((0, 1, 2, 8, 0xFE, 0xFF, 0xE0, 0x41)))
    if draw(st.booleans()):
        whole = whole[: draw(st.integers(0, len(whole)))]
    return bytes(whole), syntax


def by_the_book(content: bytes, syntax: str) -> object:
    return wanted(Whole(content), encoding_of(syntax), header._ONCE, header._LONGEST_VALUE)


def by_the_shortcut(content: Content, syntax: str, layouts: Layouts | None = None) -> object:
    tags = (header._ONCE, header._NUMBERS, header._LONGEST_VALUE)
    return scan(content, *tags, explicit=syntax == LITTLE[0], layouts=layouts)


@examples(max_examples=1500, deadline=None)
@given(data_sets())
@example((uids(explicit=True) + element(0x7FE0, 0x0010, b"CS", b"ab", explicit=True), LITTLE[0]))
@example((element(0xFFFE, 0xE000, b"CS", b"", explicit=True) + uids(explicit=True), LITTLE[0]))
def test_the_shortcut_finds_what_the_book_finds_or_nothing(given_one: tuple[bytes, str]):
    short = by_the_shortcut(*given_one)
    if short is not None:
        assert ("is", short) == outcome_of(lambda: by_the_book(*given_one))


@examples(max_examples=400, deadline=None)
@given(data_sets(), st.integers(0, 3), st.booleans())
def test_a_file_is_walked_like_memory_also_with_its_refusals(
    tmp_path_factory: pytest.TempPathFactory, given_one: tuple[bytes, str], before: int, sized: bool
):
    content, syntax = given_one
    file = tmp_path_factory.getbasetemp() / "walked"
    file.write_bytes(b"x" * before + content + (b"behind" if sized else b""))
    descriptor = os.open(file, os.O_RDONLY)
    try:
        size = len(content) if sized else None
        found = outcome_of(lambda: walk_file(descriptor, before, syntax, size=size))
    finally:
        os.close(descriptor)
    assert found == outcome_of(lambda: walk(content, syntax))
    assert found == outcome_of(lambda: walk(memoryview(content), syntax))


def test_the_shortcut_takes_what_is_usual():
    for syntax in LITTLE:
        assert by_the_shortcut(encoded(mr_slice(), syntax), syntax) is not None
    explicit = LITTLE[0]
    sequence = delimiter(ITEM, UNDEFINED) + element(0x0008, 0x0100, b"SH", b"1 ", explicit=True) + delimiter(ITEM_END)
    inner = element(0x0040, 0x0275, b"SQ", sequence + delimiter(SEQUENCE_END), explicit=True, length=UNDEFINED)
    assert by_the_shortcut(uids(explicit=True) + inner, explicit) is not None
    private = element(0x0029, 0x1001, b"UN", delimiter(SEQUENCE_END), explicit=True, length=UNDEFINED)
    pixels = element(0x7FE0, 0x0010, b"OB", delimiter(SEQUENCE_END), explicit=True, length=UNDEFINED)
    assert by_the_shortcut(uids(explicit=True) + private + pixels, explicit) is not None


def test_more_elements_than_anybody_sends_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("node.receive.elements.MOST_ELEMENTS", 50)
    monkeypatch.setattr("node.receive.scan._MOST_BYTES", 100)
    many = b"".join(element(0x0029, 0x1001 + n, b"CS", b"", explicit=True) for n in range(50))
    with pytest.raises(Refused, match="more than 50 elements"):
        walk(uids(explicit=True) + many, LITTLE[0])
    items = element(0x0029, 0x1001, b"SQ", delimiter(ITEM) * 51, explicit=True, length=UNDEFINED)
    with pytest.raises(Refused, match="more than 50 elements"):
        walk(items, LITTLE[0])


def test_a_walk_over_very_many_elements_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("node.receive.scan._MOST_BYTES", 100)
    pauses: list[float] = []
    monkeypatch.setattr("node.receive.elements.time.sleep", pauses.append)
    walk(element(0x0029, 0x1001, b"CS", b"", explicit=True) * 5000 + uids(explicit=True), LITTLE[0])
    assert len(pauses) == 4


@pytest.mark.parametrize("number", [0x0010, 0x0020, 0x0021, 0x0030])
def test_what_says_whose_it_is_must_not_be_there_twice(number: int):
    twice = element(0x0010, number, b"LO", b"A ", explicit=True) + element(0x0010, number, b"LO", b"B ", explicit=True)
    with pytest.raises(Refused, match="occurs twice"):
        walk(twice + uids(explicit=True), LITTLE[0])


def test_elements_out_of_order_are_taken_but_not_behind_the_pixels():
    later = element(0x0028, 0x0010, b"US", b"\1\0", explicit=True)
    pixels = element(0x7FE0, 0x0010, b"OW", b"abcd", explicit=True)
    padding = element(0xFFFC, 0xFFFC, b"OB", b"\0\0", explicit=True)
    assert walk(later + uids(explicit=True) + pixels + padding, LITTLE[0]).study_instance_uid == "1.2.5"
    for hidden in (later, uids(explicit=True)):
        with pytest.raises(Refused, match="behind the pixel data"):
            walk((b"" if hidden != later else uids(explicit=True)) + pixels + hidden, LITTLE[0])


@pytest.mark.parametrize("uid", ["1.2.840.113619.2.5.01.20000101.091500", "01.2", "1.00"])
def test_uids_with_leading_zeros_come_from_old_equipment_and_are_taken(uid: str):
    for group, number, old in UIDS[1:]:
        changed = b"".join(
            element(g, n, b"UI", (uid if (g, n) == (group, number) else other).encode(), explicit=True)
            for g, n, other in UIDS
        )
        assert uid in str(walk(changed, LITTLE[0])), old


def test_a_sop_class_uid_has_to_be_valid():
    changed = element(0x0008, 0x0016, b"UI", b"1.02", explicit=True) + uids(explicit=True)[8 + 6 :]
    with pytest.raises(Refused, match="the SOP Class UID is no UID"):
        walk(changed, LITTLE[0])


def test_a_uid_that_goes_on_behind_what_is_read_is_no_uid():
    long = b"1.2.4".ljust(300, b"\0") + b"9 "
    for syntax in LITTLE:
        explicit = syntax == LITTLE[0]
        with pytest.raises(Refused, match="the SOP Instance UID is no UID") as refused:
            sop = element(0x0008, 0x0018, b"UI", long, explicit=explicit)
            others = [element(g, n, b"UI", u.encode() + b"\0", explicit=explicit) for g, n, u in UIDS if n != 0x0018]
            walk(sop + b"".join(others), syntax)
        assert refused.value.status == 0x0117


# ------------------------------------------------------------------------------------------------------- large files


@pytest.fixture
def large(tmp_path: Path) -> Iterator[int]:
    """An empty file to be filled."""
    descriptor = os.open(tmp_path / "large", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def peak_bytes(ask: Callable[[], object]) -> int:
    """The most memory that Python held at once for it."""
    tracemalloc.start()
    try:
        ask()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_an_object_of_four_gibibytes_is_walked_in_little_memory(large: int):
    start = b"x" * 2048 + uids(explicit=True)
    pixels = element(0x7FE0, 0x0010, b"OW", b"", explicit=True, length=0xFFFFFFFE)
    os.write(large, start + pixels)
    os.ftruncate(large, len(start + pixels) + 0xFFFFFFFE)
    assert peak_bytes(lambda: walk_file(large, 2048, LITTLE[0])) < 1 << 20
    os.ftruncate(large, len(start + pixels) + 0xFFFFFFFD)
    with pytest.raises(Refused, match="claims 4294967294 bytes where 4294967293 are left: truncated"):
        walk_file(large, 2048, LITTLE[0])


def test_a_hundred_thousand_fragments_are_walked_in_little_memory(large: int):
    fragment = delimiter(ITEM, 400) + bytes(400)
    os.write(large, uids(explicit=True) + element(0x7FE0, 0x0010, b"OB", b"", explicit=True, length=UNDEFINED))
    for _ in range(100):
        os.write(large, fragment * 1000)
    assert os.write(large, delimiter(SEQUENCE_END)) == 8
    assert peak_bytes(lambda: walk_file(large, 0, LITTLE[0])) < 1 << 20
    os.ftruncate(large, os.fstat(large).st_size - 8)
    with pytest.raises(Refused, match="truncated"):
        walk_file(large, 0, LITTLE[0])


def test_a_file_is_read_once_and_long_values_are_not_read(large: int, monkeypatch: pytest.MonkeyPatch):
    long = element(0x0029, 0x1001, b"OB", bytes(1 << 20), explicit=True)
    os.write(large, long * 20 + uids(explicit=True))
    asked: list[int] = []
    really = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, n, at: asked.append(n) or really(fd, n, at))
    walk_file(large, 0, LITTLE[0])
    assert sum(asked) < 64 << 10
    assert len(asked) < 30


def test_a_file_without_the_data_set_it_should_have_is_refused(large: int):
    os.write(large, b"short")
    with pytest.raises(Refused, match="missing or empty"):
        walk_file(large, 100, LITTLE[0])


# ------------------------------------------------------------------------------------------- hostile, but well counted


def nested(depth: int, kind: str, *, explicit: bool = True, ends: bool = True) -> bytes:
    """Sequences inside each other: of "undefined" or "defined" length, or "unknown" (UN of undefined length)."""
    if kind == "defined":
        each = 20 if explicit else 16
        return b"".join(
            element(0x0040, 0x0275, b"SQ", delimiter(ITEM, each * inside), explicit=explicit, length=each * inside + 8)
            for inside in reversed(range(depth))
        )
    first = element(0x0040, 0x0275, b"UN" if kind == "unknown" else b"SQ", b"", explicit=explicit, length=UNDEFINED)
    more = element(0x0040, 0x0275, b"SQ", b"", explicit=explicit and kind != "unknown", length=UNDEFINED)
    start = first + delimiter(ITEM, UNDEFINED) + (more + delimiter(ITEM, UNDEFINED)) * (depth - 1)
    return start + (delimiter(ITEM_END) + delimiter(SEQUENCE_END)) * (depth if ends else 0)


@pytest.mark.parametrize("explicit", [True, False])
@pytest.mark.parametrize(("kind", "ends"), [("undefined", True), ("undefined", False), ("unknown", True)])
def test_twenty_thousand_sequences_inside_each_other_are_refused(kind: str, ends: bool, explicit: bool):
    content = nested(20_000, kind, explicit=explicit, ends=ends) + uids(explicit=explicit)
    with pytest.raises(Refused, match="nested more than 100 deep") as refused:
        walk(content, LITTLE[0] if explicit else LITTLE[1])
    assert refused.value.status == 0xC000


def test_nested_sequences_of_defined_length_are_stepped_over():
    # Who reads what is inside, and how deep, is a limited child.
    content = nested(20_000, "defined") + uids(explicit=True)
    assert walk(content, LITTLE[0]).study_instance_uid == "1.2.5"


@pytest.mark.parametrize("vr", [b"OB", b"UN", b"UT", b"SQ"])
@pytest.mark.parametrize("length", [0x7FFFFFFF, 0x80000000, 0xFFFFFFFE])
def test_an_element_that_claims_gigabytes_is_refused_in_no_time(vr: bytes, length: int):
    lying = uids(explicit=True) + element(0x0029, 0x1001, vr, b"few", explicit=True, length=length)
    with pytest.raises(Refused, match=rf"\(0029,1001\) claims {length} bytes where 3 are left"):
        walk(lying, LITTLE[0])


@pytest.mark.parametrize("inside", [0x7FFFFFFF, 0xFFFFFFFE])
def test_an_item_that_claims_gigabytes_is_refused(inside: int):
    lying = element(0x0040, 0x0275, b"SQ", delimiter(ITEM, inside), explicit=True, length=UNDEFINED)
    with pytest.raises(Refused, match=rf"\(FFFE,E000\) claims {inside} bytes where 0 are left"):
        walk(uids(explicit=True) + lying, LITTLE[0])


def test_the_end_of_a_sequence_inside_an_item_is_refused():
    wrong = delimiter(ITEM, UNDEFINED) + delimiter(SEQUENCE_END)
    with pytest.raises(Refused, match=r"\(FFFE,E0DD\) inside an item of \(0040,0275\)"):
        walk(uids(explicit=True) + element(0x0040, 0x0275, b"SQ", wrong, explicit=True, length=UNDEFINED), LITTLE[0])


@pytest.mark.parametrize("vr", [b"ZZ", b"\0\0", b"a1", b"\xff\xff"])
def test_an_unknown_vr_is_no_reason_to_lose_an_object_whose_elements_end_where_they_say(vr: bytes):
    as_letters = element(0x0029, 0x1001, vr, b"ab", explicit=vr.isalpha() and vr.isupper())
    assert walk(as_letters + uids(explicit=True), LITTLE[0]).study_instance_uid == "1.2.5"


@pytest.mark.parametrize("syntax", LITTLE)
def test_odd_lengths_are_taken_as_they_are(syntax: str):
    explicit = syntax == LITTLE[0]
    odd = element(0x0008, 0x0060, b"CS", b"M", explicit=explicit)
    unpadded = b"".join(element(g, n, b"UI", u.encode(), explicit=explicit) for g, n, u in UIDS)
    assert walk(unpadded[:26] + odd * 0 + unpadded[26:] + odd, syntax).study_instance_uid == "1.2.5"


@pytest.mark.parametrize("syntax", NATIVE)
def test_zero_length_everywhere_is_missing_uids_and_nothing_else(syntax: str):
    order = ">" if syntax == NATIVE[2] else "<"
    empty = [
        struct.pack(f"{order}HH2sH", g, n, b"UI", 0) if syntax != LITTLE[1] else struct.pack("<HHI", g, n, 0)
        for g, n, _ in UIDS
    ]
    with pytest.raises(Refused, match="missing or empty: SOP Class UID, SOP Instance UID, Study"):
        walk(b"".join(empty), syntax)


@pytest.mark.parametrize("syntax", NATIVE)
def test_every_cut_of_an_object_is_refused_or_ends_between_two_elements(syntax: str):
    whole = encoded(mr_slice(Rows=1, Columns=1, PixelData=b"ab"), syntax)
    sound = [cut for cut in range(len(whole)) if outcome_of(partial(walk, whole[:cut], syntax))[0] == "is"]
    # Behind the last UID there are some more elements: each of their ends is an end.
    assert len(sound) < 25
    assert all(walk(whole[:cut], syntax).study_instance_uid == STUDY for cut in sound)


# ------------------------------------------------------------------------------------------------------------ mutations


@pytest.mark.parametrize("syntax", NATIVE)
def test_two_thousand_mutations_end_in_a_header_or_a_refusal_and_in_bounded_time(syntax: str):
    chance = random.Random(f"mutations of {syntax}")
    deep = nested(20, "undefined", explicit=syntax == LITTLE[0]) if syntax in LITTLE else b""
    whole = deep + encoded(mr_slice(), syntax)[: 1200 if syntax in LITTLE else None]
    slowest_s = 0.0
    for _ in range(2000):
        mutated = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(mutated))
            match chance.randrange(4):
                case 0:
                    mutated[at] ^= 1 << chance.randrange(8)
                case 1:
                    mutated[at : at + 4] = struct.pack("<I", chance.choice((0, UNDEFINED, UNDEFINED - 1, 1 << 31)))
                case 2:
                    del mutated[at : at + chance.randrange(64)]
                case _:
                    mutated[at:at] = mutated[chance.randrange(len(mutated)) :][: chance.randrange(64)]
            mutated = mutated or bytearray(whole)
        began_s = time.thread_time()
        outcome_of(partial(walk, bytes(mutated), syntax))
        slowest_s = max(slowest_s, time.thread_time() - began_s)
    # Processor time of this thread: what else runs does not count.
    assert slowest_s < 1.0
