from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.domain.geometry import Grid, stack, to_patient
from node.domain.study import Plane
from node.errors import Unsuitable

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def planes(
    count: int = 6,
    *,
    step_mm: float = 2.0,
    orientation: tuple[float, ...] = AXIAL,
    origin: tuple[float, ...] = (0, 0, 0),
) -> list[Plane]:
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    normal = np.cross(row, column)
    return [
        Plane(
            position=tuple(np.array(origin) + number * step_mm * normal),  # type: ignore[arg-type]
            orientation=orientation,  # type: ignore[arg-type]
            spacing=(0.5, 0.8),
        )
        for number in range(count)
    ]


angles = st.floats(-np.pi, np.pi)


@settings(max_examples=60, deadline=None)
@given(angles, angles, angles, st.permutations(range(6)), st.floats(0.3, 8.0))
def test_any_orientation_in_any_order_gives_the_grid_it_came_from(
    a: float, b: float, c: float, order: list[int], step_mm: float
) -> None:
    turn_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    turn_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    turn_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    turn = turn_z @ turn_y @ turn_x
    slices = planes(step_mm=step_mm, orientation=(*turn[:, 0], *turn[:, 1]), origin=(10.0, -20.0, 30.0))
    found, grid = stack([slices[number] for number in order], rows=4, columns=5)
    assert [order[index] for index in found] == list(range(6))
    assert grid.shape == (6, 4, 5)
    np.testing.assert_allclose(grid.spacing_mm, (step_mm, 0.5, 0.8), atol=1e-6)
    assert grid.voxel_volume_ml == pytest.approx(step_mm * 0.5 * 0.8 / 1000)
    for number, plane in enumerate(slices):
        corner = to_patient(grid.matrix, np.array([number, 0.0, 0.0]))
        np.testing.assert_allclose(corner, plane.position, atol=1e-6)
        inside = to_patient(grid.matrix, np.array([number, 2.0, 3.0]))
        expected = np.array(plane.position) + 2 * 0.5 * turn[:, 1] + 3 * 0.8 * turn[:, 0]
        np.testing.assert_allclose(inside, expected, atol=1e-6)


def test_a_gap_names_how_many_are_missing() -> None:
    slices = planes(10)
    del slices[4:6]
    with pytest.raises(Unsuitable, match=r"gap of 6\.0 mm where slices lie 2\.0 mm apart: 2 missing"):
        stack(slices, 4, 5)


def test_duplicate_positions_are_refused() -> None:
    with pytest.raises(Unsuitable, match="1 slice position"):
        stack([*planes(), planes()[2]], 4, 5)


def test_a_localizer_in_the_series_is_refused() -> None:
    sagittal = Plane(position=(50.0, 0.0, 0.0), orientation=(0, 1, 0, 0, 0, -1), spacing=(0.5, 0.8))
    with pytest.raises(Unsuitable, match="mixed orientations"):
        stack([*planes(), sagittal], 4, 5)


def test_a_tilted_gantry_is_refused() -> None:
    tilted = [
        Plane(position=(0.0, 0.5 * number, 2.0 * number), orientation=AXIAL, spacing=(0.5, 0.8)) for number in range(6)
    ]
    with pytest.raises(Unsuitable, match="gantry tilt"):
        stack(tilted, 4, 5)


def test_uneven_distances_are_refused() -> None:
    uneven = [Plane(position=(0.0, 0.0, z), orientation=AXIAL, spacing=(0.5, 0.8)) for z in (0, 2, 4.5, 6, 8, 10)]
    with pytest.raises(Unsuitable, match="vary between"):
        stack(uneven, 4, 5)


def test_slices_that_wander_in_their_plane_are_refused() -> None:
    wandering = [
        Plane(position=(3.0 * (number % 2), 0.0, 2.0 * number), orientation=AXIAL, spacing=(0.5, 0.8))
        for number in range(7)
    ]
    with pytest.raises(Unsuitable, match="one line"):
        stack(wandering, 4, 5)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"spacing": (0.5, 0.9)}, "mixed pixel spacings"),
        ({"orientation": (1.0, 0, 0, 0.5, 1.0, 0)}, "mixed orientations"),
    ],
)
def test_slices_that_differ_are_refused(change: dict[str, tuple[float, ...]], reason: str) -> None:
    slices = planes()
    odd = {"position": slices[3].position, "orientation": AXIAL, "spacing": (0.5, 0.8), **change}
    slices[3] = Plane(**odd)  # type: ignore[arg-type]
    with pytest.raises(Unsuitable, match=reason):
        stack(slices, 4, 5)


def test_directions_that_are_no_directions_are_refused() -> None:
    wrong = [Plane(position=p.position, orientation=(1, 0, 0, 1, 0, 0), spacing=p.spacing) for p in planes()]
    with pytest.raises(Unsuitable, match="orthogonal"):
        stack(wrong, 4, 5)


def test_one_slice_is_no_volume() -> None:
    with pytest.raises(Unsuitable, match="1 slice"):
        stack(planes(1), 4, 5)


def test_positions_written_with_few_digits_still_form_a_grid() -> None:
    rounded = [
        Plane(position=(0.0, 0.0, round(1.3333 * number, 2)), orientation=AXIAL, spacing=(0.5, 0.8))
        for number in range(50)
    ]
    _, grid = stack(rounded, 4, 5)
    assert isinstance(grid, Grid)
    assert grid.spacing_mm[0] == pytest.approx(1.3333, abs=1e-3)
