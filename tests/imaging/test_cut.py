from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from node.domain.geometry import Grid, to_patient
from node.imaging import cut
from node.imaging.cut import above
from node.imaging.resample import resample
from tests.imaging.test_resample import turned

THRESHOLD = 0.5


def balls(grid: Grid, centres: list[tuple[float, float, float]], radius_mm: float) -> torch.Tensor:
    """1 in balls, 0 far from them, and a soft edge between."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1).astype(np.float64)
    places = to_patient(grid.matrix, index)
    field = np.zeros(grid.shape)
    for centre in centres:
        distance = np.linalg.norm(places - centre, axis=-1)
        field = np.maximum(field, np.clip((radius_mm - distance) / 3 + 0.5, 0, 1))
    return torch.from_numpy(field).float()


def agrees(values: torch.Tensor, source: Grid, target: Grid) -> np.ndarray:
    """Return the mask, which is what the interpolated values say wherever rounding does not decide."""
    expected = resample(values, source, target, outside=0.0).numpy()
    found = above(values, source, target, THRESHOLD)
    assert found.shape == target.shape
    assert found.dtype == np.bool_
    assert found.flags.c_contiguous
    clear = np.abs(expected - THRESHOLD) > 1e-3
    assert (found == (expected > THRESHOLD))[clear].all()
    return found


angles = st.tuples(*[st.floats(-180, 180)] * 3)
steps = st.tuples(*[st.floats(0.6, 3.0)] * 3)
places = st.lists(st.tuples(*[st.floats(-22, 22)] * 3), min_size=0, max_size=3)


@settings(max_examples=40, deadline=None)
@given(angles, angles, steps, places, st.floats(1, 25))
def test_the_mask_is_what_interpolated_values_say_however_the_grids_lie(
    one: tuple[float, float, float],
    other: tuple[float, float, float],
    step: tuple[float, float, float],
    centres: list[tuple[float, float, float]],
    radius_mm: float,
):
    source, target = turned((23, 26, 29), (1.9, 1.7, 1.5), one), turned((31, 27, 22), step, other)
    agrees(balls(source, centres, radius_mm), source, target)


def test_single_voxels_are_not_lost_between_blocks():
    source, target = (
        turned((20, 20, 20), (2.0, 2.0, 2.0), (5.0, 6.0, 7.0)),
        turned((41, 42, 43), (1.0,) * 3, (0.0,) * 3),
    )
    values = (torch.rand(source.shape, generator=torch.Generator().manual_seed(1)) > 0.97).float()
    assert agrees(values, source, target).any()


def test_what_lies_beyond_a_field_that_is_above_everywhere_is_not_above():
    source, target = (
        turned((9, 10, 11), (2.0, 2.0, 2.0), (10.0, 20.0, 30.0)),
        turned((40, 40, 40), (1.0,) * 3, (0.0,) * 3),
    )
    mask = agrees(torch.ones(source.shape), source, target)
    assert mask.any()
    assert not mask.all()


def test_only_the_blocks_at_the_surface_are_interpolated(monkeypatch: pytest.MonkeyPatch):
    grid, target = turned((64, 64, 64), (1.0,) * 3, (5.0, 6.0, 7.0)), turned((96, 96, 96), (0.6,) * 3, (0.0,) * 3)
    voxels = 0

    def counted(values: torch.Tensor, *rest: object) -> torch.Tensor:
        nonlocal voxels
        found = interpolated(values, *rest)
        voxels += found.numel()
        return found

    interpolated = cut._interpolated
    monkeypatch.setattr(cut, "_interpolated", counted)
    mask = agrees(balls(grid, [(0.0, 0.0, 0.0)], 20.0), grid, target)
    assert 0 < voxels < mask.size / 2
    assert mask[48, 48, 48]
