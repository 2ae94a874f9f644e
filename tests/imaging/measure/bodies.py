"""Ellipsoids on grids of any direction, and cards that ask for numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from node.domain.finding import Code, Segment
from node.domain.geometry import Grid
from node.domain.measures import Lesions, Measure, Quantity, Repeatability, Sided
from node.domain.model_card import ModelCard
from tests.fakes import card
from tests.imaging.series import grid_of

LUNG = Code("39607008", "SCT", "Lung")
NODULE = Code("27925004", "SCT", "Nodule")


def turned(rng: np.random.Generator) -> NDArray[np.float64]:
    """Any three perpendicular directions, as columns, right-handed."""
    found, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return found * np.sign(np.linalg.det(found))


def grid(shape: tuple[int, int, int], steps: NDArray[np.float64]) -> Grid:
    """A grid with these steps (columns: slice, row, column), its middle at the origin."""
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = -steps @ (np.array(shape) - 1) / 2
    return grid_of(shape, affine)


def ellipsoid(
    on: Grid, semiaxes_mm: NDArray[np.float64], directions: NDArray[np.float64], centre_mm: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Voxels whose centres lie in an ellipsoid; `directions` has its axes as columns."""
    index = np.indices(on.shape).reshape(3, -1)
    places = on.matrix[:3, :3] @ index + on.matrix[:3, 3:] - centre_mm[:, None]
    inside = (((directions.T @ places) / semiaxes_mm[:, None]) ** 2).sum(axis=0) <= 1
    return inside.reshape(on.shape)


def asking(*measures: Measure, lesions: tuple[Lesions, ...] = (), sides: tuple[Sided, ...] = ()) -> ModelCard:
    """A card with lung (1) and nodule (2) that asks for these numbers and no volume of its own accord."""
    made = card()
    lung = Segment(number=1, label="Lung", category=made.segments[0].category, type=LUNG)
    nodule = Segment(number=2, label="Nodule", category=made.segments[0].category, type=NODULE, site=LUNG)
    return replace(made, segments=(lung, nodule), volumes=(), measures=measures, lesions=lesions, sides=sides)


def of(quantity: Quantity, segment_number: int = 1, **more: object) -> Measure:
    """One measure."""
    return Measure(quantity=quantity, segment_number=segment_number, **more)  # type: ignore[arg-type]


WITHIN = Repeatability(absolute=2.0)
