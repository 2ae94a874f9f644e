from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from node.imaging.components import bounds, fill_holes, largest_component

masks = arrays(np.bool_, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=7))


@settings(max_examples=300, deadline=None)
@given(masks)
def test_the_largest_component_is_one_whole_component_and_none_is_larger(mask: np.ndarray):
    kept = largest_component(mask)
    labels, count = ndimage.label(mask)
    if count == 0:
        assert not kept.any()
        return
    assert kept.sum() == np.bincount(labels.ravel())[1:].max()
    assert len(np.unique(labels[kept])) == 1
    assert labels[kept][0] != 0


@settings(max_examples=300, deadline=None)
@given(masks)
def test_holes_are_filled_as_the_reference_fills_them(mask: np.ndarray):
    assert np.array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))


@settings(max_examples=50, deadline=None)
@given(masks, st.sampled_from([largest_component, fill_holes]))
def test_what_went_in_is_not_changed(mask: np.ndarray, change: object):
    before = mask.copy()
    change(mask)  # type: ignore[operator]
    assert np.array_equal(mask, before)


def test_a_hollow_ball_with_a_speck_beside_it_becomes_one_solid_ball():
    z, y, x = np.ogrid[-12:13, -12:13, -12:13]
    distance = z**2 + y**2 + x**2
    mask = (distance < 100) & (distance > 30)
    mask[0, 0, 0] = True
    solid = fill_holes(largest_component(mask))
    assert np.array_equal(solid, distance < 100)
    assert bounds(solid) == ((3, 22),) * 3


def test_an_open_bowl_stays_open():
    bowl = np.zeros((7, 7, 7), dtype=bool)
    bowl[1:6, 1:6, 1:6] = True
    bowl[2:6, 2:5, 2:5] = False
    assert np.array_equal(fill_holes(bowl), bowl)


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 1, 4)])
def test_empty_and_full_masks_stay_what_they_are(shape: tuple[int, int, int]):
    empty, full = np.zeros(shape, dtype=bool), np.ones(shape, dtype=bool)
    assert not fill_holes(largest_component(empty)).any()
    assert fill_holes(largest_component(full)).all()
    assert bounds(empty) is None
    assert bounds(full) == tuple((0, size) for size in shape)
