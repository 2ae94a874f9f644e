from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from node.receive.elements import Content
from node.receive.header import walk
from node.receive.layouts import Layouts
from tests.receive.mutation import mangled
from tests.receive.objects import encoded, mr_slice
from tests.receive.test_decoders import LITTLE, by_the_shortcut, data_sets, element

EXPLICIT, IMPLICIT = LITTLE
STUDY_TAG = (0x0020, 0x000D)
UNKNOWN = element(0x0029, 0x1001, b"LO", b"private!", explicit=True)


def looked_through(content: Content, layouts: Layouts | None = None, syntax: str = EXPLICIT) -> object:
    return by_the_shortcut(content, syntax, layouts)


def sent(number: int, syntax: str = EXPLICIT, **changes: object) -> bytes:
    return encoded(mr_slice(number, **changes), syntax)


def is_known(layouts: Layouts, content: bytes, syntax: str = EXPLICIT) -> bool:
    return layouts.of(content, explicit=syntax == EXPLICIT) is not None


@examples(max_examples=150, deadline=None)
@given(st.lists(data_sets(), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_what_came_before_changes_nothing_of_what_is_found(objects: list[tuple[bytes, str]], chance: random.Random):
    layouts = Layouts()
    for content, syntax in objects:
        # The same again, nearly the same again, and cut off: what a layout could be mistaken for.
        alike = bytearray(content)
        if alike:
            alike[chance.randrange(len(alike))] ^= 1 << chance.randrange(8)
        cut = content[: chance.randrange(len(content) + 1)]
        for each in (content, content, bytes(alike), cut, content + content[-4:]):
            # As the keeper has them.
            assert looked_through(memoryview(each), layouts, syntax) == looked_through(each, None, syntax)


def test_what_came_before_changes_nothing_for_spoiled_objects_of_a_series():
    chance = random.Random(11)
    for syntax in LITTLE:
        layouts, series = Layouts(), [sent(number, syntax) for number in range(1, 10)]
        known = 0
        for number in range(3000):
            content = series[number % len(series)]
            if number % 3:
                content = mangled(content, chance)
            found = looked_through(content, layouts, syntax)
            known += not layouts._unknown
            assert found == looked_through(content, None, syntax)
        # It was no idle test.
        assert known > 1000


def test_the_next_object_of_a_series_is_known_with_its_own_values():
    for syntax in LITTLE:
        layouts = Layouts()
        assert walk(sent(1, syntax), syntax, layouts=layouts) == walk(sent(1, syntax), syntax)
        content = sent(2, syntax, StudyInstanceUID="1.2.9.4", PixelData=b"\1\2" * 9)
        assert is_known(layouts, content, syntax)
        found = walk(content, syntax, layouts=layouts)
        assert (found.sop_instance_uid[-2:], found.study_instance_uid) == (".2", "1.2.9.4")


def test_another_length_anywhere_before_the_pixels_is_another_layout():
    layouts = Layouts()
    looked_through(sent(1), layouts)
    assert not is_known(layouts, sent(1, SeriesDescription="longer"))
    assert not is_known(layouts, sent(1, AccessionNumber="A123", StudyTime="1010"))
    assert not is_known(layouts, sent(1, EchoTime=None))
    assert is_known(layouts, sent(1, SeriesDescription="T2"))


def test_the_inside_of_a_sequence_of_undefined_length_belongs_to_the_layout():
    def content(code: str) -> bytes:
        item = Dataset()
        item.CodeValue = code
        dataset = mr_slice(1, RequestAttributesSequence=[item])
        dataset["RequestAttributesSequence"].is_undefined_length = True
        item.is_undefined_length_sequence_item = True
        return encoded(dataset)

    layouts = Layouts()
    looked_through(content("12"), layouts)
    assert is_known(layouts, content("34"))
    # As long in all, but with its delimiter elsewhere.
    moved = content("12").replace(b"\x02\x00" + b"12", b"\x00\x00" + b"12")
    assert not is_known(layouts, moved)
    assert looked_through(moved, layouts) == looked_through(moved)


def test_a_layout_is_of_one_encoding():
    layouts = Layouts()
    looked_through(sent(1), layouts)
    assert not is_known(layouts, sent(1), IMPLICIT)


def test_an_object_whose_last_element_is_looked_for_is_walked_over():
    uid = element(0x0020, 0x000E, b"UI", b"1.2.6\0", explicit=True)
    layouts = Layouts()
    for _ in range(2):
        assert looked_through(UNKNOWN + uid, layouts) == {(0x0020, 0x000E): (6, b"1.2.6\0")}
    assert not is_known(layouts, UNKNOWN + uid)


def test_some_layouts_are_remembered_those_of_late():
    layouts = Layouts()
    series = [sent(1, SeriesDescription="x" * 2 * length) for length in range(1, 6)]
    for content in series[:4]:
        looked_through(content, layouts)
        # One after the other, as a localiser alternates with its series.
        looked_through(content, layouts)
    assert all(is_known(layouts, content) for content in series[:4])
    looked_through(series[4], layouts)
    assert is_known(layouts, series[4])
    assert [is_known(layouts, content) for content in series[:4]] == [False, True, True, True]


def test_where_nothing_is_ever_alike_layouts_are_learned_ever_more_seldom(monkeypatch: pytest.MonkeyPatch):
    learned: list[int] = []
    monkeypatch.setattr(Layouts, "learn", lambda _self, content, *_, **__: learned.append(len(content)))
    layouts = Layouts()
    for number in range(1, 65):
        looked_through(sent(1, SeriesDescription="x" * number), layouts)
    assert len(learned) == 7


@pytest.mark.parametrize("tag", [(0x0010, 0x0010), (0x0020, 0x000D), (0x7FE0, 0x0010)])
def test_what_stands_behind_a_known_layout_is_held_against_it(tag: tuple[int, int]):
    whole = element(0x0010, 0x0010, b"PN", b"A ", explicit=True) + element(*STUDY_TAG, b"UI", b"1.2.5\0", explicit=True)
    layouts = Layouts()
    looked_through(whole + UNKNOWN, layouts)
    assert is_known(layouts, whole + UNKNOWN)
    again = whole + element(*tag, b"LO", b"B ", explicit=True) + UNKNOWN
    assert is_known(layouts, again)
    assert looked_through(memoryview(again), layouts) is None


def test_an_object_that_ends_where_the_walk_would_go_on_is_as_without_a_layout():
    whole = element(*STUDY_TAG, b"UI", b"1.2.5\0", explicit=True)
    layouts = Layouts()
    looked_through(whole + UNKNOWN, layouts)
    for length in range(len(whole + UNKNOWN) + 1):
        cut = (whole + UNKNOWN)[:length]
        assert looked_through(memoryview(cut), layouts) == looked_through(cut)
    assert looked_through(whole, layouts) is not None


@pytest.mark.parametrize("vr", [b"UN", b"OB"])
def test_all_of_a_long_header_belongs_to_the_layout(vr: bytes):
    """The reserved bytes too: nobody looks at them, so another value is another layout and no more."""
    long = element(0x0029, 0x1001, vr, b"abcd", explicit=True)
    layouts = Layouts()
    looked_through(long + UNKNOWN, layouts)
    for place in range(12):
        changed = bytearray(long + UNKNOWN)
        changed[place] ^= 1
        assert not is_known(layouts, bytes(changed))
        assert looked_through(memoryview(changed), layouts) == looked_through(bytes(changed))


def test_very_many_elements_are_not_remembered():
    uid = element(*STUDY_TAG, b"UI", b"1.2.5\0", explicit=True)
    many = b"".join(element(0x0029, 0x1001 + n, b"CS", b"", explicit=True) for n in range(2000))
    layouts = Layouts()
    assert looked_through(uid + many, layouts) == {STUDY_TAG: (6, b"1.2.5\0")}
    assert not is_known(layouts, uid + many)
    few, layouts = uid + many[: 8 * 1023], Layouts()
    looked_through(few, layouts)
    assert is_known(layouts, few)
