from __future__ import annotations

import numpy as np
import pytest
import torch

from node.errors import Unsuitable
from node.imaging.bundle.plan import (
    CropForeground,
    NotUnderstood,
    Orient,
    Pad,
    Plan,
    Respace,
    Scale,
    Standardise,
    Step,
    Stretch,
)
from node.imaging.preparation import Prepared, prepare
from node.imaging.resample import resample
from node.imaging.volume import Volume
from tests.imaging.series import grid_of
from tests.imaging.transforms import LPS, before, loaded, volume

WINDOW = Scale(low=-157, high=264, to_low=0, to_high=1, clip=True)
TURNS = [(0.0, 0.0, 0.0), (10.0, 20.0, 30.0), (170.0, 5.0, -60.0), (-100.0, 80.0, 33.0)]
GRIDS = [((2.9, 0.83, 0.71), (0, 1, 2)), ((-2.0, 0.9, -0.6), (0, 1, 2)), ((0.8, 3.1, 0.7), (2, 0, 1))]


def same(given: list[Volume], steps: tuple[Step, ...]) -> Prepared:
    """Prepare, and hold the tensor and its affine against those of MONAI's transforms."""
    prepared = prepare(given, Plan(steps=steps))
    theirs = before(steps)({"image": loaded(given)})["image"]
    assert prepared.tensor.shape == (1, *theirs.shape)
    assert prepared.network_grid.shape == tuple(theirs.shape[1:])
    assert np.allclose(LPS @ prepared.network_grid.matrix, theirs.affine.numpy(), atol=1e-9)
    scale = float(theirs.abs().max())
    assert float((prepared.tensor[0] - theirs.as_tensor()).abs().max()) <= 1e-5 * scale
    return prepared


@pytest.mark.parametrize("angles", TURNS)
@pytest.mark.parametrize(("step_mm", "axes"), GRIDS)
@pytest.mark.parametrize("spacing_mm", [(1.5, 1.5, 2.0), (0.5, 0.9, 3.0), (0.7, -1.0, 0.71)])
def test_any_grid_is_sampled_where_monai_samples_it(
    angles: tuple[float, float, float],
    step_mm: tuple[float, float, float],
    axes: tuple[int, int, int],
    spacing_mm: tuple[float, float, float],
):
    given = volume(step_mm=step_mm, angles=angles, axes=axes)
    same([given], (Orient(axes="RAS"), Respace(spacing_mm=spacing_mm)))
    same([given], (Respace(spacing_mm=spacing_mm, border=False), Orient(axes="PLI")))


@pytest.mark.parametrize(
    "steps",
    [
        (),
        (Orient(axes="LPS"),),
        (Orient(axes="RAS"), Respace(spacing_mm=(1.4, 1.3, 2.1)), WINDOW),
        (WINDOW, Orient(axes="RAS"), Respace(spacing_mm=(1.4, 1.3, 2.1))),
        (Standardise(nonzero=True), Stretch(to_low=-1.0, to_high=1.0), Respace(spacing_mm=(1.4, 1.3, 2.1))),
        (Respace(spacing_mm=(1.4, 1.3, 2.1)), Standardise(), Stretch(channel_wise=True)),
        (Stretch(), Standardise(nonzero=True, channel_wise=True)),
        (Respace(spacing_mm=(1.4, 1.3, 2.1), nearest=True), WINDOW),
        (Orient(axes="RAS"), Respace(spacing_mm=(1.4, 1.3, 2.1)), WINDOW, CropForeground(margin=2)),
        (Respace(spacing_mm=(1.4, 1.3, 2.1)), WINDOW, CropForeground(), Orient(axes="RAS"), Pad(size=(40, -1, 9))),
        (Pad(size=(40, 7, 40), both_sides=False, value=-5.0), Stretch()),
    ],
)
def test_steps_give_what_the_transforms_give_in_that_order(steps: tuple[Step, ...]):
    made = volume(seed=3)
    array = made.array.copy()
    # A border of air for the crop, and zeros for what passes over them.
    array[:3], array[:, :, -8:], array[6:8] = -900, -900, 0
    other = np.roll(array, 5, axis=1) // 2 + 40
    same([Volume(array, made.grid, ()), Volume(other, made.grid, ())], steps)


def test_floating_point_volumes_are_left_as_they_were():
    given = volume(dtype=np.float32)
    copy = given.array.copy()
    same([given], (Standardise(), Respace(spacing_mm=(1.0, 1.0, 1.0)), WINDOW))
    same([given], (Stretch(),))
    assert np.array_equal(given.array, copy)


def test_a_second_volume_on_another_grid_is_brought_to_the_first_one():
    first, second = volume(), volume((20, 25, 26), (2.0, 0.9, 0.8), (3.0, 0.0, 5.0), seed=9)
    laid = resample(
        torch.from_numpy(second.array.astype(np.float32)), second.grid, first.grid, outside=float(second.array.min())
    )
    prepared = prepare([first, second], Plan(steps=(Orient(axes="RAS"),)))
    alone = prepare([Volume(laid.numpy(), first.grid, ())], Plan(steps=(Orient(axes="RAS"),)))
    assert torch.equal(prepared.tensor[0, 1], alone.tensor[0, 0])


def test_slices_that_are_shifted_against_each_other_have_no_plan():
    affine = volume().grid.matrix
    affine[:3, 0] += 0.1 * affine[:3, 1]
    askew = Volume(volume().array, grid_of((14, 29, 23), affine), ())
    with pytest.raises(NotUnderstood, match="shifted against each other"):
        prepare([askew], Plan(steps=(Respace(spacing_mm=(1.0, 1.0, 1.0)),)))


@pytest.mark.parametrize(("step_mm", "is_chance"), [(1.0, True), (2.25, True), (0.7031, False), (1.5, False)])
def test_where_rounding_alone_tells_zeros_they_are_not_told_apart(step_mm: float, is_chance: bool):
    given = volume(step_mm=(step_mm, step_mm, step_mm))
    steps = (Respace(spacing_mm=(1.5, 1.5, 1.5)), Standardise(nonzero=True))
    if not is_chance:
        same([given], steps)
        return
    for between in ((), (WINDOW,)):
        with pytest.raises(NotUnderstood, match="zero is chance"):
            prepare([given], Plan(steps=(steps[0], *between, steps[1])))
    same([given], (steps[0], Standardise()))
    same([given], (steps[1], steps[0]))


def test_a_volume_without_foreground_or_with_values_that_are_no_numbers_is_unsuitable():
    blank = Volume(np.full((14, 29, 23), -1000, dtype=np.int16), volume().grid, ())
    with pytest.raises(Unsuitable, match="foreground"):
        prepare([blank], Plan(steps=(CropForeground(),)))
    broken = volume(dtype=np.float32).array.copy()
    broken[3, 4, 5] = np.nan
    with pytest.raises(Unsuitable, match="not numbers"):
        prepare([Volume(broken, volume().grid, ())], Plan())
