"""How much a lesion has to grow before it is told, and how often one that did not is told as changed.

    python -m benchmarks.change_voxels [--pairs N] [--write]

Simulated lesions are drawn twice, each time elsewhere between the voxels and turned a little: voxels whose centres lie
within; the model's own error is drawn besides, as its card gives it, so that both act at once. Measured and
compared is what the node measures and compares. Exits 1 where more unchanged lesions than 5 in 100 are told as changed,
beyond what so many pairs leave open.
"""

from __future__ import annotations

import argparse
import sys
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import exp, lgamma, log, sqrt
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from node.domain.alignment import Alignment, Correspondence, Pair, Way
from node.domain.change import Change, Verdict
from node.domain.finding import MILLILITRE, MILLIMETRE, VOLUME, Code, Finding, Measurement
from node.domain.geometry import Grid
from node.domain.measures import AREA, DIAMETER, LONG_AXIS, SQUARE_MILLIMETRE
from node.imaging.correspond import samplings
from node.imaging.measure.axes import axes, axes_in_plane
from node.imaging.measure.region import Region, region_of
from node.triage.change import changes
from node.triage.change_sizes import Read

_RESULT = Path(__file__).with_name("results") / "change_voxels.md"
_PERCENT = 15.0
_MOST = 0.05
#: Growth is called detectable where this share of the lesions is told as grown.
_TOLD = 0.9
_GROWTHS = (1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.6, 1.8, 2.0, 2.5, 3.0)
_STEPS = ((1.0, 1.0, 1.0), (1.6, 1.6, 1.6), (2.5, 0.7, 0.7), (5.0, 0.7, 0.7))
_DIAMETERS = (3.0, 4.0, 5.0, 6.0, 8.0, 12.0, 20.0)
_STILL = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))
_ALIGNMENT = Alignment(motion=_STILL, similarity=1.0, overlap=1.0, rotation_deg=0.0, shift_mm=0.0)
_NODULE = Code("27925004", "SCT", "Nodule")
#: Name, and half axes over the radius of the ball of the same volume.
_SHAPES = {"ball": (1.0, 1.0, 1.0), "egg 3:2:2": (1.31, 0.873, 0.873), "disc 2:2:1": (1.26, 1.26, 0.63)}
#: Quantity → how it is measured, its unit, and the power of it that the volume goes with.
_QUANTITIES: dict[Code, tuple[Callable[[Region], float], Code, float]] = {
    VOLUME: (lambda region: region.volume_ml, MILLILITRE, 1.0),
    DIAMETER: (lambda region: axes(region).long_mm, MILLIMETRE, 3.0),
    LONG_AXIS: (lambda region: axes_in_plane(region).long_mm, MILLIMETRE, 3.0),
    AREA: (
        lambda region: float(region.by_slice.max()) * region.grid.spacing_mm[1] * region.grid.spacing_mm[2],
        SQUARE_MILLIMETRE,
        1.5,
    ),
}


@dataclass(frozen=True, slots=True)
class _Lesion:
    half_axes_mm: tuple[float, ...]
    steps_mm: tuple[float, float, float]


def _drawn(random: np.random.Generator, lesion: _Lesion, turned: Rotation) -> Region | None:
    """The voxels whose centres lie within it, somewhere on the grid."""
    half = np.array(lesion.half_axes_mm)
    steps = np.array(lesion.steps_mm)
    counts = [int(half.max() / step) + 2 for step in steps]
    index = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in counts), indexing="ij"), axis=-1)
    places = (index + random.uniform(-0.5, 0.5, 3)) * steps @ turned.as_matrix().T
    mask = ((places / half) ** 2).sum(axis=-1) <= 1
    affine = np.diag([*steps, 1.0])
    return region_of(mask, Grid(mask.shape, tuple(map(tuple, affine.tolist()))))


def _read(day: str, region: Region, quantity: Code, factor: float) -> Read:
    measure, unit, _ = _QUANTITIES[quantity]
    value = measure(region) * factor
    size = Measurement(quantity=quantity, value=value, unit=unit, repeats_within=value * _PERCENT / 100)
    found = Finding(code=_NODULE, segment_number=1, lesion_number=1, present=True, measurements=(size,))
    return Read(study_instance_uid=day, study_date=day, model="m", model_digest="m", card_digest="c", findings=(found,))


def _pair(
    random: np.random.Generator, lesion: _Lesion, quantity: Code, growth: float, *, errs: bool, plain: bool = False
) -> Change | None:
    """One lesion in two studies; `None` where one of them does not show it. `plain`: the voxels count nothing."""
    turned = Rotation.random(random_state=int(random.integers(1 << 31)))
    again = Rotation.from_rotvec(np.radians(random.uniform(-8, 8, 3))) * turned
    larger = replace(lesion, half_axes_mm=tuple(each * growth ** (1 / 3) for each in lesion.half_axes_mm))
    then, now = _drawn(random, lesion, turned), _drawn(random, larger, again)
    if now is None or then is None:
        return None
    deviation = _PERCENT / 100 / (1.96 * sqrt(2)) if errs else 0.0
    factors = np.exp(random.normal(0.0, deviation, 2)).tolist()
    found = Correspondence(
        alignment=_ALIGNMENT,
        pairs=(Pair(now=0, before=0, way=Way.OVERLAP),),
        sampled_now={} if plain else samplings({0: now}),
        sampled_before={} if plain else samplings({0: then}),
    )
    sides = _read("20260101", now, quantity, factors[0]), _read("20251002", then, quantity, factors[1])
    return changes(*sides, found)[0]


def _shares(
    lesion: _Lesion, quantity: Code, growth: float, count: int, *, errs: bool, plain: bool = False
) -> tuple[float, float, float]:
    """Shares of the pairs that are told as changed, as grown, and as not comparable."""
    random = np.random.default_rng([zlib.crc32(f"{lesion} {quantity} {growth} {errs}".encode())])
    made = [_pair(random, lesion, quantity, growth, errs=errs, plain=plain) for _ in range(count)]
    told = [Verdict.NOT_COMPARABLE if each is None else each.verdict for each in made]
    grown = sum(each is Verdict.GROWN for each in told)
    changed = grown + sum(each is Verdict.SHRUNK for each in told)
    return changed / count, grown / count, sum(each is Verdict.NOT_COMPARABLE for each in told) / count


def _chance(least: int, count: int, share: float) -> float:
    """How likely at least `least` of `count` are, each with this probability."""

    def one(number: int) -> float:
        choices = lgamma(count + 1) - lgamma(number + 1) - lgamma(count - number + 1)
        return exp(choices + number * log(share) + (count - number) * log(1 - share))

    return sum(map(one, range(least, count + 1)))


def _detectable(lesion: _Lesion, quantity: Code, count: int) -> str:
    """The least of some growths that is told often enough."""

    def is_told(growth: float) -> bool:
        return _shares(lesion, quantity, growth, count, errs=True)[1] >= _TOLD

    place = bisect_left(_GROWTHS, True, key=is_told)
    return f"above {_GROWTHS[-1] - 1:+.0%}" if place == len(_GROWTHS) else f"{_GROWTHS[place] - 1:+.0%}"


def _cells() -> Iterator[tuple[Code, str, _Lesion, float]]:
    """Quantity, shape, lesion and the diameter of the ball of its volume."""
    for quantity in _QUANTITIES:
        for steps in _STEPS if quantity == VOLUME else _STEPS[1:]:
            for shape, ratios in _SHAPES.items() if quantity == VOLUME else [("ball", _SHAPES["ball"])]:
                for diameter in _DIAMETERS if (quantity, shape) == (VOLUME, "ball") else _DIAMETERS[2::2]:
                    yield quantity, shape, _Lesion(tuple(diameter / 2 * each for each in ratios), steps), diameter


def _rows(count: int) -> tuple[list[str], bool]:
    """The table, and whether it keeps the bound."""
    rows, holds = [], True
    for quantity, shape, lesion, diameter in _cells():
        plain = _shares(lesion, quantity, 1.0, count, errs=True, plain=True)[0]
        still = _shares(lesion, quantity, 1.0, count, errs=False)[0]
        changed, _, refused = _shares(lesion, quantity, 1.0, count, errs=True)
        # One line of a hundred may break a bound of one in a hundred by chance alone.
        holds = holds and _chance(round(changed * count), count, _MOST) > 1e-4
        least = "–" if refused > 0.5 else _detectable(lesion, quantity, max(50, count // 4))
        voxels = " × ".join(f"{each:g}" for each in lesion.steps_mm)
        rows.append(
            f"| {quantity.meaning} | {voxels} | {shape} | {diameter:g} | {plain:.1%} | {still:.1%} |"
            f" {changed:.1%} | {refused:.0%} | {least} |"
        )
        print(rows[-1], flush=True)
    return rows, holds


def main() -> int:
    """Measure, print, and with --write keep the table; 1 where the bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--write", action="store_true", help="Keep the table")
    wanted = parser.parse_args()
    head = [
        "# Change of small lesions",
        "",
        f"`python -m benchmarks.change_voxels --pairs {wanted.pairs} --write`: simulated lesions, drawn twice; the",
        f"model repeats within {_PERCENT:g} % of each size. *Diameter* is that of the ball of the same volume.",
        "*Before*: unchanged lesions told as changed if the voxels count nothing. *Voxels*: as it is, where the model",
        "errs in nothing but its voxels. *Changed*: with its own error, too: 5 % is what a 95 % interval means.",
        f"*Growth told*: the least growth of the volume of which {_TOLD:.0%} are told.",
        "",
        "| quantity | voxels, mm | shape | diameter, mm | before | voxels | changed | not comparable | growth told |",
        "|---|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    print("\n".join(head))
    rows, holds = _rows(wanted.pairs)
    if wanted.write:
        _RESULT.write_text("\n".join([*head, *rows, ""]))
    print("the bound holds" if holds else "the bound is broken")
    return int(not holds)


if __name__ == "__main__":
    sys.exit(main())
