"""Surface elements of a mask: where its surface crosses between eight neighbouring voxels, and with how much area.

Between eight voxel centres the surface is made of the polygons through the middles of those edges that lead out of
the mask, as marching cubes has them (Lorensen and Cline 1987); where a face of the cube leaves two ways to join
them, corners inside are parted. Nikolov et al. (arXiv 1809.04430) measure surface Dice on such elements.
"""

from __future__ import annotations

from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray

Areas = NDArray[np.float64]
Corner = tuple[int, int, int]
#: Corners of a cell; the code of a cell has bit n set where the mask holds corner n.
_CORNERS: tuple[Corner, ...] = tuple((a, b, c) for a, b, c in product((0, 1), repeat=3))


def elements(mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> Areas:
    """(slice + 1, row + 1, column + 1) float64, mm²: the area of the surface in each cell between voxel centres.

    What lies beyond the array is outside the mask.
    """
    padded = np.pad(mask, 1)
    codes = np.zeros(tuple(size - 1 for size in padded.shape), np.uint8)
    for bit, corner in enumerate(_CORNERS):
        part = tuple(slice(start, start + size) for start, size in zip(corner, codes.shape, strict=True))
        codes |= padded[part].astype(np.uint8) << np.uint8(bit)
    return _areas(spacing_mm)[codes]


@cache
def _areas(spacing_mm: tuple[float, float, float]) -> Areas:
    """Area of each of the 256 cells, mm²."""
    found = np.zeros(256)
    for code in range(256):
        inside = {corner for bit, corner in enumerate(_CORNERS) if code >> bit & 1}
        if len(inside) > 4:
            inside = set(_CORNERS) - inside
        found[code] = sum(_area(np.array(loop), spacing_mm) for loop in _loops(inside))
    return found


def _loops(inside: set[Corner]) -> list[list[tuple[float, ...]]]:
    """Closed polygons through the middles of the edges that lead from inside to outside."""
    neighbours: dict[tuple[float, ...], list[tuple[float, ...]]] = {}
    for axis, side in product(range(3), (0, 1)):
        for one, other in _joined(inside, axis, side):
            neighbours.setdefault(one, []).append(other)
            neighbours.setdefault(other, []).append(one)
    loops = []
    while neighbours:
        here = next(iter(neighbours))
        loop = []
        while here in neighbours:
            loop.append(here)
            following = neighbours.pop(here)
            here = next((each for each in following if each in neighbours), loop[0])
        loops.append(loop)
    return loops


def _joined(inside: set[Corner], axis: int, side: int) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Which crossed edges of one face are joined by a line."""
    turn = ((0, 0), (0, 1), (1, 1), (1, 0))
    face = [(*flat[:axis], side, *flat[axis:]) for flat in turn]
    held = [corner in inside for corner in face]
    middles = [tuple((np.array(face[n]) + face[(n + 1) % 4]) / 2) for n in range(4)]
    crossed = [n for n in range(4) if held[n] != held[(n + 1) % 4]]
    if len(crossed) == 4:
        return [(middles[n - 1], middles[n]) for n in range(4) if held[n]]
    return [(middles[crossed[0]], middles[crossed[1]])] if crossed else []


def _area(loop: Areas, spacing_mm: tuple[float, float, float]) -> float:
    """Area of a polygon, as the fan of triangles from one of its corners that is largest in a cube of side 1."""
    fans = []
    for first in range(len(loop)):
        sides = np.roll(loop, -first, axis=0)[1:] - loop[first]
        triangles = np.cross(sides[:-1], sides[1:])
        # The normal of an area is stretched along an axis as the two other axes are.
        stretched = triangles * (np.prod(spacing_mm) / np.array(spacing_mm))
        fans.append((np.linalg.norm(triangles, axis=1).sum(), np.linalg.norm(stretched, axis=1).sum() / 2))
    return float(max(fans, key=lambda fan: round(fan[0], 9))[1])
