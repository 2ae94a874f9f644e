"""Noise with bright squares, and where they are."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.learn.synthetic import write_picture

#: (x_min, y_min, x_max, y_max) of a square.
Corners = tuple[int, int, int, int]


def squares(seed: int, size: tuple[int, int] = (64, 64), count: int = 2) -> tuple[NDArray[np.uint8], list[Corners]]:
    """A (row, column) picture with up to `count` squares of 12 to 18 pixels that do not touch."""
    random = np.random.default_rng([17, seed])
    image = random.normal(70, 12, size)
    found: list[Corners] = []
    for _ in range(20 * count):
        side = int(random.integers(12, 19))
        top, left = (int(random.integers(1, long - side - 1)) for long in size)
        apart = all(
            left > right + 2 or left + side + 2 < low or top > bottom + 2 or top + side + 2 < high
            for low, high, right, bottom in found
        )
        if apart and len(found) < count:
            image[top : top + side, left : left + side] += 110
            found.append((left, top, left + side, top + side))
    return np.clip(image, 0, 255).astype(np.uint8), found


def box_table(root: Path, count: int = 24, *, empty: int = 2) -> Path:
    """`root/boxes.csv` and `root/images/`; the last `empty` images have no square."""
    rows = []
    for place in range(count):
        image, found = squares(place, count=0 if place >= count - empty else 1 + place % 2)
        name = f"images/{place:02}.png"
        write_picture(root / name, image)
        for left, top, right, bottom in found:
            rows.append([name, left, top, right, bottom, "square"])
        if not found:
            rows.append([name, "", "", "", "", ""])
    file = root / "boxes.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "x_min", "y_min", "x_max", "y_max", "label"])
        writer.writerows(rows)
    return file
