"""What a recipe leaves out comes from the data set: spacing along the patient's axes, windows, depth, values."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from node.domain.geometry import Grid
from node.domain.preparation import Values
from node.imaging.formats import built
from node.imaging.volume import Volume
from node.learn.case import Case, Pixels
from node.learn.configuring import Geometry, geometry_of, levels_of, of_volumes, windows


@dataclasses.dataclass
class Held:
    """A data set in memory."""

    grids: list[Grid]
    classes: tuple[str, ...] = ("liver",)

    @property
    def cases(self) -> tuple[Case, ...]:
        return tuple(Case(key=str(place)) for place in range(len(self.grids)))

    def read(self, case: Case) -> Pixels:
        grid = self.grids[int(case.key)]
        return Pixels(volume=Volume(np.zeros(grid.shape, np.int16), grid, ()))


def sagittal(slice_mm: float) -> Grid:
    """Slices from right to left, rows from head to feet, columns from front to back."""
    rows = ((slice_mm, 0.0, 0.0, 0.0), (0.0, 0.0, 0.5, 0.0), (0.0, -0.7, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
    return Grid((20, 256, 192), rows)


def test_spacing_and_size_are_along_the_axes_of_the_patient_however_the_slices_lie() -> None:
    held: Any = Held([sagittal(4.0), sagittal(4.0), sagittal(5.0)])
    found = geometry_of(held)
    assert found.spacing_mm == pytest.approx((4.0, 0.5, 0.7))
    assert found.size == (20, 192, 256)


@pytest.mark.parametrize(
    "geometry",
    [
        Geometry(spacing_mm=(1.0, 1.0, 1.0), size=(36, 50, 35)),
        Geometry(spacing_mm=(0.8, 0.8, 5.0), size=(400, 400, 30)),
        Geometry(spacing_mm=(1.5, 1.5, 1.5), size=(250, 250, 300)),
        Geometry(spacing_mm=(1.0, 1.0, 1.0), size=(5, 5, 5)),
    ],
    ids=str,
)
def test_windows_fit_the_budget_and_the_levels_divide_them(geometry: Geometry) -> None:
    levels = levels_of(geometry)
    found = np.array(windows(geometry, levels))
    assert (found % np.prod(np.array(levels), axis=0) == 0).all()
    assert found.prod() <= 1.6 * 96**3
    if np.prod(geometry.size) < 96**3:
        assert (found >= np.array(geometry.size)).all()


def test_coarse_slices_are_not_halved_before_the_pixels_have_become_as_coarse() -> None:
    levels = levels_of(Geometry(spacing_mm=(0.8, 0.8, 5.0), size=(400, 400, 30)))
    assert levels[:3] == [(2, 2, 1), (2, 2, 1), (2, 2, 2)]


def intensities(low: float, high: float) -> Any:
    from node.learn.dataset.sheet import Intensities

    return Intensities(
        minimum=low, percentiles={"0.5": low, "99.5": high}, maximum=high, mean=(low + high) / 2, deviation=1.0
    )


def test_hounsfield_units_are_windowed_to_the_labels_and_others_standardised() -> None:
    held: Any = Held([sagittal(4.0)])

    class Told:
        intensities = (globals()["intensities"](-1024.0, 900.0),)
        labels = (type("Label", (), {"intensities": (globals()["intensities"](-30.4, 180.2),)})(),)

    told: Any = Told()
    preparation, network = of_volumes(held, told)
    assert (preparation.values, preparation.window) == (Values.WINDOW, (-31.0, 181.0))
    assert network.arguments["out_channels"] == 2
    told.intensities = (intensities(0.0, 900.0),)
    assert of_volumes(held, told)[0].values is Values.ZSCORE
    assert sum(each.numel() for each in built(network).parameters()) > 0
