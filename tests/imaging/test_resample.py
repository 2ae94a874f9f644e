from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from node.domain.geometry import Grid, to_patient
from node.imaging.resample import Box, _sample, box_around, cover, grid_over, part, resample
from tests.imaging.series import grid_of

SLOPE = np.array([0.3, -0.7, 1.1])


def turned(shape: tuple[int, int, int], step: tuple[float, float, float], angles: tuple[float, float, float]) -> Grid:
    """A grid around the origin with its axes turned by Euler angles in degrees."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.diag(step)
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return grid_of(shape, affine)


def ramp(grid: Grid) -> np.ndarray:
    """A value that is linear in patient space, at every voxel of `grid`."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).astype(np.float64)
    return np.asarray(to_patient(grid.matrix, index) @ SLOPE)


angles = st.tuples(*[st.floats(-180, 180)] * 3)
steps = st.tuples(*[st.floats(0.5, 4.0)] * 3)


@settings(max_examples=60, deadline=None)
@given(angles, angles, steps)
def test_what_is_linear_in_space_is_reproduced_on_any_grid(
    one: tuple[float, float, float], other: tuple[float, float, float], step: tuple[float, float, float]
):
    source = turned((40, 44, 48), (2.0, 1.9, 1.8), one)
    target = turned((9, 7, 8), step, other)
    result = resample(torch.from_numpy(ramp(source)).float(), source, target, outside=0.0)
    # The target's farthest corner is 26 mm from the centre, the source's nearest face 38 mm.
    assert np.allclose(result.numpy(), ramp(target), atol=2e-3)


def test_a_grid_onto_itself_changes_nothing():
    grid = turned((5, 6, 7), (3.0, 1.0, 2.0), (10.0, 20.0, 30.0))
    values = torch.rand(grid.shape)
    assert torch.allclose(resample(values, grid, grid, outside=-9.0), values, atol=1e-4)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0), (2, 0, 1)])
def test_axes_in_another_order_give_the_same_values_in_that_order(order: tuple[int, int, int]):
    source = turned((5, 6, 7), (1.0, 2.0, 3.0), (0.0, 0.0, 0.0))
    target = grid_of(tuple(source.shape[axis] for axis in order), source.matrix[:, [*order, 3]])  # type: ignore[arg-type]
    values = torch.rand(source.shape)
    assert torch.allclose(resample(values, source, target, outside=0.0), values.permute(order), atol=1e-5)


def test_the_outer_half_voxel_holds_its_value_and_what_lies_farther_is_outside():
    source = turned((4, 4, 4), (6.0, 6.0, 6.0), (0.0, 0.0, 0.0))
    target = turned((28, 4, 4), (1.0, 6.0, 6.0), (0.0, 0.0, 0.0))  # from -13.5 to 13.5 mm; faces at ±12
    line = resample(torch.full(source.shape, 7.0), source, target, outside=-1.0)[:, 1, 1].tolist()
    assert line == [-1.0] * 2 + [7.0] * 24 + [-1.0] * 2


@settings(max_examples=40, deadline=None)
@given(angles)
def test_outside_is_what_no_voxel_reaches(turn: tuple[float, float, float]):
    source = turned((8, 9, 10), (2.0, 2.0, 2.0), turn)
    target = grid_over(Box((-15, -15, -15), (15, 15, 15)), (21, 22, 23))
    result = resample(torch.ones(source.shape), source, target, outside=0.0).numpy()
    index = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"), axis=-1).astype(np.float64)
    at = to_patient(np.linalg.inv(source.matrix), to_patient(target.matrix, index))
    beyond = np.maximum(-0.5 - at, at - (np.array(source.shape) - 0.5)).max(axis=-1)
    assert np.allclose(result[beyond < -1e-3], 1)
    assert (result[beyond > 1e-3] == 0).all()


def test_an_upright_grid_runs_to_the_right_to_the_front_and_to_the_head():
    grid = grid_over(Box((-10, -20, -30), (10, 20, 30)), (10, 20, 30))
    assert grid.spacing_mm == pytest.approx((2, 2, 2))
    first, step = grid.matrix[:3, 3], grid.matrix[:3, :3]
    assert first == pytest.approx((9, 19, -29))  # LPS: left, behind, below
    assert step == pytest.approx(np.diag([-2, -2, 2]))


@settings(max_examples=30, deadline=None)
@given(angles)
def test_the_box_around_a_grid_is_filled_by_it(turn: tuple[float, float, float]):
    grid = turned((6, 7, 8), (1.0, 2.0, 3.0), turn)
    box = box_around(grid)
    corners = np.array(np.meshgrid(*[(-0.5, size - 0.5) for size in grid.shape], indexing="ij")).reshape(3, 8).T
    ras = to_patient(grid.matrix, corners) * (-1, -1, 1)
    assert np.allclose(ras.min(axis=0), box.low)
    assert np.allclose(ras.max(axis=0), box.high)
    assert box_around(grid_over(box, (3, 4, 5))).low == pytest.approx(box.low)


def test_a_part_keeps_its_place():
    grid = turned((6, 7, 8), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0))
    values = torch.rand(grid.shape)
    ranges = ((1, 4), (2, 7), (0, 5))
    assert torch.allclose(resample(values, grid, part(grid, ranges), outside=0.0), values[1:4, 2:7, 0:5], atol=1e-4)


def test_the_cover_of_a_part_is_that_part_and_never_leaves_the_grid():
    grid = turned((20, 30, 40), (1.0, 2.0, 3.0), (5.0, 6.0, 7.0))
    for ranges in (((3, 8), (10, 20), (0, 40)), ((0, 20), (29, 30), (17, 18))):
        for (start, stop), (low, high), size in zip(ranges, cover(grid, part(grid, ranges)), grid.shape, strict=True):
            assert 0 <= low <= start < stop <= high <= size
            assert low >= start - 2
            assert high <= stop + 2


def test_boxes_grow_by_a_share_of_each_side_and_are_cut():
    box = Box((0, 0, 0), (10, 20, 30)).grown(0.1)
    assert box == Box((-1, -2, -3), (11, 22, 33))
    assert box.within(Box((0, -5, 5), (5, 50, 50))) == Box((0, -2, 5), (5, 22, 33))


@settings(max_examples=25, deadline=None)
@given(angles, angles, steps)
def test_runs_of_voxels_give_what_torch_gives_for_each(
    one: tuple[float, float, float], other: tuple[float, float, float], step: tuple[float, float, float]
):
    one_grid, other_grid = turned((12, 14, 1), (2.0, 1.9, 1.8), one), turned((21, 7, 33), step, other)
    for source, target in ((one_grid, other_grid), (other_grid, one_grid)):
        values = torch.rand(source.shape)
        theirs = torch.empty(target.shape)
        _sample(values, source, target, -1.0, into=theirs)
        ours = resample(values, source, target, outside=-1.0)
        # On the outermost faces rounding decides.
        assert float(((ours - theirs).abs() > 1e-3).float().mean()) <= 0.002
