"""Figures of masks, against boxes whose surfaces can be computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from node.domain.geometry import Grid
from node.learn.evaluate import surface
from node.learn.evaluate.elements import elements

SPACING = (3.0, 1.0, 0.5)


def grid(shape: tuple[int, int, int], spacing: tuple[float, float, float] = SPACING) -> Grid:
    a, b, c = spacing
    return Grid(shape, ((0, 0, c, 0), (0, b, 0, 0), (a, 0, 0, 0), (0, 0, 0, 1)))


def box(shape: tuple[int, ...], *ranges: tuple[int, int]) -> NDArray[np.uint8]:
    labels = np.zeros(shape, np.uint8)
    labels[tuple(slice(*each) for each in ranges)] = 1
    return labels


def test_a_mask_that_is_the_truth_is_perfect():
    labels = box((8, 9, 10), (2, 5), (3, 7), (2, 8))
    found = surface.figures(labels, labels, grid(labels.shape), (1,), 1.0)[1]
    assert (found.dice, found.hd95_mm, found.surface_dice) == (1.0, 0.0, 1.0)
    assert found.volume_ml == found.true_volume_ml == pytest.approx(3 * 4 * 6 * 1.5 / 1000)


@pytest.mark.parametrize(("axis", "steps"), [(0, 2), (1, 3), (2, 4)])
def test_a_shifted_box_lies_as_far_off_as_it_was_shifted(axis: int, steps: int):
    shape = (14, 14, 14)
    true = box(shape, (3, 8), (3, 8), (3, 8))
    said = np.roll(true, steps, axis=axis)
    found = surface.figures(said, true, grid(shape), (1,), 1.0)[1]
    assert found.dice == pytest.approx((5 - steps) / 5)
    # Two of six faces lie off by the whole shift: more than a twentieth of all.
    assert found.hd95_mm == pytest.approx(steps * SPACING[axis])


def test_surface_dice_counts_area_and_not_voxels():
    # A plate of 20 × 20 mm, its thickness doubled on one side: the far face lies 3 mm off, all else within.
    shape = (8, 24, 44)
    true, said = box(shape, (2, 4), (2, 22), (2, 42)), box(shape, (2, 5), (2, 22), (2, 42))
    near = surface.figures(said, true, grid(shape), (1,), 3.0)[1].surface_dice
    assert near == 1.0
    apart = surface.figures(said, true, grid(shape), (1,), 1.0)[1].surface_dice
    areas = [float(elements(each == 1, SPACING).sum()) for each in (said, true)]
    # Faces of about 19.5 × 19.5 mm (corners are cut off half a voxel in) are out of reach, on both sides.
    assert apart is not None
    assert (1 - apart) * sum(areas) == pytest.approx(2 * 400, rel=0.1)


def test_elements_of_a_box_have_its_area_but_for_the_bevelled_edges():
    areas = elements(np.ones((4, 5, 6), np.bool_), (1.0, 1.0, 1.0))
    faces = 2 * (3 * 4 + 3 * 5 + 4 * 5)
    edges = 4 * (3 + 4 + 5) * np.sqrt(0.5)
    corners = 8 * np.sqrt(3) / 8
    assert areas.sum() == pytest.approx(faces + edges + corners)


def test_the_surface_around_a_mask_is_that_of_the_hole_it_leaves():
    mask = np.random.default_rng(2).random((5, 6, 7)) > 0.5
    padded = np.pad(mask, 1)
    inverse = elements(~padded, SPACING)[1:-1, 1:-1, 1:-1]
    # Four voxels of eight that touch along edges alone can be joined in two ways.
    ambiguous = np.isclose(elements(mask, SPACING), inverse)
    assert ambiguous.mean() > 0.9


def test_nothing_is_not_wrong_and_not_right():
    nothing, something = np.zeros((6, 6, 6), np.uint8), box((6, 6, 6), (1, 3), (1, 3), (1, 3))
    both = surface.figures(nothing, nothing, grid((6, 6, 6)), (1,), 1.0)[1]
    assert (both.dice, both.hd95_mm, both.surface_dice, both.volume_ml) == (None, None, None, 0.0)
    for said, true in ((nothing, something), (something, nothing)):
        one = surface.figures(said, true, grid((6, 6, 6)), (1,), 1.0)[1]
        assert (one.dice, one.hd95_mm, one.surface_dice) == (0.0, None, 0.0)


def test_segments_are_told_apart():
    labels = box((6, 6, 12), (1, 4), (1, 4), (1, 4))
    labels[1:4, 1:4, 6:9] = 7
    truth = labels.copy()
    truth[1:4, 1:4, 8] = 0
    found = surface.figures(labels, truth, grid(labels.shape), (1, 7, 9), 1.0)
    assert found[1].dice == 1.0
    assert found[7].dice == pytest.approx(2 * 18 / (27 + 18))
    assert found[9].dice is None


def test_an_image_is_measured_along_its_two_axes():
    true = box((20, 20), (5, 15), (5, 15))
    found = surface.figures_at(np.roll(true, 2, axis=0), true, (2.0, 1.0), (1,), 0.5)[1]
    assert found.dice == pytest.approx(0.8)
    assert found.hd95_mm == pytest.approx(4.0)
    assert found.true_volume_ml == pytest.approx(0.2)
    assert found.surface_dice is not None
    assert 0 < found.surface_dice < 1


def test_labels_that_lie_elsewhere_are_refused():
    with pytest.raises(ValueError, match="grid"):
        surface.figures(np.zeros((2, 2, 2), np.uint8), np.zeros((2, 2, 2), np.uint8), grid((2, 2, 3)), (1,), 1.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 3.0))
def test_it_does_not_matter_which_mask_is_true(seed: int, tolerance_mm: float):
    one, other = np.random.default_rng(seed).random((2, 5, 6, 5)) > 0.6
    assert surface.dice(one, other) == surface.dice(other, one)
    assert surface.hd95_mm(one, other, SPACING) == surface.hd95_mm(other, one, SPACING)
    there = surface.surface_dice(one, other, SPACING, tolerance_mm)
    assert there == pytest.approx(surface.surface_dice(other, one, SPACING, tolerance_mm))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_rest_of_the_volume_changes_nothing(seed: int):
    one, other = (np.random.default_rng(seed).random((2, 4, 5, 4)) > 0.5).astype(np.uint8)
    wide = [np.pad(each, ((4, 2), (1, 5), (3, 3))) for each in (one, other)]
    close = surface.figures(one, other, grid(one.shape), (1,), 1.0)[1]
    far = surface.figures(wide[0], wide[1], grid(wide[0].shape), (1,), 1.0)[1]
    assert close == far
