"""The long axis joins the two points of an outline that are farthest apart on the patient, not on the screen."""

from __future__ import annotations

import numpy as np
import pytest

from node.report.contour import outline
from node.report.documents.axis import long_axis


def region(*pixels: tuple[int, int]) -> np.ndarray:
    plane = np.zeros((12, 12), dtype=np.bool_)
    for row, column in pixels:
        plane[row, column] = True
    return plane


def test_a_row_of_pixels_is_as_long_as_its_pixels_are_wide() -> None:
    ends, length_mm = long_axis(outline(region((4, 3), (4, 4), (4, 5), (4, 6))), (0.5, 0.5))
    assert length_mm == pytest.approx(2.0)
    # From the left edge of column 3 to the right edge of column 6, through the middle of row 4.
    assert sorted(ends.tolist()) == [[3.0, 4.5], [7.0, 4.5]]


def test_the_distance_is_that_in_millimetres() -> None:
    """Three rows of 7 mm are longer than five columns of 1 mm, though they are fewer pixels."""
    cross = region(*((row, 6) for row in (5, 6, 7)), *((6, column) for column in range(4, 9)))
    ends, length_mm = long_axis(outline(cross), (7.0, 1.0))
    assert length_mm == pytest.approx(21.0)
    assert {column for column, _ in ends.tolist()} == {6.5}


def test_a_single_pixel_has_a_length() -> None:
    _, length_mm = long_axis(outline(region((3, 3))), (0.7, 0.7))
    assert length_mm == pytest.approx(0.7)


def test_it_is_the_farthest_pair_of_all() -> None:
    rng = np.random.default_rng(7)
    plane = np.zeros((40, 40), dtype=np.bool_)
    plane[5:30, 8:33] = rng.random((25, 25)) > 0.2
    plane[16, 8:33] = plane[5:30, 20] = True
    points = outline(plane)
    _, length_mm = long_axis(points, (1.3, 0.9))
    places = points.astype(float) * (0.9, 1.3)
    assert length_mm == pytest.approx(np.linalg.norm(places[:, None] - places[None], axis=2).max())
