from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from node.domain.finding import Segment
from node.errors import Failed
from node.imaging.tasks.outlines import findings, mask_on
from tests.imaging.tasks.cards import NODULE, images
from tests.report.synthetic import ANATOMY, BRAIN, card

CARD = replace(
    card(
        Segment(number=1, label="Brain", category=ANATOMY, type=BRAIN),
        Segment(number=2, label="Nodule", category=ANATOMY, type=NODULE),
    ),
    needs_volume=False,
)


def test_labels_on_images_lie_on_their_pixels_alone_and_are_named_where_they_are_largest():
    labels = np.zeros((3, 4, 5), np.uint8)
    labels[0, 0, 0] = 2
    labels[2, :2] = 2
    mask = mask_on(images((4, 5), (4, 5), (4, 5)).images, labels)
    assert (mask.grid, mask.sop_instance_uids, mask.frame_numbers) == (None, ("1.2.0", "1.2.1", "1.2.2"), ())
    (found,) = findings(CARD, mask)
    assert (found.segment_number, found.code, found.key_images) == (2, NODULE, ("1.2.2",))
    assert found.measurements == ()


def test_frames_of_a_clip_beside_an_image_keep_their_numbers():
    given = images((4, 5), (4, 5), (4, 5), uids=("1.2.7", "1.2.8", "1.2.8"))
    mask = mask_on(given.images, np.ones((3, 4, 5), np.uint8))
    assert mask.frame_numbers == (0, 1, 2)


def test_nothing_outlined_is_a_negative_of_each_segment():
    mask = mask_on(images((4, 5)).images, np.zeros((1, 4, 5), np.uint8))
    assert [(each.code, each.present, each.segment_number) for each in findings(CARD, mask)] == [
        (BRAIN, False, None),
        (NODULE, False, None),
    ]


def test_images_of_several_sizes_bear_no_mask():
    with pytest.raises(Failed, match="several sizes"):
        mask_on(images((4, 5), (5, 4)).images, np.zeros((2, 4, 5), np.uint8))
    with pytest.raises(Failed, match=r"the images \(1, 4, 5\)"):
        mask_on(images((4, 5)).images, np.zeros((2, 4, 5), np.uint8))
