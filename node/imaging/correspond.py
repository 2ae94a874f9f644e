"""Which lesion of one mask is which of the other, once their images lie on each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from node.domain.alignment import Alignment, Knot, Pair, Sampling, Way
from node.domain.finding import Finding
from node.domain.geometry import Grid, to_patient
from node.imaging.mask import Mask, tally
from node.imaging.measure.region import Region, lesions, regions

Matrix = NDArray[np.float64]

#: How far off an alignment may be, mm: lesions that lie so close may be one, however small they are.
_LEAST_REACH_MM = 4.0
#: Of its own diameter a lesion may lie off besides, and no farther than this in all, mm.
_REACH_OF_DIAMETER = 0.5
_MOST_REACH_MM = 15.0
#: Share of the smaller of two lesions that lies in the other, from which both are told as parts of one.
_PART_OF = 0.3
#: Share of a finding that the other images must show to say that they show its place.
_SHOWN = 0.98
#: An impossible pair costs more than all possible ones.
_IMPOSSIBLE = 1e6
#: Voxels of one lesion that are looked up in the other mask.
_MOST_VOXELS = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Outlined:
    """What one reading outlined: its mask, and the findings that were measured on it."""

    mask: Mask
    grid: Grid
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the masks say, see `domain.alignment.Correspondence`."""

    pairs: tuple[Pair, ...]
    knots: tuple[Knot, ...]
    unseen_now: tuple[int, ...]
    unseen_before: tuple[int, ...]
    faint_before: dict[int, float]
    faint_now: dict[int, float]


def places_of(outlined: Outlined) -> dict[int, Region]:
    """Return the region of each finding that has one, by its place among the findings."""
    shown = regions(outlined.mask.labels, outlined.grid, tally(outlined.mask.labels))
    parts: dict[int, list[Region]] = {}
    found = {}
    for place, finding in enumerate(outlined.findings):
        number = finding.segment_number or 0
        if number not in shown:
            continue
        if not finding.lesion_number:
            found[place] = shown[number]
            continue
        if number not in parts:
            parts[number] = lesions(shown[number], 0.0)
        if finding.lesion_number <= len(parts[number]):
            found[place] = parts[number][finding.lesion_number - 1]
    return found


def cut(found: dict[int, Region]) -> tuple[int, ...]:
    """Places of the findings that reach the edge of their images."""
    return tuple(place for place, region in found.items() if region.is_cut)


def samplings(found: dict[int, Region]) -> dict[int, Sampling]:
    """How finely its voxels show each finding."""
    return {
        place: Sampling(
            spacing_mm=region.grid.spacing_mm, spanned=region.spanned, surface_mm2=round(region.surface_mm2, 3)
        )
        for place, region in found.items()
    }


def correspond(
    now: Outlined, before: Outlined, places: tuple[dict[int, Region], dict[int, Region]], alignment: Alignment
) -> Found:
    """Match the lesions one to one by overlap and distance, and say what lies where the other cannot show it.

    `places` as `places_of` returns them, of now and before.
    """
    motion = np.array(alignment.motion)
    back = np.asarray(np.linalg.inv(motion), np.float64)
    mine = [place for place in places[0] if now.findings[place].lesion_number]
    theirs = [place for place in places[1] if before.findings[place].lesion_number]
    links = _links(now, before, places, (mine, theirs), motion)
    knots = _knots(links, mine, theirs)
    tied = {place for knot in knots for place in knot.now}, {place for knot in knots for place in knot.before}
    pairs = _pairs(links, mine, theirs, tied)
    alone = [place for place in mine if place not in tied[0] and place not in {each.now for each in pairs}]
    gone = [place for place in theirs if place not in tied[1] and place not in {each.before for each in pairs}]
    return Found(
        pairs=pairs,
        knots=knots,
        unseen_now=tuple(place for place, each in places[0].items() if not _is_shown(each, before.grid, motion)),
        unseen_before=tuple(place for place, each in places[1].items() if not _is_shown(each, now.grid, back)),
        faint_before=_faint(alone, places[0], now, before, motion),
        faint_now=_faint(gone, places[1], before, now, back),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Links:
    """Of each lesion now (row) with each before (column)."""

    #: Of the voxels of both, the share that the two have in common; and of the smaller one.
    common: NDArray[np.float64]
    of_smaller: NDArray[np.float64]
    distance_mm: NDArray[np.float64]
    reach_mm: NDArray[np.float64]


def _links(
    now: Outlined,
    before: Outlined,
    places: tuple[dict[int, Region], dict[int, Region]],
    lesion_places: tuple[Sequence[int], Sequence[int]],
    motion: Matrix,
) -> _Links:
    mine, theirs = ([found[place] for place in chosen] for found, chosen in zip(places, lesion_places, strict=True))
    shape = (len(mine), len(theirs))
    common, smaller, distance, reach = (np.zeros(shape) for _ in range(4))
    for row, one in enumerate(mine):
        middle = to_patient(motion, one.centroid)
        voxels = _voxels(one)
        moved = to_patient(motion, voxels)
        for column, other in enumerate(theirs):
            same = now.findings[lesion_places[0][row]].segment_number == (
                before.findings[lesion_places[1][column]].segment_number
            )
            distance[row, column] = float(np.linalg.norm(middle - other.centroid)) if same else np.inf
            reach[row, column] = _reach_mm(one, other)
            if not same or distance[row, column] > _span_mm(one) + _span_mm(other):
                continue
            shared_ml = float(_in_region(moved, other).mean()) * one.volume_ml if len(moved) else 0.0
            shared_ml = min(shared_ml, other.volume_ml)
            common[row, column] = 2 * shared_ml / (one.volume_ml + other.volume_ml)
            smaller[row, column] = shared_ml / min(one.volume_ml, other.volume_ml)
    return _Links(common, smaller, distance, reach)


def _pairs(
    links: _Links, mine: Sequence[int], theirs: Sequence[int], tied: tuple[set[int], set[int]]
) -> tuple[Pair, ...]:
    """One to one, the most alike first over all: what overlaps, else what lies close for its size."""
    near = np.minimum(links.distance_mm / links.reach_mm, 1.0) if links.distance_mm.size else links.distance_mm
    cost = (1 - links.common) + near
    allowed = (links.common > 0) | (links.distance_mm <= links.reach_mm)
    for row, place in enumerate(mine):
        allowed[row] &= place not in tied[0]
    for column, place in enumerate(theirs):
        allowed[:, column] &= place not in tied[1]
    cost[~allowed] = _IMPOSSIBLE
    rows, columns = linear_sum_assignment(cost)
    return tuple(
        Pair(
            now=mine[row],
            before=theirs[column],
            way=Way.OVERLAP if links.common[row, column] > 0 else Way.DISTANCE,
        )
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if allowed[row, column]
    )


def _knots(links: _Links, mine: Sequence[int], theirs: Sequence[int]) -> tuple[Knot, ...]:
    """Lesions of which more than one lies in one of the other mask."""
    rows, columns = np.nonzero(links.of_smaller >= _PART_OF)
    size = len(mine) + len(theirs)
    graph = coo_array((np.ones(len(rows)), (rows, columns + len(mine))), shape=(size, size))
    count, member = connected_components(graph, directed=False) if size else (0, np.zeros(0, int))
    found = []
    for number in range(count):
        group = np.flatnonzero(member == number).tolist()
        knot = Knot(
            now=tuple(mine[each] for each in group if each < len(mine)),
            before=tuple(theirs[each - len(mine)] for each in group if each >= len(mine)),
        )
        if knot.now and knot.before and len(group) > 2:
            found.append(knot)
    return tuple(found)


def _faint(
    alone: Sequence[int], found: dict[int, Region], outlined: Outlined, other: Outlined, motion: Matrix
) -> dict[int, float]:
    """Of lesions without a partner: what the other mask has of the same segment in their place, mL, if anything."""
    counted = {place: region for place, region in places_of(other).items() if other.findings[place].lesion_number}
    known = {(other.findings[place].segment_number, region.first) for place, region in counted.items()}
    shown = regions(other.mask.labels, other.grid, tally(other.mask.labels)) if alone else {}
    volumes = {}
    for place in alone:
        number = outlined.findings[place].segment_number or 0
        if number not in shown:
            continue
        moved = to_patient(motion, _voxels(found[place]))
        middle = to_patient(motion, found[place].centroid)
        small = [each for each in lesions(shown[number], 0.0) if (number, each.first) not in known]
        there = [
            each
            for each in small
            if _in_region(moved, each).any()
            or float(np.linalg.norm(middle - each.centroid)) <= _reach_mm(found[place], each)
        ]
        if there:
            volumes[place] = sum(each.volume_ml for each in there)
    return volumes


def _is_shown(region: Region, grid: Grid, motion: Matrix) -> bool:
    """Whether the images on `grid` show the place of nearly all of a region."""
    index = _index(to_patient(motion, _voxels(region)), grid)
    within = np.all((index >= -0.5) & (index <= np.array(grid.shape) - 0.5), axis=1)
    return float(within.mean()) >= _SHOWN


def _voxels(region: Region) -> Matrix:
    """Voxel centres of a region, LPS mm; of a large one an even part of them."""
    index = np.argwhere(region.mask)
    return region.place(index[:: -(-len(index) // _MOST_VOXELS)])


def _in_region(places: Matrix, region: Region) -> NDArray[np.bool_]:
    """Which of (n, 3) LPS mm lie in a voxel of the region."""
    index = np.rint(_index(places, region.grid)).astype(int) - np.array(region.start)
    inside = np.all((index >= 0) & (index < np.array(region.mask.shape)), axis=1)
    found = np.zeros(len(places), dtype=bool)
    found[inside] = region.mask[tuple(index[inside].T)]
    return found


def _index(places: Matrix, grid: Grid) -> Matrix:
    return to_patient(np.asarray(np.linalg.inv(grid.matrix), np.float64), places)


def _diameter_mm(region: Region) -> float:
    """Of the ball of the same volume."""
    return float((6000 * region.volume_ml / pi) ** (1 / 3))


def _span_mm(region: Region) -> float:
    """Half the diagonal of its box."""
    return float(np.linalg.norm(np.array(region.mask.shape) * region.grid.spacing_mm)) / 2


def _reach_mm(one: Region, other: Region) -> float:
    """How far apart the centres of two lesions of one may lie: more for large ones."""
    smaller = min(_diameter_mm(one), _diameter_mm(other))
    return min(_MOST_REACH_MM, _LEAST_REACH_MM + _REACH_OF_DIAMETER * smaller)
