"""A made-up head that lies anyhow: soft, lopsided, with a skull, so that every motion of it can be seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from node.domain.geometry import Grid, to_patient

Matrix = NDArray[np.float64]
Part = tuple[tuple[float, float, float], tuple[float, float, float], float]
#: (centre, half axes, value), mm from the middle of the head: skull, brain, ventricles, eyes, a nose.
_PARTS: tuple[Part, ...] = (
    ((0, 0, 0), (70, 85, 75), 0.9),
    ((0, 0, 2), (62, 77, 67), 0.5),
    ((-8, 5, 8), (8, 25, 10), 0.15),
    ((14, 0, 6), (6, 20, 9), 0.15),
    ((-28, -68, -25), (11, 11, 11), 0.2),
    ((28, -68, -25), (11, 11, 11), 0.2),
    ((0, -88, -35), (10, 14, 16), 0.7),
    ((0, 35, -45), (40, 25, 18), 0.65),
    ((25, 20, 30), (15, 12, 18), 0.6),
)
Ball = tuple[tuple[float, float, float], float]


def grid(
    shape: tuple[int, int, int] = (45, 54, 48),
    step: tuple[float, float, float] = (4.0, 4.0, 4.0),
    centre: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Grid:
    """An axial grid around a place, LPS mm; `shape` and `step` are of (slice, row, column)."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *step, 1.0
    affine[:3, 3] = np.array(centre) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, tuple(tuple(float(each) for each in row) for row in affine))  # type: ignore[arg-type,misc]


def motion(turn_deg: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> Matrix:
    """A turn about the middle of the head, then a shift."""
    found = np.eye(4)
    found[:3, :3] = Rotation.from_rotvec(np.radians(turn_deg)).as_matrix()
    found[:3, 3] = shift_mm
    return found


def places(on: Grid, moved: Matrix | None = None) -> Matrix:
    """Where in the head as it lay at first each voxel of a grid is: (slice, row, column, 3) mm."""
    index = np.stack(np.meshgrid(*map(np.arange, on.shape), indexing="ij"), axis=-1).astype(np.float64)
    found = to_patient(on.matrix, index)
    return found if moved is None else to_patient(np.asarray(np.linalg.inv(moved), np.float64), found)


def head(
    on: Grid,
    moved: Matrix | None = None,
    *,
    balls: tuple[Ball, ...] = (),
    seed: int = 0,
    stretched: tuple[float, float, float] = (1.0, 1.0, 1.0),
    insides: tuple[Part, ...] = _PARTS[2:],
) -> NDArray[np.int16]:
    """The head on a grid after a motion, with bright balls (centre mm, diameter mm) and noise of its own.

    `stretched` along its axes, or with other `insides` in the same skull, it is somebody else's.
    """
    at = places(on, moved) / stretched
    values = np.zeros(on.shape)
    for centre, axes, value in (*_PARTS[:2], *insides):
        far = np.linalg.norm((at - centre) / axes, axis=-1)
        share = np.clip((1 - far) * min(axes) / 3.0 + 0.5, 0, 1)
        values = values * (1 - share) + value * share
    for centre, diameter in balls:
        values[np.linalg.norm(at - centre, axis=-1) <= diameter / 2] = 1.0
    noise = np.random.default_rng(seed).normal(0, 0.01, on.shape)
    return np.rint((values + noise) * 1000).astype(np.int16)


def torso(on: Grid) -> NDArray[np.int16]:
    """A body that is no head: a wide trunk with two dark lungs and a bright spine."""
    at = places(on)
    values = (np.linalg.norm(at[..., :2] / (150, 90), axis=-1) < 1) * 0.6
    for side in (-1, 1):
        values[np.linalg.norm((at - (side * 65, -10, 0)) / (45, 60, 200), axis=-1) < 1] = 0.05
    values[np.linalg.norm(at[..., :2] - (0, 60), axis=-1) < 18] = 1.0
    return np.rint((values + np.random.default_rng(3).normal(0, 0.01, on.shape)) * 1000).astype(np.int16)


def outlined(on: Grid, balls: tuple[Ball, ...], moved: Matrix | None = None) -> NDArray[np.uint8]:
    """The mask of the balls alone."""
    at, labels = places(on, moved), np.zeros(on.shape, np.uint8)
    for centre, diameter in balls:
        labels[np.linalg.norm(at - centre, axis=-1) <= diameter / 2] = 1
    return labels
