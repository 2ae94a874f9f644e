from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from node.domain.detection import Detection
from node.domain.finding import Finding, Region
from node.domain.model_card import Task
from node.errors import Failed
from node.imaging.images import read_images
from node.imaging.pipelines import Box, Given, Reading
from node.imaging.tasks.detection import detected, findings
from node.imaging.volume import read_volume
from tests.imaging.series import Made, Slices, real_series, write_series
from tests.imaging.tasks.cards import EFFUSION, NODULE, asking, fitted, images, seen, target, volume

HERE = ((2.0, 6.0), (3.0, 9.0))
CARD = asking(Task.DETECTION, target(operating_point=0.5))


def test_a_box_on_an_image_is_a_rectangle_on_just_that_image():
    (found,) = findings(CARD, images((20, 20), (20, 20)), seen((0.9, HERE, 1)))
    assert found.regions == (Region(sop_instance_uid="1.2.1", edges=(2.0, 3.0, 6.0, 9.0)),)
    assert (found.present, found.score, found.probability) == (True, 0.9, None)
    assert (found.key_images, found.tracking_identifier) == (("1.2.1",), "Nodule 1")


def test_a_box_on_a_frame_names_it():
    (found,) = findings(CARD, images((20, 20), (20, 20), uids=("1.2.7", "1.2.7")), seen((0.9, HERE, 1)))
    assert [(region.sop_instance_uid, region.frame_number) for region in found.regions] == [("1.2.7", 2)]


def test_a_box_in_a_volume_is_a_rectangle_on_each_slice_that_it_crosses():
    (found,) = findings(CARD, volume((9, 20, 20)), seen((0.9, ((2.0, 5.0), *HERE))))
    assert [region.sop_instance_uid for region in found.regions] == ["1.2.2", "1.2.3", "1.2.4"]
    assert {region.edges for region in found.regions} == {(2.0, 3.0, 6.0, 9.0)}
    assert found.key_images[0] == "1.2.3"


def test_no_box_is_a_negative_that_says_what_was_looked_for():
    card = asking(Task.DETECTION, target(operating_point=0.5), target(1, EFFUSION, operating_point=0.7))
    nodule, effusion = findings(card, images((20, 20)), seen((0.4, HERE), (0.3, HERE)))
    assert (nodule.code, nodule.present, nodule.operating_point, nodule.score) == (NODULE, False, 0.5, 0.4)
    assert (effusion.code, effusion.present, effusion.operating_point, effusion.score) == (EFFUSION, False, 0.7, None)
    assert nodule.regions == nodule.key_images == ()


def test_of_boxes_from_overlapping_windows_the_highest_stands():
    shifted, other = ((2.5, 6.5), (3.0, 9.0)), ((12.0, 16.0), (3.0, 9.0))
    found = findings(CARD, images((20, 20)), seen((0.7, shifted), (0.9, HERE), (0.8, other)))
    assert [each.score for each in found] == [0.9, 0.8]
    assert [each.tracking_identifier for each in found] == ["Nodule 1", "Nodule 2"]


def test_boxes_of_several_targets_do_not_suppress_each_other():
    card = asking(Task.DETECTION, target(0), target(1, EFFUSION))
    boxes = (Box(target=0, score=0.9, edges=HERE), Box(target=1, score=0.2, edges=HERE))
    assert [each.code for each in findings(card, images((20, 20)), Reading(boxes=boxes, timings={}))] == [
        NODULE,
        EFFUSION,
    ]


def test_boxes_on_neighbouring_images_are_one_thing_where_the_card_says_so():
    boxes = seen((0.6, HERE, 0), (0.9, ((2.0, 6.0), (3.0, 10.0)), 1), (0.8, HERE, 3))
    given_ = images(*[(20, 20)] * 4)
    assert len(findings(CARD, given_, boxes)) == 3
    one, other = findings(replace(CARD, detection=Detection(linked_from=0.5)), given_, boxes)
    assert [region.sop_instance_uid for region in one.regions] == ["1.2.0", "1.2.1"]
    assert (one.score, one.key_images[0]) == (0.9, "1.2.1")
    assert [region.sop_instance_uid for region in other.regions] == ["1.2.3"]


def test_no_more_than_the_card_says_are_told_and_the_others_are_counted():
    boxes = [(0.5 + row / 100, ((row * 2.0, row * 2.0 + 1.0), (0.0, 1.0))) for row in range(8)]
    told = detected(replace(CARD, detection=Detection(most=3)), images((20, 20)), seen(*boxes))
    assert [each.score for each in told.findings] == pytest.approx([0.57, 0.56, 0.55])
    assert told.notes == ("5 more boxes of Nodule have lower scores and are left out.",)


def test_a_calibrated_box_has_a_probability_that_decides():
    card = asking(Task.DETECTION, target(operating_point=0.5, calibration=fitted(bias=-3.0)))
    (found,) = findings(card, images((20, 20)), seen((0.9, HERE)))
    assert found.score is None
    assert found.probability == pytest.approx(9 * np.exp(-3) / (1 + 9 * np.exp(-3)))
    assert found.present is False


def test_a_box_that_reaches_beyond_the_image_ends_at_its_edge_and_one_outside_is_none():
    boxes = seen((0.9, ((-4.0, 6.0), (15.0, 30.0))), (0.8, ((25.0, 30.0), (0.0, 4.0))))
    (found,) = findings(CARD, images((20, 20)), boxes)
    assert found.regions[0].edges == (0.0, 15.0, 6.0, 20.0)


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        (seen((float("nan"), HERE)), "not finite"),
        (seen((1.5, HERE)), "not from 0 to 1"),
        (seen((0.9, ((0.0, float("inf")), (0.0, 1.0)))), "not finite"),
        (seen((0.9, HERE, 7)), "lies on image 7, and 1 were given"),
        (seen((0.9, ((0.0, 1.0), *HERE))), "lies on image 0"),
        (Reading(boxes=(Box(target=4, score=0.9, edges=HERE),), timings={}), "target 4"),
    ],
)
def test_boxes_that_cannot_be_meant_are_a_failure(boxes: Reading, reason: str):
    with pytest.raises(Failed, match=reason):
        findings(CARD, images((20, 20)), boxes)
    with pytest.raises(Failed, match="axes in a volume"):
        findings(CARD, volume((9, 20, 20)), seen((0.9, HERE)))


def annotated(folder: Path) -> dict[str, Region]:
    """SOP Instance UID → the tumour box of the annotation that bears it as its name."""
    boxes = {}
    for path in folder.glob("*.xml"):
        box = ET.parse(path).getroot().find("object/bndbox")
        assert box is not None
        left, top, right, bottom = (float(box.findtext(name) or "") for name in ("xmin", "ymin", "xmax", "ymax"))
        boxes[path.stem] = Region(sop_instance_uid=path.stem, edges=(top, left, bottom, right))
    return boxes


def as_boxes(regions: dict[str, Region], uids: list[str]) -> Reading:
    """What a detector would answer that sees these, image by image."""
    made = []
    for uid, region in regions.items():
        top, left, bottom, right = region.edges
        made.append(Box(target=0, score=0.8, edges=((top, bottom), (left, right)), image=uids.index(uid)))
    return Reading(boxes=tuple(made), timings={})


def test_the_boxes_of_a_real_series_lie_on_just_the_images_that_they_were_drawn_on(test_data: Path):
    folder = test_data / "dicom" / "Lung_Dx-A0002"
    drawn = annotated(folder / "annotation_voc")
    slices: Slices = real_series(next(each for each in folder.iterdir() if each.name != "annotation_voc"))
    given_ = Given(images=read_images(slices[::-1]))
    uids = [image.sop_instance_uid for image in given_.images]
    reading = as_boxes(drawn, uids)
    single = findings(CARD, given_, reading)
    assert {each.regions[0].sop_instance_uid: each.regions[0] for each in single} == drawn
    (tumour,) = findings(replace(CARD, detection=Detection(linked_from=0.3)), given_, reading)
    assert {region.sop_instance_uid: region for region in tumour.regions} == drawn
    assert len(tumour.regions) == len(drawn) == 10


ORIENTATIONS = {
    "supine": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "prone": (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0),
    "flipped left to right": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "feet first": (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
    "sagittal": (0.0, 1.0, 0.0, 0.0, 0.0, -1.0),
    "coronal": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0),
}


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.sampled_from(sorted(ORIENTATIONS)),
    st.tuples(*(st.integers(0, 5) for _ in range(3))),
    st.tuples(*(st.integers(1, 3) for _ in range(3))),
    st.permutations(range(8)),
    st.booleans(),
)
def test_a_box_lies_on_the_same_anatomy_however_the_series_is_turned(tmp_path: Path, name, first, size, order, flat):
    """A thing in patient space is drawn into the slices; a detector that finds it in the arrays ends up on it again."""
    orientation = ORIENTATIONS[name]
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    to_patient = np.stack([normal, column, row], axis=1)  # (slice, row, column) → LPS, 1 mm each
    origin = -to_patient @ np.array([3.5, 3.5, 3.5])
    low = np.array(first) - 3.5
    high = low + np.array(size)
    index = np.indices((8, 8, 8)).reshape(3, -1)
    places = (to_patient @ index + origin[:, None]).T
    inside = ((places > low - 0.25) & (places < high - 0.75)).all(axis=1).reshape(8, 8, 8)
    made = Made(orientation=orientation, origin=tuple(origin))
    slices = write_series(tmp_path, inside.astype(np.uint16), made)
    shuffled = [slices[position] for position in order]
    if flat:
        given_ = Given(images=read_images(shuffled))
        reading = seen(
            *((0.9, _extent(image.array > 0), n) for n, image in enumerate(given_.images) if image.array.any())
        )
    else:
        given_ = Given(volumes={"": read_volume(shuffled)})
        reading = seen((0.9, _extent(given_.volume.array > 0)))
    found = findings(replace(CARD, detection=Detection(linked_from=0.5)), given_, reading)
    assert len(found) == 1
    planes = {each.sop_instance_uid: each.plane for _, each in slices}
    corners = np.concatenate([_corners(planes[region.sop_instance_uid], region) for region in found[0].regions])
    # Half a slice to either side of the outermost planes.
    reach = np.abs(normal) * 0.5
    assert corners.min(axis=0) - reach == pytest.approx(low - 0.5)
    assert corners.max(axis=0) + reach == pytest.approx(high - 0.5)


def _extent(there: np.ndarray) -> tuple[tuple[float, float], ...]:
    return tuple((float(each.min()), float(each.max() + 1)) for each in np.nonzero(there))


def _corners(plane, region: Region) -> np.ndarray:
    """The corners of a rectangle in LPS mm, as a viewer has them: position is the centre of the first pixel."""
    row, column, position = np.array(plane.orientation[:3]), np.array(plane.orientation[3:]), np.array(plane.position)
    top, left, bottom, right = region.edges
    return np.array([position + (x - 0.5) * row + (y - 0.5) * column for x in (left, right) for y in (top, bottom)])


def test_what_is_said_of_a_box_is_said_of_a_finding():
    (found,) = findings(CARD, images((20, 20)), seen((0.9, HERE), uncertainty={0: 0.1}))
    assert isinstance(found, Finding)
    assert found.uncertainty == 0.1
