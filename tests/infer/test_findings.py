"""What is kept of a reading, by the task of the card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from node.domain.finding import Segment
from node.domain.measures import Lesions, Measure, Quantity
from node.domain.model_card import Task
from node.errors import Failed
from node.imaging.mask import read_mask
from node.imaging.pipelines import STILL, Given, Pulse, Reading
from node.imaging.volume import Volume
from node.infer.findings import Conclusion, conclude
from tests.fakes import slice_of
from tests.imaging.measure.bodies import grid
from tests.imaging.tasks.cards import NODULE, asking, images, numbers, seen, target
from tests.report.synthetic import ANATOMY, card

HERE = ((2.0, 6.0), (3.0, 9.0))
#: Outlines what it finds on single images.
FLAT = replace(card(Segment(number=1, label="Nodule", category=ANATOMY, type=NODULE)), needs_volume=False)


class Asked:
    """A model that is not asked again."""

    def warm_up(self) -> None:
        raise AssertionError

    def run(self, given: Given, pulse: Pulse = STILL) -> Reading:
        raise AssertionError


def concluded(wanted: object, given: Given, reading: Reading) -> Conclusion:
    return conclude(wanted, given, reading, Asked())  # type: ignore[arg-type]


def test_the_numbers_of_a_classifier_are_findings_and_leave_no_file():
    found = concluded(asking(Task.CLASSIFICATION, target(operating_point=0.5)), images((9, 9)), numbers([[-1.0]]))
    assert [(each.code, each.present) for each in found.findings] == [(NODULE, False)]
    assert found.files == ()


def test_the_boxes_of_a_detector_are_findings_and_what_is_left_out_is_said():
    boxes = [(0.9 - row / 100, ((row * 2.0, row * 2.0 + 1.0), (0.0, 1.0))) for row in range(30)]
    found = concluded(asking(Task.DETECTION), images((80, 9)), seen(*boxes))
    assert len(found.findings) == 20
    assert "10 more boxes" in found.notes[0]


def test_labels_on_single_images_are_kept_as_a_mask_on_their_pixels(tmp_path: Path):
    labels = np.zeros((2, 9, 9), np.uint8)
    labels[1, 2:4, 3:7] = 1
    found = concluded(FLAT, images((9, 9), (9, 9)), Reading(labels=labels, timings={}))
    assert [each.segment_number for each in found.findings] == [1]
    (file,) = found.files
    path = tmp_path / "mask"
    path.write_bytes(file.encode())
    mask = read_mask(path)
    assert np.array_equal(mask.labels, labels)
    assert (mask.grid, mask.sop_instance_uids) == (None, ("1.2.0", "1.2.1"))


def test_images_on_which_nothing_is_outlined_leave_a_negative_and_no_mask():
    found = concluded(FLAT, images((9, 9)), Reading(labels=np.zeros((1, 9, 9), np.uint8), timings={}))
    assert [(each.code, each.present) for each in found.findings] == [(NODULE, False)]
    assert found.files == ()


def test_an_answer_of_another_task_is_a_failure():
    for wanted, reason in ((FLAT, "made no mask"), (asking(Task.CLASSIFICATION), "gave no numbers")):
        with pytest.raises(Failed, match=reason):
            concluded(wanted, images((9, 9)), Reading(timings={}))
    with pytest.raises(Failed, match="no segment of the card"):
        concluded(FLAT, images((9, 9)), Reading(labels=np.full((1, 9, 9), 3, np.uint8), timings={}))


def on_a_volume(labels: np.ndarray, **asked: object) -> Conclusion:
    """Labels on a CT of four slices, by a card that looks for nodules."""
    on = grid(labels.shape, np.diag((2.0, 1.0, 1.0)))  # type: ignore[arg-type]
    slices = tuple(slice_of(number, modality="CT", series_number=3) for number in range(1, len(labels) + 1))
    volume = Volume(np.full(labels.shape, 40, np.int16), on, tuple(each.sop_instance_uid for each in slices))
    wanted = replace(card(Segment(number=1, label="Nodule", category=ANATOMY, type=NODULE)), **asked)  # type: ignore[arg-type]
    return concluded(wanted, Given(volumes={"": volume}, instances=slices), Reading(labels=labels, timings={}))


def test_every_finding_is_measured_and_said_in_a_sentence():
    labels = np.zeros((4, 9, 9), np.uint8)
    labels[2, 2:4, 3:7] = 1
    found = on_a_volume(
        labels,
        measures=(Measure(quantity=Quantity.MEAN, segment_number=1), Measure(quantity=Quantity.AREA, segment_number=1)),
    )
    (nodule,) = found.findings
    assert nodule.sentence == (
        "Nodule: mean of attenuation coefficient 40.0 HU; area 8.00 mm²; largest on image 3 (S 6 mm);"
        " read in series 3 (CT, 4 images)."
    )
    assert len(found.files) == 1


def test_a_volume_without_the_lesions_looked_for_leaves_a_negative_that_says_so_and_no_mask():
    found = on_a_volume(np.zeros((4, 9, 9), np.uint8), lesions=(Lesions(segment_number=1, least_ml=0.05),))
    assert [(each.present, each.sentence) for each in found.findings] == [
        (False, "No nodule of 0.05 mL or more: looked for in series 3 (CT, 4 images).")
    ]
    assert found.files == ()
