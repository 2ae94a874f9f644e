"""Outlines run around pixels, not through them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from node.report.contour import largest_region, outline, polygons, regions, rings

PLANES = arrays(np.bool_, st.tuples(st.integers(1, 12), st.integers(1, 12))).filter(lambda plane: bool(plane.any()))


def flood(plane: NDArray[np.bool_], start: tuple[int, int], *, wanted: bool = True) -> set[tuple[int, int]]:
    found, waiting = set(), [start]
    while waiting:
        row, column = waiting.pop()
        inside = 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]
        if inside and plane[row, column] == wanted and (row, column) not in found:
            found.add((row, column))
            waiting += [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
    return found


def area_of(points: NDArray[np.float32]) -> float:
    x, y = points.astype(float).T
    return abs(float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))) / 2


@given(PLANES)
@settings(max_examples=150, deadline=None)
def test_the_largest_region_is_the_largest_flood(plane: NDArray[np.bool_]) -> None:
    floods = [flood(plane, (int(r), int(c))) for r, c in np.argwhere(plane)]
    region = largest_region(plane)
    pixels = {(int(r), int(c)) for r, c in np.argwhere(region)}
    assert pixels in floods
    assert len(pixels) == max(len(each) for each in floods)


@given(PLANES)
@settings(max_examples=150, deadline=None)
def test_the_outline_has_the_area_of_the_region_with_its_holes_filled(plane: NDArray[np.bool_]) -> None:
    region = largest_region(plane)
    padded = np.pad(region, 1)
    # Outside reaches around corners, as the region does not.
    outside, waiting = set(), [(0, 0)]
    while waiting:
        row, column = waiting.pop()
        inside = 0 <= row < padded.shape[0] and 0 <= column < padded.shape[1]
        if inside and not padded[row, column] and (row, column) not in outside:
            outside.add((row, column))
            waiting += [(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    points = outline(region)
    assert area_of(points) == pytest.approx(padded.size - len(outside) - 0.5)
    np.testing.assert_array_equal(points[0], points[-1])


def test_one_pixel_is_a_diamond_around_its_centre() -> None:
    plane = np.zeros((5, 7), np.bool_)
    plane[2, 4] = True
    points = outline(plane)
    np.testing.assert_allclose(points[:-1].mean(axis=0), [4.5, 2.5])  # (column, row)
    assert area_of(points) == 0.5


def test_straight_edges_have_no_vertices_between_their_ends() -> None:
    plane = np.zeros((10, 12), np.bool_)
    plane[2:8, 3:11] = True
    assert len(outline(plane)) == 8 + 1


def test_the_region_may_touch_the_border() -> None:
    points = outline(np.ones((4, 6), np.bool_))
    np.testing.assert_allclose([points.min(axis=0), points.max(axis=0)], [[0, 0], [6, 4]])


def test_a_ragged_outline_fits_one_data_element() -> None:
    plane = np.zeros((600, 600), np.bool_)
    plane[::2] = True
    plane[:, 0] = True
    points = outline(largest_region(plane))
    assert points.size * 4 < 65534
    np.testing.assert_array_equal(points[0], points[-1])


def inside(point: tuple[float, float], ring: NDArray[np.float32]) -> bool:
    crossed = False
    for (x1, y1), (x2, y2) in zip(ring[:-1].tolist(), ring[1:].tolist(), strict=True):
        if (y1 > point[1]) != (y2 > point[1]) and point[0] < x1 + (point[1] - y1) * (x2 - x1) / (y2 - y1):
            crossed = not crossed
    return crossed


@given(PLANES)
@settings(max_examples=100, deadline=None)
def test_regions_are_all_pixels_and_the_largest_comes_first(plane: NDArray[np.bool_]) -> None:
    sizes = [int(region.pixels.sum()) for region in regions(plane)]
    assert sum(sizes) == int(plane.sum())
    assert sizes == sorted(sizes, reverse=True)


@given(PLANES)
@settings(max_examples=100, deadline=None)
def test_rings_part_the_pixels_inside_from_those_outside(plane: NDArray[np.bool_]) -> None:
    drawn = rings(plane)
    for (row, column), expected in np.ndenumerate(plane):
        crossings = sum(inside((column + 0.5, row + 0.5), ring) for ring in drawn)
        assert crossings % 2 == int(expected), (row, column)


@given(PLANES)
@settings(max_examples=100, deadline=None)
def test_polygons_hold_each_pixel_once_and_no_hole(plane: NDArray[np.bool_]) -> None:
    drawn = polygons(plane, 4000)
    for (row, column), expected in np.ndenumerate(plane):
        assert sum(inside((column + 0.5, row + 0.5), ring) for ring in drawn) == int(expected), (row, column)


def test_a_ring_of_pixels_has_an_outer_and_an_inner_outline() -> None:
    plane = np.zeros((20, 30), np.bool_)
    plane[5:15, 10:25] = True
    plane[8:11, 14:20] = False
    outer, inner = rings(plane)
    np.testing.assert_allclose([outer.min(axis=0), outer.max(axis=0)], [[10, 5], [25, 15]])
    np.testing.assert_allclose([inner.min(axis=0), inner.max(axis=0)], [[14, 8], [20, 11]])


def test_polygons_have_no_more_vertices_than_asked() -> None:
    plane = np.zeros((60, 60), np.bool_)
    plane[::2] = True
    plane[:, 0] = True
    assert [len(polygon) <= 51 for polygon in polygons(plane, 50)] == [True]
