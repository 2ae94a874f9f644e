from __future__ import annotations

import numpy as np
import pytest

from node.domain.finding import MILLIMETRE
from node.domain.measures import AREA, LONG_AXIS, SHORT_AXIS, SQUARE_MILLIMETRE, Quantity
from node.errors import Failed
from node.imaging.images import Image
from node.imaging.measure import measured_on_images
from tests.fakes import slice_of
from tests.imaging.measure.bodies import asking, of

CARD = asking(of(Quantity.AREA), of(Quantity.LONG_AXIS), of(Quantity.SHORT_AXIS))


def images(spacing_mm: tuple[float, float] | None = (0.5, 0.25)) -> list[Image]:
    array = np.zeros((20, 30), np.int16)
    return [Image(array=array, sop_instance_uid=f"1.2.{number}", spacing_mm=spacing_mm) for number in range(3)]


def labels() -> np.ndarray:
    made = np.zeros((3, 20, 30), np.uint8)
    made[0, 1, 1] = 1
    made[2, 4:8, 10:26] = 1
    return made


def test_area_and_axes_are_in_millimetres_on_the_image_that_shows_most() -> None:
    (found,) = measured_on_images(CARD, labels(), images()).findings
    assert found.key_images == ("1.2.2",)
    area, long, short = found.measurements
    assert (area.quantity, area.unit, area.value) == (AREA, SQUARE_MILLIMETRE, pytest.approx(4 * 16 * 0.125))
    assert (long.quantity, short.quantity, long.unit) == (LONG_AXIS, SHORT_AXIS, MILLIMETRE)
    assert long.value == pytest.approx(np.hypot(2.0, 4.0), abs=0.3)


def test_without_a_pixel_spacing_nothing_is_measured_and_that_is_said() -> None:
    result = measured_on_images(CARD, labels(), images(None))
    assert result.findings[0].measurements == ()
    assert result.notes == ("Nothing of Lung was measured: the image does not say how large its pixels are.",)


def test_sizes_on_a_projection_are_said_to_be_those_on_the_detector() -> None:
    found = slice_of(1, plane=None, modality="DX", sop_instance_uid="1.2.2")
    assert "on the detector" in measured_on_images(CARD, labels(), images(), [found]).notes[0]
    assert measured_on_images(CARD, labels(), images(), [slice_of(1, sop_instance_uid="1.2.2")]).notes == ()


def test_an_area_that_no_person_has_fails() -> None:
    with pytest.raises(Failed, match=r"Lung area of 8 mm² is not plausible \(100 to 200 mm²\)"):
        measured_on_images(asking(of(Quantity.AREA, plausible=(100.0, 200.0))), labels(), images())
