from __future__ import annotations

import numpy as np
import pytest

from node.imaging.measure.axes import Axes, axes, axes_in_plane, flat_axes
from node.imaging.measure.region import Region, region_of
from tests.imaging.measure.bodies import ellipsoid, grid, turned

SPACINGS = [(1.0, 1.0, 1.0), (2.0, 1.0, 1.0), (3.0, 0.7, 0.7), (5.0, 0.9, 1.1), (0.6, 2.0, 1.0)]


def body(spacing: tuple[float, float, float], seed: int) -> tuple[Region, np.ndarray, float]:
    """An ellipsoid of any shape and direction on an oblique grid; its semiaxes and half a voxel's diagonal, in mm."""
    rng = np.random.default_rng(seed)
    steps = turned(rng) * np.array(spacing)
    low = 1.5 * max(spacing) + 3
    semiaxes = np.sort(rng.uniform(low, 2.5 * low, 3))[::-1]
    shape = tuple(int(2 * (semiaxes[0] // each + 2)) + 1 for each in spacing)
    on = grid(shape, steps)  # type: ignore[arg-type]
    centre = steps @ rng.uniform(-0.5, 0.5, 3)
    region = region_of(ellipsoid(on, semiaxes, turned(rng), centre), on)
    assert region is not None
    return region, semiaxes, float(np.linalg.norm(spacing)) / 2


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("seed", range(12))
def test_the_axes_of_an_ellipsoid_are_true_within_half_a_voxel_diagonal(
    spacing: tuple[float, float, float], seed: int
) -> None:
    region, semiaxes, half_mm = body(spacing, seed)
    found = axes(region)
    assert found.long_mm == pytest.approx(2 * semiaxes[0], abs=half_mm)
    assert found.short_mm == pytest.approx(2 * semiaxes[1], abs=half_mm)


@pytest.mark.parametrize("seed", range(12))
def test_the_axes_in_the_plane_are_those_of_the_widest_section(seed: int) -> None:
    rng = np.random.default_rng(seed)
    steps = turned(rng) * np.array((3.0, 0.8, 0.8))
    on = grid((15, 61, 61), steps)
    semiaxes, angle = np.array([12.0, 18.0, rng.uniform(6, 15)]), rng.uniform(0, np.pi)
    within = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    directions = (steps / np.linalg.norm(steps, axis=0)) @ within
    region = region_of(ellipsoid(on, semiaxes, directions, np.zeros(3)), on)
    assert region is not None
    found = axes_in_plane(region)
    assert found.long_mm == pytest.approx(2 * 18.0, abs=0.8 / np.sqrt(2))
    assert found.short_mm == pytest.approx(2 * semiaxes[2], abs=0.8 / np.sqrt(2))


def test_axes_do_not_depend_on_how_the_slices_are_turned_or_stored() -> None:
    rng = np.random.default_rng(5)
    on = grid((20, 30, 40), np.diag((2.0, 1.0, 0.5)))
    mask = ellipsoid(on, np.array([14.0, 9.0, 6.0]), turned(rng), np.zeros(3))
    expected = axes(region_of(mask, on))  # type: ignore[arg-type]
    turn = turned(rng)
    mirrored = grid((20, 30, 40), turn @ np.diag((-2.0, 1.0, -0.5)))
    assert axes(region_of(mask[::-1, :, ::-1], mirrored)) == Axes(  # type: ignore[arg-type]
        pytest.approx(expected.long_mm), pytest.approx(expected.short_mm)
    )


def test_what_has_no_thickness_is_measured_too() -> None:
    on = grid((3, 4, 5), np.diag((3.0, 1.0, 2.0)))
    for box, long_mm, short_mm in (
        ((slice(1, 2), slice(1, 2), slice(1, 2)), 1.5, 1.5),  # a voxel: half its longest edge
        ((slice(0, 3), slice(1, 2), slice(1, 2)), 7.5, 1.0),  # a line across the slices
        ((slice(1, 2), slice(0, 4), slice(0, 5)), np.hypot(3, 8) + 0.5 * np.hypot(3 / 73**0.5, 16 / 73**0.5), None),
    ):
        mask = np.zeros(on.shape, bool)
        mask[box] = True
        found = axes(region_of(mask, on))  # type: ignore[arg-type]
        assert found.long_mm == pytest.approx(long_mm)
        assert short_mm is None or found.short_mm == pytest.approx(short_mm)


def test_pixels_that_are_not_square_are_measured_in_millimetres() -> None:
    found = flat_axes(np.argwhere(np.ones((4, 11), bool)), (2.0, 0.5))
    assert found.long_mm == pytest.approx(np.hypot(6, 5) + 0.5 * np.hypot(2 * 6 / 61**0.5, 0.5 * 5 / 61**0.5))
