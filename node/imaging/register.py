"""Two volumes of one patient laid on each other: a rigid motion, found from coarse to fine on a CPU.

The two come from the same kind of series, so their values go up and down together: likeness is the normalised
cross-correlation, which neither a gain nor an offset changes. Compared are the same places of the current volume every
time, so the same two volumes always give the same motion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from node.domain.alignment import Alignment, Rows
from node.domain.geometry import Grid, to_patient
from node.imaging.pyramid import BODY, Level, Matrix, Points, ends, level, middle, slopes
from node.imaging.volume import Values

#: Spacing of each level, mm, and how many places are compared there.
_LEVELS = ((8.0, 3_000), (4.0, 8_000), (2.0, 20_000))
#: A turn is searched as the way of a point this far from the middle, so that all six numbers are millimetres.
_LEVER_MM = 80.0
#: Searched at first: turns about each axis, degrees, and steps along each axis, mm.
_TURNS_DEG = (-12.0, 0.0, 12.0)
_STEPS_MM = (-24.0, 0.0, 24.0)
#: Of those, how many are followed to their end.
_MOST_STARTS = 3
_TURN_STEP = 1e-3
_PULL = 0.3
#: Below this share of the body no likeness is believed.
_LEAST_SHARE = 0.25
#: From here on two volumes are taken for the same body: below, what lies where is not known.
LEAST_SIMILARITY = 0.75
LEAST_OVERLAP = 0.4
#: A patient lies otherwise the next time, but not upside down.
MOST_ROTATION_DEG = 35.0
_NOTHING = Alignment(
    motion=((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0)),
    similarity=0.0,
    overlap=0.0,
    rotation_deg=0.0,
    shift_mm=0.0,
    refused="could not be aligned: one of them shows nothing",
)


@dataclass(frozen=True, slots=True, eq=False)
class _Compared:
    """What is compared at one level: places of the current volume with their values, and the prior."""

    #: (n, 3) LPS mm, from `centre`.
    places: Points
    values: NDArray[np.float64]
    prior: Level
    centre: Points
    #: What is not compared is not held for alike: it must not pay to slide out of the other's images.
    pull: float
    #: Change of the prior's values from voxel to voxel, along each axis.
    slopes: Sequence[NDArray[np.float32]]


def register(
    current: tuple[Values, Grid],
    prior: tuple[Values, Grid],
    *,
    same_frame: bool = False,
    beat: Callable[[], None] = lambda: None,
) -> Alignment:
    """Find the motion from places of the current volume to the same places of the prior, and how good it is.

    Each volume is (slice, row, column) with the grid that it lies on. `same_frame` says that both have one Frame of
    Reference: the search then starts where they lie. `beat` is called at each level and may raise.
    """
    levels = [(level(*current, spacing), level(*prior, spacing), count) for spacing, count in _LEVELS]
    if not all((each.values > BODY).any() for each in levels[0][:2]):
        return _NOTHING
    centre = middle(levels[0][0])
    # Begun where they lie, with the middles of the bodies on each other, and with their upper ends on each other.
    starts = [np.zeros(6)] if same_frame else _starts(levels[0][0], levels[0][1])
    starts = _around(starts, same_frame)
    compared: _Compared | None = None
    for number, (now, before, count) in enumerate(levels):
        beat()
        pull = 0.0 if number else _PULL
        compared = _Compared(*_places(now, centre, count), before, centre, pull, slopes(before))
        best = sorted(starts, key=partial(_cost, compared=compared))[:_MOST_STARTS]
        starts = [min((_descend(each, compared) for each in best), key=partial(_cost, compared=compared))]
    assert compared is not None
    return _judged(starts[0], compared, levels[-1][1])


def _places(level: Level, centre: Points, count: int) -> tuple[Points, NDArray[np.float64]]:
    """The places of the body and close around it that are compared, evenly through the volume, and their values."""
    body = level.values > BODY
    around = np.zeros_like(body)
    for axis in range(3):  # one voxel beyond, where body ends: that edge says most
        moved = np.moveaxis(body, axis, 0)
        target = np.moveaxis(around, axis, 0)
        target[1:] |= moved[:-1]
        target[:-1] |= moved[1:]
    index = np.argwhere(body | around)
    # Every n-th in the order of memory would follow the rows.
    chosen = np.random.default_rng(0).permutation(len(index))[:count]
    index = index[np.sort(chosen)]
    values = level.values[tuple(index.T)].astype(np.float64)
    return to_patient(level.affine, index.astype(np.float64)) - centre, values


def _starts(now: Level, before: Level) -> list[Points]:
    """Shifts to begin with: none, the middles on each other, the upper or lower ends of the bodies on each other."""
    between = middle(before) - middle(now)
    shifts = [np.zeros(3), between]
    reaching = [ends(each) for each in (now, before)]
    for place in (0, 1):
        shift = between.copy()
        shift[2] = reaching[1][place] - reaching[0][place]
        shifts.append(shift)
    return [np.concatenate([np.zeros(3), shift]) for shift in shifts]


def _around(starts: Sequence[Points], same_frame: bool) -> list[Points]:
    """The starts, and turned and moved a little."""
    found = list(starts)
    if same_frame:
        return found
    for start in starts:
        for axis, turn in product(range(3), _TURNS_DEG):
            moved = start.copy()
            moved[axis] += np.radians(turn) * _LEVER_MM
            found.append(moved)
        for step in product(_STEPS_MM, repeat=3):
            moved = start.copy()
            moved[3:] += step
            found.append(moved)
    return found


def _descend(start: Points, compared: _Compared) -> Points:
    """Go down the slope; where that leads nowhere, stay."""
    judge = partial(_cost_and_slope, compared=compared)
    found = minimize(judge, start, method="L-BFGS-B", jac=True, options={"maxiter": 60, "ftol": 1e-6})
    best: Points = min((start, np.asarray(found.x, np.float64)), key=partial(_cost, compared=compared))
    return best


def _motion(numbers: Points, centre: Points) -> Matrix:
    """Place in the current study → place in the prior: turned about `centre`, then moved."""
    motion = np.eye(4)
    motion[:3, :3] = _turn(numbers[:3])
    motion[:3, 3] = centre + numbers[3:] - motion[:3, :3] @ centre
    return motion


def _found(numbers: Points, compared: _Compared) -> tuple[NDArray[np.bool_], NDArray[np.float64], Points]:
    """Which places the prior has, its values there, and the index of all."""
    places = compared.places @ _turn(numbers[:3]).T + compared.centre + numbers[3:]
    index = to_patient(_inverse(compared.prior.affine), places)
    sizes = np.array(compared.prior.values.shape)
    inside: NDArray[np.bool_] = np.all((index >= -0.5) & (index <= sizes - 0.5), axis=1)
    return inside, _sampled(compared.prior.values, index[inside]), index


def _sampled(values: NDArray[np.float32], index: Points) -> NDArray[np.float64]:
    found: NDArray[np.float64] = map_coordinates(values, index.T, order=1, mode="nearest", output=np.float64)
    return found


def _inverse(matrix: Matrix) -> Matrix:
    return np.asarray(np.linalg.inv(matrix), np.float64)


def _turn(numbers: Points) -> Matrix:
    return np.asarray(Rotation.from_rotvec(numbers / _LEVER_MM).as_matrix(), np.float64)


def _cost(numbers: Points, compared: _Compared) -> float:
    """Less is more alike: minus the correlation, and more where little of the body is compared."""
    inside, values, _ = _found(numbers, compared)
    share = float(inside.mean()) if len(inside) else 0.0
    if share < _LEAST_SHARE:
        return 2.0 - share
    return -_correlation(compared.values[inside], values) + compared.pull * (1 - share)


def _cost_and_slope(numbers: Points, compared: _Compared) -> tuple[float, Points]:
    """The cost, and how it changes with each number while the same places are compared."""
    inside, values, index = _found(numbers, compared)
    share = float(inside.mean()) if len(inside) else 0.0
    if share < _LEAST_SHARE:
        return 2.0 - share, np.zeros(6)
    one = compared.values[inside] - compared.values[inside].mean()
    other = values - values.mean()
    sizes = float(np.sqrt((one @ one) * (other @ other)))
    if sizes <= 0:
        return compared.pull * (1 - share), np.zeros(6)
    alike = float(one @ other) / sizes
    by_value = one / sizes - alike * other / float(other @ other)
    by_index = np.stack([_sampled(each, index[inside]) for each in compared.slopes], axis=1)
    by_place = (by_index * by_value[:, None]) @ np.linalg.inv(compared.prior.affine)[:3, :3]
    slope = np.empty(6)
    slope[3:] = by_place.sum(axis=0)
    for axis in range(3):
        step = np.zeros(3)
        step[axis] = _TURN_STEP
        turned = _turn(numbers[:3] + step) - _turn(numbers[:3] - step)
        slope[axis] = float((by_place * (compared.places[inside] @ turned.T)).sum()) / (2 * _TURN_STEP)
    return compared.pull * (1 - share) - alike, -slope


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    one, other = one - one.mean(), other - other.mean()
    size = float(np.sqrt((one @ one) * (other @ other)))
    return float(one @ other) / size if size > 0 else 0.0


def _judged(numbers: Points, compared: _Compared, before: Level) -> Alignment:
    inside, values, _ = _found(numbers, compared)
    share = float(inside.mean()) if len(inside) else 0.0
    similarity = _correlation(compared.values[inside], values) if share >= _LEAST_SHARE else 0.0
    overlap = max(share, _share_of_prior(numbers, compared, before))
    rotation = float(np.degrees(np.linalg.norm(numbers[:3]) / _LEVER_MM))
    refused = ""
    if overlap < LEAST_OVERLAP:
        refused = f"could not be aligned: they share {overlap:.0%} of what they show"
    elif similarity < LEAST_SIMILARITY:
        refused = f"could not be aligned: their likeness is {similarity:.2f}, and {LEAST_SIMILARITY:g} is the least"
    elif rotation > MOST_ROTATION_DEG:
        refused = f"could not be aligned: one is turned by {rotation:.0f} degrees"
    return Alignment(
        motion=_rows(_motion(numbers, compared.centre)),
        similarity=similarity,
        overlap=overlap,
        rotation_deg=rotation,
        shift_mm=float(np.linalg.norm(numbers[3:])),
        refused=refused,
    )


def _share_of_prior(numbers: Points, compared: _Compared, before: Level) -> float:
    """Share of the prior's body that lies within the box of what the current volume shows of it."""
    index = np.argwhere(before.values > BODY)
    if not len(index):
        return 0.0
    index = index[:: max(1, len(index) // 20_000)]
    back = _inverse(_motion(numbers, compared.centre))
    places = to_patient(back, to_patient(before.affine, index.astype(np.float64))) - compared.centre
    low, high = compared.places.min(axis=0), compared.places.max(axis=0)
    return float(((places >= low - 1) & (places <= high + 1)).all(axis=1).mean())


def _rows(matrix: Matrix) -> Rows:
    return tuple((float(row[0]), float(row[1]), float(row[2]), float(row[3])) for row in matrix)
