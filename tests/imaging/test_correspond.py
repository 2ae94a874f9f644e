from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from node.domain.alignment import Alignment, Knot, Way
from node.domain.finding import Code, Finding
from node.imaging.correspond import Found, Outlined, correspond, cut, places_of
from node.imaging.mask import Mask, tally
from node.imaging.measure.region import lesions, regions
from tests.imaging.heads import Ball, Matrix, grid, motion, outlined

NODULE = Code("27925004", "SCT", "Nodule")
FINE = grid((60, 60, 60), (1.0, 1.0, 1.0))


def reading(balls: tuple[Ball, ...], moved: Matrix | None = None, *, least_ml: float = 0.02, on=FINE) -> Outlined:
    labels = outlined(on, balls, moved)
    shown = regions(labels, on, tally(labels))
    count = len(lesions(shown[1], least_ml)) if shown else 0
    whole = Finding(code=NODULE, segment_number=1 if shown else None)
    found = tuple(replace(whole, lesion_number=number) for number in range(1, count + 1))
    return Outlined(Mask(labels, on, ()), on, (whole, *found))


def matched(now: Outlined, before: Outlined, true: Matrix | None = None) -> Found:
    moved = np.eye(4) if true is None else true
    rows = tuple(tuple(float(each) for each in row) for row in moved)
    aligned = Alignment(motion=rows, similarity=1, overlap=1, rotation_deg=0, shift_mm=0)  # type: ignore[arg-type]
    return correspond(now, before, (places_of(now), places_of(before)), aligned)


def pairs(found: Found) -> set[tuple[int, int, Way]]:
    return {(each.now, each.before, each.way) for each in found.pairs}


def test_each_lesion_finds_itself_after_a_motion_whatever_the_order_of_size() -> None:
    true = motion((10, 0, 5), (4, -3, 6))
    before = reading((((-10, 0, 0), 9.0), ((10, 4, 0), 6.0)), true)
    now = reading((((-10, 0, 0), 9.0), ((10, 4, 0), 12.0)))
    found = matched(now, before, true)
    # Now the other one is the largest.
    assert pairs(found) == {(1, 2, Way.OVERLAP), (2, 1, Way.OVERLAP)}
    assert (found.knots, found.faint_before, found.unseen_now) == ((), {}, ())


def test_small_lesions_that_lie_close_are_one_and_far_ones_are_not() -> None:
    near = matched(reading((((0, 0, 0), 4.0),)), reading((((5, 0, 0), 4.0),)))
    assert pairs(near) == {(1, 1, Way.DISTANCE)}
    assert pairs(matched(reading((((0, 0, 0), 4.0),)), reading((((9, 0, 0), 4.0),)))) == set()


def test_two_near_lesions_are_matched_over_all_and_not_one_after_the_other() -> None:
    # Each is as near to the other's partner as to its own; only one way leaves nobody alone.
    before = reading((((0, 0, 0), 5.0), ((7, 0, 0), 4.0)))
    now = reading((((5, 0, 0), 5.0), ((12, 0, 0), 4.0)))
    assert {(each.now, each.before) for each in matched(now, before).pairs} == {(1, 1), (2, 2)}


def test_what_came_apart_and_what_grew_together_is_told_as_such() -> None:
    large, parts = reading((((0, 0, 0), 20.0),)), reading((((-6, 0, 0), 7.0), ((6, 0, 0), 6.0)))
    assert matched(parts, large).knots == (Knot(now=(1, 2), before=(1,)),)
    assert matched(large, parts).knots == (Knot(now=(1,), before=(1, 2)),)
    assert matched(parts, large).pairs == ()


def test_what_the_other_does_not_show_and_what_reaches_the_edge_is_named() -> None:
    lower = grid((30, 60, 60), (1.0, 1.0, 1.0), (0, 0, -15))
    now = reading((((0, 0, 12), 8.0), ((0, 0, -12), 6.0), ((0, 0, 29), 4.0)))
    before = reading((((0, 0, -12), 6.0),), on=lower)
    found = matched(now, before)
    assert found.unseen_now == (0, 1, 3)
    assert found.unseen_before == ()
    assert cut(places_of(now)) == (0, 3)


def test_what_the_other_mask_holds_too_small_to_be_counted_is_faint() -> None:
    now = reading((((0, 0, 0), 8.0),))
    before = reading((((0, 0, 0), 3.0),))
    uncounted = replace_findings(before)
    found = matched(now, uncounted)
    assert pairs(found) == set()
    assert found.faint_before[1] == pytest.approx(0.008)
    assert matched(uncounted, now).faint_now[1] == pytest.approx(0.008)


def replace_findings(read: Outlined) -> Outlined:
    return Outlined(read.mask, read.grid, tuple(each for each in read.findings if not each.lesion_number))


def test_nothing_against_nothing_is_nothing() -> None:
    found = matched(reading(()), reading(()))
    assert (found.pairs, found.knots, found.unseen_now) == ((), (), ())
