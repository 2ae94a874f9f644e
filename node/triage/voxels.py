"""How far a size may lie off because voxels are no finer: the same body, laid on the same grid anew, is never the same.

A voxel belongs to a mask where its centre lies in the body, so a volume is a count of grid points times their volume.
The error of that count is known from its Fourier series (Kendall and Rankin, Q. J. Math. 4 (1953) 178; Matheron's
transitive theory): its variance is the sum, over the points k of the reciprocal grid other than 0, of the body's own
power there, which for a smooth convex body with the surface S is S/(8π³k⁴) in the mean and at most twice that, whatever
its size. Of a ball of radius R on cubes of the edge 1 that is a standard deviation of 1.29·R of its 4.19·R³ voxels.
Directions along the grid's own axes are counted by how many voxels the body spans there, since flat bodies lie along
them: of an ellipsoid over n slices they leave an error of 0.45/n².
"""

from __future__ import annotations

from functools import lru_cache
from itertools import product
from math import ceil, pi, prod, sqrt

from node.domain.alignment import Conditions, Sampling
from node.domain.finding import VOLUME, Code
from node.domain.measures import AREA, LONG_AXIS, SHORT_AXIS

#: Two measurements lie this many standard deviations of one apart in 95 of 100 pairs at most (QIBA).
_OF_PAIRS = 1.96 * sqrt(2)
#: Fewer voxels along any axis, and the error follows no rule. RECIST 1.1 asks for twice the slice's thickness.
LEAST_SPANNED = 3
#: Twice Σ 1/k⁴ over k = 1, 2, …: the reciprocal points of one axis (π⁴/45).
_OF_AXIS = pi**4 / 45
#: Twice the mean power: the most, at the sizes at which it peaks.
_PEAK = 2.0
#: Relative variance of an ellipsoid's volume that its n slices leave, times n⁴, in the mean (9/(2π⁴)·Σ 1/k⁴ twice).
_BY_SPAN = 9 / (2 * pi**4) * _OF_AXIS
#: Σ 1/|k|³ over the reciprocal points of a square grid (4·ζ(3/2)·β(3/2)).
_OF_PLANE = 9.0336
#: How fine the sum over the reciprocal grid is, in steps of its finest axis.
_REACH = 5.0


def sampling_of(sampled: Sampling | None, conditions: Conditions, volume_ml: float | None) -> Sampling | None:
    """How finely something is shown; where that is not known, as a ball of its volume on the images' voxels would be.

    `None` where neither is known.
    """
    steps = (conditions.slice_spacing_mm, conditions.in_plane_spacing_mm, conditions.in_plane_spacing_mm)
    if sampled is not None or not volume_ml or volume_ml <= 0 or not all(each > 0 for each in steps):
        return sampled
    radius_mm = float((3000 * volume_ml / (4 * pi)) ** (1 / 3))
    slices, rows, columns = (max(1, round(2 * radius_mm / each)) for each in steps)
    return Sampling(spacing_mm=steps, spanned=(slices, rows, columns), surface_mm2=4 * pi * radius_mm**2)


def is_too_small(sampled: Sampling | None) -> bool:
    """Whether so few voxels show it that their error follows no rule."""
    return sampled is not None and min(sampled.spanned) < LEAST_SPANNED


def may_be_missed(sampled: Sampling | None, on: Sampling | Conditions) -> bool:
    """Whether something so small could lie between the voxels of other images."""
    if sampled is None:
        return False
    steps = on.spacing_mm if isinstance(on, Sampling) else (on.slice_spacing_mm, *2 * (on.in_plane_spacing_mm,))
    least = [(number - 1) * step for number, step in zip(sampled.spanned, sampled.spacing_mm, strict=True)]
    # Of n voxels in a row the first and the last lie within it.
    return any(mine < step * (1 - 1e-6) for mine, step in zip(least, steps, strict=True))


def varies_within(quantity: Code, value: float, sampled: Sampling | None) -> float:
    """How far two measurements of one body lie apart in 95 of 100 pairs by the voxels alone, in the unit of the value.

    0 where nothing is known of the voxels, or the size is none.
    """
    if sampled is None or not value > 0:
        return 0.0
    if quantity == VOLUME:
        return _OF_PAIRS * value * sqrt(_volume_variance(value * 1000, sampled))
    step_mm, slice_mm = max(sampled.spacing_mm[1:]), sampled.spacing_mm[0]
    if quantity == AREA:
        radius_mm = sqrt(value / pi)
        # The points of a plane, and how far its middle lies from the body's.
        variance = _PEAK * _OF_PLANE / (2 * pi**2) * radius_mm * step_mm**3 + (pi * slice_mm**2) ** 2 / 180
        return _OF_PAIRS * sqrt(variance)
    if quantity in (LONG_AXIS, SHORT_AXIS):
        variance = step_mm**2 / 6 + (slice_mm**2 / value) ** 2 / 45
        return _OF_PAIRS * sqrt(variance)
    # Each end lies anywhere within its voxel.
    return _OF_PAIRS * max(sampled.spacing_mm) / sqrt(6)


def _volume_variance(volume_mm3: float, sampled: Sampling) -> float:
    """Square of the relative standard deviation."""
    steps = sampled.spacing_mm
    of_axes = _OF_AXIS * sum(each**4 for each in steps)
    ball_mm2 = float((36 * pi * volume_mm3**2) ** (1 / 3))
    share = max(sampled.surface_mm2, ball_mm2) / (8 * pi**3 * volume_mm3**2)
    # Of several bodies together the surface says more than what they span.
    along = max(share * of_axes, sum(_BY_SPAN / number**4 for number in sampled.spanned))
    return _PEAK * (share * max(0.0, _reciprocal_sum(steps) - of_axes) + along)


@lru_cache(maxsize=256)
def _reciprocal_sum(steps: tuple[float, float, float]) -> float:
    """Σ 1/|k|⁴ over the points of the reciprocal grid but 0, mm⁴; far ones as if they lay evenly."""
    far = _REACH / min(steps)
    ranges = [range(-ceil(far * each), ceil(far * each) + 1) for each in steps]
    squares = (sum((number / step) ** 2 for number, step in zip(k, steps, strict=True)) for k in product(*ranges))
    near = sum(1 / (each * each) for each in squares if 0 < each <= far**2)
    return near + 4 * pi * prod(steps) / far
