"""Figures of boxes, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from node.learn.evaluate import detection
from node.learn.prediction import Prediction, SeenBox

ONE = np.ones((1, 2))


def box(score: float, low: float, label: int = 0, side: float = 10.0) -> SeenBox:
    return SeenBox(label=label, score=score, edges=((low, low + side), (0.0, side)))


def image(key: str, boxes: tuple[SeenBox, ...], true: tuple[SeenBox, ...]) -> Prediction:
    return Prediction(key=key, group=key, part="test", boxes=boxes, true_boxes=true)


TWO = (
    image("a", (box(0.9, 0), box(0.8, 50), box(0.7, 1)), (box(1, 0),)),
    image("b", (box(0.6, 4),), (box(1, 0), box(1, 100))),
)


def test_a_true_box_is_hit_once_and_by_the_highest_score():
    found = detection.hits(TWO, 0, 0.5)
    # 0.6 overlaps its true box by 6 of 14.
    assert found.scores.tolist() == [0.9, 0.8, 0.7, 0.6]
    assert found.is_hit.tolist() == [True, False, False, False]
    assert found.true.tolist() == [1, 2]
    assert detection.hits(TWO, 0, 0.4).is_hit.tolist() == [True, False, False, True]


def test_average_precision_takes_the_highest_precision_from_there_on():
    # Recall 1/3 with precision 1, then 2/3 with precision 2/4.
    assert detection.average_precision(detection.hits(TWO, 0, 0.4), ONE)[0] == pytest.approx(1 / 3 + 1 / 3 * 0.5)
    assert detection.average_precision(detection.hits(TWO, 0, 0.5), ONE)[0] == pytest.approx(1 / 3)


def test_an_image_that_counts_twice_is_there_twice():
    found = detection.average_precision(detection.hits(TWO, 0, 0.4), np.array([[2.0, 1.0]]))[0]
    twice = (TWO[0], TWO[0], TWO[1])
    assert found == pytest.approx(detection.average_precision(detection.hits(twice, 0, 0.4), np.ones((1, 3)))[0])


def test_sensitivity_is_told_at_so_many_false_boxes_an_image():
    found = detection.sensitivities([detection.hits(TWO, 0, 0.1)], ONE)
    assert found[0.125][0] == pytest.approx(1 / 3)
    # One false box in two images is passed at 0.8; the last hit needs two of them.
    assert found[0.5][0] == pytest.approx(1 / 3)
    assert found[1][0] == pytest.approx(2 / 3)


def test_without_true_boxes_nothing_is_defined_and_without_boxes_nothing_is_found():
    nothing = (image("a", (box(0.9, 0),), ()), image("b", (), ()))
    assert np.isnan(detection.average_precision(detection.hits(nothing, 0, 0.5), ONE)[0])
    silent = (image("a", (), (box(1, 0),)), image("b", (), ()))
    assert detection.average_precision(detection.hits(silent, 0, 0.5), ONE)[0] == 0
    assert detection.sensitivities([detection.hits(silent, 0, 0.5)], ONE)[8][0] == 0
