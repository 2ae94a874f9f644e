from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.imaging.tasks.boxes import clipped, kept, linked, overlap, slices_crossed

sides = st.tuples(st.integers(0, 20), st.integers(1, 9)).map(lambda side: (float(side[0]), float(side[0] + side[1])))
boxes_3d = st.lists(st.tuples(sides, sides, sides), min_size=0, max_size=12)


def test_overlap_is_that_of_intersection_and_union():
    assert overlap(((0, 2), (0, 2)), ((0, 2), (0, 2))) == 1
    assert overlap(((0, 2), (0, 2)), ((1, 3), (0, 2))) == pytest.approx(1 / 3)
    assert overlap(((0, 2), (0, 2)), ((2, 3), (0, 2))) == 0


@given(boxes_3d, st.randoms(use_true_random=False), st.sampled_from([0.1, 0.3, 0.7]))
def test_what_stands_overlaps_nothing_that_stands_and_what_goes_overlaps_something_higher(boxes, random, most):
    scores = [random.random() for _ in boxes]
    standing = kept(boxes, scores, most)
    assert [scores[index] for index in standing] == sorted((scores[index] for index in standing), reverse=True)
    for index in range(len(boxes)):
        higher = [other for other in standing if (-scores[other], other) < (-scores[index], index)]
        suppressed = any(overlap(boxes[index], boxes[other]) > most for other in higher)
        assert suppressed == (index not in standing)


def test_of_equal_scores_the_earlier_box_stands():
    assert kept([((0, 2), (0, 2))] * 3, [0.5] * 3, 0.3) == [0]


def test_boxes_hang_together_from_image_to_image_each_with_its_best_neighbour():
    here, there = ((0.0, 4.0), (0.0, 4.0)), ((10.0, 14.0), (0.0, 4.0))
    moved = ((1.0, 5.0), (0.0, 4.0))
    images = [0, 0, 1, 1, 2, 4]
    boxes = [here, there, moved, here, moved, here]
    assert linked(images, boxes, 0.3) == [[0, 3], [1], [2, 4], [5]]
    assert linked([0, 1, 2], [here, moved, here], 0.5) == [[0, 1, 2]]
    assert linked([0, 1, 2], [here, moved, here], 0.7) == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("low", "high", "crossed"),
    [(0, 3, [0, 1, 2]), (1.4, 2.6, [1, 2]), (1.6, 2.4, [2]), (2.55, 2.95, [2]), (-3, 1, [0]), (4.6, 9, [4])],
)
def test_a_box_lies_on_the_slices_whose_middle_it_holds_and_always_on_one(low: float, high: float, crossed: list[int]):
    assert slices_crossed(low, high, 5) == crossed


def test_what_lies_outside_is_cut_off_and_a_box_outside_is_none():
    assert clipped(((-2, 3), (1, 99)), (4, 5)) == ((0, 3), (1, 5))
    assert clipped(((4, 6), (1, 2)), (4, 5)) is None
    assert clipped(((2, 2), (1, 2)), (4, 5)) is None
