from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.model_card import Scope, Task
from node.errors import Failed
from node.imaging.tasks.classification import findings
from node.imaging.tasks.numbers import logit, number_of, sigmoid
from tests.imaging.tasks.cards import EFFUSION, LUNG, NODULE, asking, fitted, images, numbers, target, volume

TWO = (target(0, NODULE, operating_point=0.5), target(1, EFFUSION, operating_point=0.5))


def test_a_sigmoid_of_each_target_lets_several_be_there():
    found = findings(asking(Task.CLASSIFICATION, *TWO), images((4, 4)), numbers([[2.0, 1.0]]))
    assert [each.code for each in found] == [NODULE, EFFUSION]
    assert [each.score for each in found] == pytest.approx([1 / (1 + np.exp(-2)), 1 / (1 + np.exp(-1))])
    assert [each.present for each in found] == [True, True]
    assert all(each.probability is None for each in found)


def test_targets_that_exclude_each_other_share_a_softmax_with_channels_that_are_none():
    card = asking(Task.CLASSIFICATION, target(2, NODULE, operating_point=0.4), exclusive=True)
    (found,) = findings(card, images((4, 4)), numbers([[0.0, 1.0, 1.5]]))
    assert found.score == pytest.approx(np.exp(1.5) / (1 + np.exp(1.0) + np.exp(1.5)))
    assert found.present is True


def test_a_negative_is_a_finding_that_says_what_was_looked_for_and_from_which_number_on():
    found = findings(asking(Task.CLASSIFICATION, *TWO), images((4, 4), (4, 4)), numbers([[-3.0, -2.0], [-2.0, -1.0]]))
    assert [(each.code, each.present, each.operating_point) for each in found] == [
        (NODULE, False, 0.5),
        (EFFUSION, False, 0.5),
    ]
    assert [each.tracking_identifier for each in found] == ["Nodule", "Pleural effusion"]
    assert all(each.key_images == () for each in found)


def test_a_model_without_an_operating_point_decides_nothing():
    (found,) = findings(asking(Task.CLASSIFICATION, target(site=LUNG)), images((4, 4)), numbers([[3.0]]))
    assert (found.present, found.operating_point, found.site) == (None, None, LUNG)


def test_only_what_is_calibrated_is_a_probability_and_it_decides():
    calibrated = target(calibration=fitted(temperature=2.0, bias=-1.0), operating_point=0.5)
    (found,) = findings(asking(Task.CLASSIFICATION, calibrated), images((4, 4)), numbers([[1.0]]))
    assert found.score is None
    assert found.probability == pytest.approx(1 / (1 + np.exp(-(1.0 / 2 - 1))), abs=1e-6)
    assert found.present is False


@pytest.mark.parametrize(("aggregate", "expected"), [("max", 0.9), ("mean", 0.5)])
def test_images_of_a_series_become_one_number_and_the_best_are_named(aggregate: str, expected: float):
    rows = [[logit(each)] for each in (0.1, 0.9, 0.3, 0.7, 0.5)]
    card = asking(Task.CLASSIFICATION, target(operating_point=0.4), aggregate=aggregate)
    (found,) = findings(card, images(*[(4, 4)] * 5), numbers(rows))
    assert found.score == pytest.approx(expected, abs=1e-6)
    assert found.key_images == ("1.2.1", "1.2.3", "1.2.4")


def test_slices_of_a_volume_are_images_too():
    (found,) = findings(asking(Task.CLASSIFICATION), volume((3, 4, 4)), numbers([[0.0], [2.0], [1.0]]))
    assert found.key_images == ("1.2.1", "1.2.2", "1.2.0")
    (whole,) = findings(asking(Task.CLASSIFICATION), volume((3, 4, 4)), numbers([[2.0]]))
    assert (whole.score, whole.key_images) == (pytest.approx(sigmoid(2.0)), ())


def test_each_image_is_judged_for_itself_where_the_card_says_so_the_frames_of_a_clip_together():
    given_ = images((4, 4), (4, 4), (4, 4), uids=("1.2.7", "1.2.8", "1.2.8"))
    card = asking(Task.CLASSIFICATION, target(operating_point=0.5), scope=Scope.IMAGE)
    one, clip = findings(card, given_, numbers([[-1.0], [-2.0], [3.0]]))
    assert (one.present, one.key_images, one.tracking_identifier) == (False, ("1.2.7",), "Nodule, image 1")
    assert (clip.present, clip.key_images, clip.tracking_identifier) == (True, ("1.2.8",), "Nodule, image 2")
    assert clip.score == pytest.approx(sigmoid(3.0))


def test_what_the_model_says_of_itself_is_kept_with_the_target():
    (found,) = findings(asking(Task.CLASSIFICATION), images((4, 4)), numbers([[0.0]], uncertainty={0: 0.2}))
    assert found.uncertainty == 0.2


@pytest.mark.parametrize(
    ("rows", "changes", "reason"),
    [
        ([[float("nan")]], {}, "not all finite"),
        ([[float("inf")]], {}, "not all finite"),
        ([[0.0], [0.0]], {}, "numbers of 2 images where 3 were given"),
        ([[]], {}, "gave no numbers"),
        ([[0.0]], {"exclusive": True}, "one number"),
        ([[0.0]], {"targets": (target(1),)}, "none of them for Nodule"),
        ([[0.0]] * 3, {"scope": Scope.IMAGE, "targets": tuple(target(n) for n in range(400))}, "none of them"),
        ([[0.0] * 400] * 3, {"scope": Scope.IMAGE, "targets": tuple(target(n) for n in range(400))}, "too many"),
    ],
)
def test_numbers_that_cannot_be_right_are_a_failure(rows: list[list[float]], changes: dict[str, object], reason: str):
    card = asking(Task.CLASSIFICATION, *changes.pop("targets", ()), **changes)  # type: ignore[misc]
    with pytest.raises(Failed, match=reason):
        findings(card, images(*[(4, 4)] * 3), numbers(rows))


@given(st.floats(-700, 700))
def test_every_logit_has_a_number_from_0_to_1(value: float):
    (found,) = findings(asking(Task.CLASSIFICATION), images((4, 4)), numbers([[value]]))
    assert found.score is not None
    assert 0 <= found.score <= 1
    assert found.score == pytest.approx(sigmoid(float(np.float32(value))), abs=1e-6)


@given(st.floats(0, 1), st.floats(0.1, 10), st.floats(-5, 5))
def test_calibrating_keeps_the_order(score: float, temperature: float, bias: float):
    calibrated = target(calibration=fitted(temperature, bias))
    assert number_of(calibrated, score).value <= number_of(calibrated, min(1.0, score + 0.01)).value
    assert number_of(target(calibration=fitted()), score).value == pytest.approx(score, abs=1e-6)
