"""The side of a finding comes from the patient's own axes, whatever way the scanner or the archive stored it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from node.domain.finding import LEFT, RIGHT, RIGHT_AND_LEFT
from node.domain.measures import Midline, Sided
from node.imaging.images import Image
from node.imaging.measure import measured, measured_on_images
from node.imaging.measure.flat import side_on_image
from node.imaging.volume import read_volume
from tests.fakes import slice_of
from tests.imaging.measure.bodies import asking, grid
from tests.imaging.series import Made, write_series

#: Image Orientation (Patient) of the same supine patient's axial slices: as usual, and as other scanners store them.
ORIENTATIONS = {
    "head first, supine": (1, 0, 0, 0, 1, 0),
    "head first, prone": (-1, 0, 0, 0, -1, 0),
    "feet first, supine": (-1, 0, 0, 0, 1, 0),
    "feet first, prone": (1, 0, 0, 0, -1, 0),
    "columns mirrored": (-1, 0, 0, 0, 1, 0),
    "rows mirrored": (1, 0, 0, 0, -1, 0),
    "decubitus": (0, 1, 0, -1, 0, 0),
    "coronal": (1, 0, 0, 0, 0, -1),
    "sagittal": (0, 1, 0, 0, 0, -1),
    "oblique": (0.8, 0.6, 0, -0.6, 0.8, 0),
}
SIZE = 16
LABELS = (Sided(segment_number=2, midline=Midline.VOLUME),)


def scanned(
    folder: Path, orientation: tuple[float, ...], *, is_reversed: bool
) -> tuple[object, np.ndarray, np.ndarray]:
    """A cube of a patient read back from DICOM, and where each voxel lies in LPS, (slice, row, column, 3)."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    origin = -(SIZE - 1) / 2 * (row + column + np.cross(row, column))
    made = Made(orientation=orientation, origin=tuple(origin), step_mm=1.0, bits_stored=12)
    slices = write_series(folder, np.zeros((SIZE, SIZE, SIZE), np.uint16), made)
    volume = read_volume(slices[::-1] if is_reversed else slices)
    index = np.moveaxis(np.indices((SIZE, SIZE, SIZE)), 0, -1)
    places = index @ volume.grid.matrix[:3, :3].T + volume.grid.matrix[:3, 3]
    return volume, places, np.zeros((SIZE, SIZE, SIZE), np.uint8)


@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("orientation", ORIENTATIONS.values(), ids=ORIENTATIONS)
def test_the_side_is_the_patients_own_however_the_series_was_taken(
    tmp_path: Path, orientation: tuple[float, ...], is_reversed: bool
) -> None:
    volume, places, labels = scanned(tmp_path, orientation, is_reversed=is_reversed)
    for centre, side in (((5.0, 1.0, 1.0), LEFT), ((-5.0, 1.0, 1.0), RIGHT)):
        labels[:] = np.where(np.linalg.norm(places - centre, axis=-1) < 2.5, 2, 0)
        (found,) = measured(asking(sides=LABELS), labels, volume.grid, volume).findings  # type: ignore[attr-defined]
        assert found.laterality == side


def test_what_is_mirrored_without_its_geometry_changes_side() -> None:
    """That is what the affine is for: the test above would pass if the side came from the picture alone."""
    labels = np.zeros((4, 8, 8), np.uint8)
    labels[:, :, 6] = 2
    on, mirrored = (
        grid((4, 8, 8), np.diag((1.0, 1.0, 1.0))[:, [2, 1, 0]]),
        grid((4, 8, 8), np.diag((-1.0, 1.0, 1.0))[:, [2, 1, 0]]),
    )
    sides = [measured(asking(sides=LABELS), labels, each).findings[0].laterality for each in (on, mirrored)]
    assert sides == [LEFT, RIGHT]


def columns(*numbers: tuple[int, int]) -> np.ndarray:
    labels = np.zeros((3, 4, 20), np.uint8)
    for number, column in numbers:
        labels[:, :, column] = number
    return labels


@pytest.mark.parametrize(
    ("rule", "labels", "side"),
    [
        # Column 5 lies right of the middle of the volume, but left of a body that lies to one side.
        (Sided(segment_number=2, midline=Midline.VOLUME), columns((2, 5)), RIGHT),
        (Sided(segment_number=2, midline=Midline.BODY, body_above=50.0), columns((2, 5)), LEFT),
        (Sided(segment_number=2, midline=Midline.SEGMENT, of_segment=1), columns((2, 5), (1, 3)), LEFT),
        (Sided(segment_number=2, midline=Midline.PAIR, of_segment=1), columns((2, 5), (1, 8)), RIGHT),
        # What lies on the midline is on neither side of it more than on the other.
        (
            Sided(segment_number=2, midline=Midline.SEGMENT, of_segment=1),
            columns((2, 5), (1, 4), (1, 6)),
            RIGHT_AND_LEFT,
        ),
        (Sided(segment_number=2, midline=Midline.PAIR, of_segment=1), columns((2, 5)), None),
        (Sided(segment_number=2, midline=Midline.BODY, body_above=5000.0), columns((2, 5)), None),
        (Sided(segment_number=2, midline=Midline.VOLUME), columns((2, 8), (2, 9), (2, 10), (2, 11)), RIGHT_AND_LEFT),
    ],
)
def test_the_card_says_where_the_midline_is(rule: Sided, labels: np.ndarray, side: object) -> None:
    from node.imaging.volume import Volume

    on = grid((3, 4, 20), np.diag((1.0, 1.0, 1.0))[:, [2, 1, 0]])
    array = np.zeros(on.shape, np.int16)
    array[:, :, 1:6] = 100
    volume = Volume(array, on, ("1.1", "1.2", "1.3"))
    found = measured(asking(sides=(rule,)), labels, on, volume).findings
    assert found[-1].laterality == side


def test_a_segment_that_is_not_sided_has_no_side() -> None:
    on = grid((3, 4, 20), np.eye(3))
    assert measured(asking(), columns((2, 5)), on).findings[0].laterality is None


@pytest.mark.parametrize(
    ("header", "side"),
    [
        ({"image_laterality": "R"}, RIGHT),
        ({"image_laterality": "L", "patient_orientation": ("R", "F")}, LEFT),
        ({"patient_orientation": ("L", "F")}, LEFT),
        ({"patient_orientation": ("R", "F")}, RIGHT),
        ({"patient_orientation": ("LA", "F"), "image_laterality": "B"}, LEFT),
        ({"patient_orientation": ("F", "L")}, RIGHT),
        ({"patient_orientation": ("A", "F")}, None),
        ({"image_laterality": "U"}, None),
        ({}, None),
    ],
)
def test_on_a_single_image_the_header_alone_tells_the_side(header: dict[str, object], side: object) -> None:
    """Something in the top right corner of the picture."""
    plane = np.zeros((10, 10), bool)
    plane[1, 8] = True
    instance = slice_of(1, plane=None, **header)
    assert side_on_image(plane, instance) == side
    labels = 2 * plane[None].astype(np.uint8)
    image = Image(array=np.zeros((10, 10), np.int16), sop_instance_uid=instance.sop_instance_uid)
    (found,) = measured_on_images(asking(sides=LABELS), labels, [image], [instance]).findings
    assert (found.laterality, found.key_images) == (side, (instance.sop_instance_uid,))
