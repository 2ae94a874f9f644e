from __future__ import annotations

from math import pi

import numpy as np
import pytest

from node.domain.alignment import Conditions, Sampling
from node.domain.change import Verdict
from node.domain.finding import VOLUME
from node.domain.measures import AREA, DIAMETER, LONG_AXIS
from node.imaging.correspond import samplings
from node.imaging.measure.region import Region, region_of
from node.triage.ratio import ratio_of
from node.triage.voxels import is_too_small, may_be_missed, sampling_of, varies_within
from tests.imaging.heads import grid

UNIT = Conditions(slice_spacing_mm=1.0, in_plane_spacing_mm=1.0)


def ball(diameter_mm: float, steps: tuple[float, float, float], at: tuple[float, float, float]) -> Region:
    """A ball on a grid, off its middle by `at` voxels."""
    shape = tuple(2 * int(diameter_mm / 2 / step + 2) + 1 for step in steps)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1) - (np.array(shape) - 1) / 2
    mask = np.linalg.norm((index + at) * steps, axis=-1) <= diameter_mm / 2
    found = region_of(mask, grid(shape, steps))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_a_ball_on_cubes_has_the_error_of_its_fourier_series() -> None:
    radius = 6.0
    sampled = sampling_of(None, UNIT, 4 / 3 * pi * radius**3 / 1000)
    within = varies_within(VOLUME, 4 / 3 * pi * radius**3 / 1000, sampled) * 1000
    assert within == pytest.approx(1.96 * 2**0.5 * 1.29 * radius, rel=0.01)


@pytest.mark.parametrize("steps", [(1.6, 1.6, 1.6), (2.5, 0.7, 0.7)])
@pytest.mark.parametrize("diameter_mm", [5.0, 8.0, 12.0])
def test_the_same_ball_elsewhere_between_the_voxels_is_seldom_told_as_changed(
    diameter_mm: float, steps: tuple[float, float, float]
) -> None:
    random = np.random.default_rng(1)
    told = []
    for _ in range(100):
        pair = [ball(diameter_mm, steps, tuple(random.uniform(-0.5, 0.5, 3))) for _ in range(2)]
        shown = samplings(dict(enumerate(pair)))
        if any(map(is_too_small, shown.values())):
            continue
        volumes = [each.volume_ml for each in pair]
        errors = [varies_within(VOLUME, volume, shown[place]) for place, volume in enumerate(volumes)]
        told.append(ratio_of(volumes[0], volumes[1], (errors[0], errors[1])).verdict)
    assert sum(each is not Verdict.STABLE for each in told) <= 0.05 * 100


def test_the_surface_of_a_ball_is_found_on_its_voxels() -> None:
    assert ball(20.0, (1.0, 1.0, 1.0), (0.2, 0.1, 0.4)).surface_mm2 == pytest.approx(pi * 400, rel=0.03)
    assert ball(20.0, (2.5, 0.7, 0.7), (0.2, 0.1, 0.4)).surface_mm2 == pytest.approx(pi * 400, rel=0.05)


@pytest.mark.parametrize("quantity", [VOLUME, AREA, DIAMETER, LONG_AXIS])
def test_the_larger_the_smaller_is_the_share_that_voxels_leave_open(quantity: object) -> None:
    shares = []
    for diameter in (4.0, 8.0, 16.0, 32.0):
        value = {VOLUME: pi / 6000 * diameter**3, AREA: pi / 4 * diameter**2}.get(quantity, diameter)  # type: ignore[call-overload]
        sampled = sampling_of(None, UNIT, pi / 6000 * diameter**3)
        shares.append(varies_within(quantity, value, sampled) / value)  # type: ignore[arg-type]
    assert shares == sorted(shares, reverse=True)
    assert 0 < shares[-1] < 0.1


def test_thick_slices_leave_more_open_than_their_pixels() -> None:
    thick = sampling_of(None, Conditions(slice_spacing_mm=5.0, in_plane_spacing_mm=0.7), 1.0)
    fine = sampling_of(None, Conditions(slice_spacing_mm=0.7, in_plane_spacing_mm=0.7), 1.0)
    assert varies_within(VOLUME, 1.0, thick) > 10 * varies_within(VOLUME, 1.0, fine)


def test_where_nothing_is_known_of_the_voxels_nothing_is_added() -> None:
    assert sampling_of(None, Conditions(), 1.0) is None
    assert sampling_of(None, UNIT, None) is None
    assert varies_within(VOLUME, 1.0, None) == 0.0
    assert not is_too_small(None)
    assert not may_be_missed(None, UNIT)


def test_a_body_of_two_voxels_cannot_lie_between_those_of_the_same_size_but_one_of_one_can() -> None:
    def spanned(*numbers: int) -> Sampling:
        return Sampling(spacing_mm=(1.0, 1.0, 1.0), spanned=numbers, surface_mm2=1.0)  # type: ignore[arg-type]

    assert not may_be_missed(spanned(2, 2, 2), UNIT)
    assert may_be_missed(spanned(1, 4, 4), UNIT)
    assert may_be_missed(spanned(2, 4, 4), Conditions(slice_spacing_mm=1.5, in_plane_spacing_mm=1.0))
    assert is_too_small(spanned(2, 9, 9))
    assert not is_too_small(spanned(3, 3, 3))
