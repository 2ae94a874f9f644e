"""Whether an image may have text burned in: rows of strokes of one height and one brightness, as letters stand.

Finds what a machine has written; handwriting, logos and single letters it does not. No finding is no promise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: Strokes stand out of what lies within so many pixels by so much of the range.
_WINDOW, _CONTRAST = 13, 0.35
#: Of a letter, pixels.
_HEIGHT, _WIDTH, _AREA = (5, 48), (1, 64), 5
#: Letters of one line: ratio of heights, distance of centres and gap in heights, difference of brightness (0–1).
_RATIO, _OFF_LINE, _GAP, _SHADE = 1.7, 0.45, 1.1, 0.08
#: So many letters make a text, and so wide it is, in heights.
_LETTERS, _WIDE = 4, 2.0
_MOST_STROKES = 4000


@dataclass(frozen=True, slots=True)
class _Stroke:
    top: int
    left: int
    bottom: int
    right: int
    shade: float

    @property
    def height(self) -> int:
        return self.bottom - self.top


def text_boxes(image: NDArray[np.float32]) -> list[tuple[int, int, int, int]]:
    """Where text may stand: (top, left, bottom, right) in pixels, ends exclusive.

    image: (row, column), 0 to 1.
    """
    found = [box for each in (image, 1 - image) for box in _lines(each)]
    return sorted(set(found))


def _lines(image: NDArray[np.float32]) -> Iterator[tuple[int, int, int, int]]:
    strokes = _strokes(image)
    if len(strokes) < _LETTERS or len(strokes) > _MOST_STROKES:
        return
    line_of = list(range(len(strokes)))

    def root(place: int) -> int:
        while line_of[place] != place:
            line_of[place] = line_of[line_of[place]]
            place = line_of[place]
        return place

    for place, stroke in enumerate(strokes):
        for other_place in range(place + 1, len(strokes)):
            other = strokes[other_place]
            if other.left - stroke.right > _GAP * _HEIGHT[1]:
                break
            if _belong(stroke, other):
                line_of[root(place)] = root(other_place)
    for _, members in groupby(sorted(range(len(strokes)), key=root), key=root):
        line = [strokes[each] for each in members]
        box = (
            min(s.top for s in line),
            min(s.left for s in line),
            max(s.bottom for s in line),
            max(s.right for s in line),
        )
        tall = float(np.median([each.height for each in line]))
        if len(line) >= _LETTERS and box[3] - box[1] >= _WIDE * tall and box[2] - box[0] <= 2.2 * tall:
            yield box


def _strokes(image: NDArray[np.float32]) -> list[_Stroke]:
    """Connected pixels that stand out and are as large as letters, from left to right."""
    stands_out = image - ndimage.grey_opening(image, size=(_WINDOW, _WINDOW)) > _CONTRAST
    labels, _ = ndimage.label(stands_out, structure=np.ones((3, 3)))
    found = []
    for number, place in enumerate(ndimage.find_objects(labels), 1):
        rows, columns = place
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if not (_HEIGHT[0] <= height <= _HEIGHT[1] and _WIDTH[0] <= width <= _WIDTH[1]):
            continue
        inside = labels[place] == number
        if inside.sum() >= _AREA:
            shade = float(image[place][inside].max())
            found.append(_Stroke(rows.start, columns.start, rows.stop, columns.stop, shade))
    return sorted(found, key=lambda each: each.left)


def _belong(one: _Stroke, other: _Stroke) -> bool:
    """Whether two strokes may be neighbours in a line of text."""
    low, high = sorted((one.height, other.height))
    gap = other.left - one.right
    off = abs((one.top + one.bottom) - (other.top + other.bottom)) / 2
    return (
        high <= _RATIO * low
        and -1 <= gap <= _GAP * high
        and off <= _OFF_LINE * high
        and abs(one.shade - other.shade) <= _SHADE
    )
