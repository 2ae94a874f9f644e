"""How far a model's answers lie apart when it is asked in another way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from node.domain.finding import Code
from node.domain.gate import Uncertainty
from node.domain.model_card import ModelCard, Task
from node.domain.target import Target
from node.errors import Failed
from node.imaging import doubt, pipelines
from node.imaging.images import Image
from node.imaging.pipelines import STILL, Box, Fitting, Given, Pulse, Reading
from node.imaging.volume import Volume
from tests.fakes import card
from tests.imaging.series import grid_of

SHAPE = (6, 8, 10)
FLIPS = Uncertainty(doubtful_from=0.1)
BOTH = Uncertainty(method="ensemble")
TARGET = Target(index=0, label="Nodule", code=Code("27925004", "SCT", "Nodule"))


def volume(array: np.ndarray, affine: np.ndarray | None = None) -> Volume:
    return Volume(array.astype(np.int16), grid_of(array.shape, np.eye(4) if affine is None else affine), ("1",) * 6)


ARRAY = np.arange(np.prod(SHAPE)).reshape(SHAPE)
GIVEN = Given(volumes={"": volume(ARRAY)})


class Above:
    """Segments what is above a threshold; `lean` adds what lies in the first so many columns it sees."""

    def __init__(self, threshold: float, lean: int = 0) -> None:
        self.threshold, self.lean, self.asked = threshold, lean, 0

    def warm_up(self) -> None:
        pass

    def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
        self.asked += 1
        labels = (given.volume.array > self.threshold).astype(np.uint8)
        labels[..., : self.lean] = 1
        return Reading(labels=labels, notes=("plainly",), timings={"model_s": 1.0})


def segmenting(uncertainty: Uncertainty | None) -> ModelCard:
    return replace(card(), uncertainty=uncertainty)


def classifying(uncertainty: Uncertainty) -> ModelCard:
    return replace(
        card(), task=Task.CLASSIFICATION, segments=(), volumes=(), targets=(TARGET,), uncertainty=uncertainty
    )


def test_a_model_that_does_not_mind_mirrors_does_not_disagree() -> None:
    runner = Above(240)
    reading = doubt.read(segmenting(FLIPS), runner, (), GIVEN, STILL)
    assert runner.asked == 8
    assert reading.uncertainty == {1: 0.0}
    assert np.array_equal(reading.labels, ARRAY > 240)
    assert "Asked 8 times" in reading.notes[-1]


def test_one_that_leans_to_a_side_does_and_its_plain_answer_stands() -> None:
    runner = Above(240, lean=2)
    reading = doubt.read(segmenting(FLIPS), runner, (), GIVEN, STILL)
    plain = Above(240, lean=2).run(GIVEN)
    assert np.array_equal(reading.labels, plain.labels)
    assert 0 < reading.uncertainty[1] < 0.05
    skewed = Given(volumes={"": volume(np.where(np.arange(10) < 5, 1000, 0) + np.zeros(SHAPE))})
    assert doubt.read(segmenting(FLIPS), Above(240, lean=2), (), skewed, STILL).uncertainty[1] > 0.1


def test_without_being_asked_for_it_is_read_once() -> None:
    runner = Above(240)
    assert doubt.read(segmenting(None), runner, (), GIVEN, STILL).uncertainty == {}
    assert runner.asked == 1


def test_series_that_lie_differently_are_not_mirrored_along_that_axis() -> None:
    turned = np.eye(4)[[1, 0, 2, 3]]
    two = Given(volumes={"one": volume(ARRAY), "two": volume(ARRAY, turned)})
    runner = Above(240)
    reading = doubt.read(segmenting(FLIPS), runner, (), two, STILL)
    assert runner.asked == 2
    assert "Not mirrored along slices, rows" in reading.notes[-1]


def test_images_are_mirrored_along_rows_and_columns() -> None:
    seen: list[np.ndarray] = []

    class First:
        def warm_up(self) -> None:
            pass

        def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
            seen.append(given.images[0].array)
            return Reading(logits=np.array([[float(given.images[0].array[0, 0])]], np.float32), timings={})

    image = Image(array=np.array([[1, 2], [3, 4]], np.int16), sop_instance_uid="1")
    reading = doubt.read(classifying(FLIPS), First(), (), Given(images=(image,)), STILL)
    assert [int(each[0, 0]) for each in seen] == [1, 3, 2, 4]
    shares = 1 / (1 + np.exp(-np.array([1.0, 3.0, 2.0, 4.0])))
    assert reading.uncertainty[0] == pytest.approx(shares.std())
    assert reading.logits == np.array([[1.0]])


def test_the_members_of_an_ensemble_vote_and_their_volumes_tell_their_doubt() -> None:
    reading = doubt.read(segmenting(BOTH), Above(200), (Above(240), Above(300)), GIVEN, STILL)
    assert np.array_equal(reading.labels, ARRAY > 240)
    volumes = np.array([(ARRAY > each).sum() for each in (200, 240, 300)])
    assert reading.uncertainty[1] == pytest.approx(volumes.std() / volumes.mean())
    assert reading.timings["model_s"] == 3.0
    assert reading.notes == ("plainly", "What 3 models of one kind say together.")


def test_of_two_members_that_do_not_agree_the_background_wins() -> None:
    reading = doubt.read(segmenting(BOTH), Above(200), (Above(300),), GIVEN, STILL)
    assert np.array_equal(reading.labels, ARRAY > 300)


def test_numbers_of_members_are_averaged_and_scores_of_boxes_compared() -> None:
    def saying(**said: Any) -> Any:
        return SimpleNamespace(run=lambda *_: Reading(timings={}, **said))

    logits = [saying(logits=np.array([[each]], np.float32)) for each in (0.0, 2.0)]
    assert doubt.read(classifying(BOTH), logits[0], logits[1:], GIVEN, STILL).logits == np.array([[1.0]])
    boxes = [saying(boxes=(Box(target=0, score=each, edges=()),)) for each in (0.5, 0.9)]
    found = doubt.read(replace(classifying(BOTH), task=Task.DETECTION), boxes[0], boxes[1:], GIVEN, STILL)
    assert found.uncertainty[0] == pytest.approx(0.2)


def test_members_with_masks_of_different_shapes_fail() -> None:
    small = SimpleNamespace(run=lambda *_: Reading(labels=np.zeros((1, 2, 3), np.uint8), timings={}))
    with pytest.raises(Failed, match="different shapes"):
        doubt.read(segmenting(BOTH), Above(1), (small,), GIVEN, STILL)  # type: ignore[arg-type]


def test_each_weights_file_is_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[dict[str, Path]] = []
    pipeline = SimpleNamespace(load=lambda fitting: loaded.append(dict(fitting.weights)))
    monkeypatch.setattr(pipelines, "named", lambda _: pipeline)
    files = {"main": Path("a"), "second": Path("b"), "third": Path("c")}
    fitting = Fitting(card=segmenting(BOTH), folder=Path(), weights=files, device="cpu")
    assert len(doubt.members(fitting)) == 2
    assert [*loaded, doubt.alone(fitting).weights] == [{"main": Path("b")}, {"main": Path("c")}, {"main": Path("a")}]
    flipping = replace(fitting, card=segmenting(FLIPS))
    assert doubt.members(flipping) == ()
    assert doubt.alone(flipping) is flipping
