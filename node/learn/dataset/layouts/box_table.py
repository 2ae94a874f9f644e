"""A CSV file that names an image and a box in each row; an image without boxes has a row without numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn.case import Box, Case, Pixels
from node.learn.dataset.layouts.class_folders import PARTS
from node.learn.dataset.opened import Opened, Wanted
from node.learn.dataset.pixels import is_picture, is_volume, read_nifti, read_picture
from node.learn.dataset.problems import Problem
from node.learn.dataset.tables import ATTRIBUTES, BOX, has_columns, read_rows

DESCRIPTION = "a CSV file with the columns image, x_min, y_min, x_max, y_max (of volumes z_min, z_max too) and label"
_NEEDED = ("image", *BOX)
#: Axes in the order of an array, the last one first in a row of the table.
_AXES = ("z", "y", "x")
#: Of boxes that are not named.
_ONE_CLASS = "object"


@dataclass(frozen=True, slots=True)
class _Files:
    """Key → boxes."""

    root: Path
    boxes: Mapping[str, tuple[Box, ...]]

    def read(self, case: Case) -> Pixels:
        file, boxes = self.root / case.key, self.boxes[case.key]
        if is_volume(file):
            volume = read_nifti(file)
            return Pixels(volume=volume, boxes=_fitting(boxes, volume.grid.shape, file))
        image = read_picture(file)
        return Pixels(image=image, boxes=_fitting(boxes, image.shape[:2], file))


def recognises(path: Path) -> str:
    """Why it fits: it is such a file, or a folder with one."""
    found = _tables(path)
    return f"{found[0].name} names images and boxes" if found else ""


def open_at(path: Path, wanted: Wanted) -> Opened:
    """List the images whose rows can be read. Numbers are in index units: 0 is the outer edge of the first pixel.

    Raises:
        Misconfigured: there are several tables, or a column is missing or found twice.
    """
    if wanted.task not in (None, Task.DETECTION):
        raise Misconfigured(path, "", f"boxes cannot train a {wanted.task}", "Ask for detection")
    tables = _tables(path)
    if len(tables) > 1:
        raise Misconfigured(path, "", f"several tables name boxes: {', '.join(map(str, tables))}", "Name one of them")
    columns, rows = read_rows(tables[0], _NEEDED)
    root = tables[0].parent
    said = [{purpose: row[column].strip() for purpose, column in columns.items()} for row in rows]
    named = {row.get("label") or _ONE_CLASS for row in said if any(row[each] for each in BOX)}
    classes = wanted.classes or tuple(sorted(named))
    listing = _Listing(root, classes)
    for number, row in enumerate(said, 2):
        listing.take(f"line {number} ({row['image'] or 'no image'})", row)
    return Opened(
        name=tables[0].stem if path.is_file() else path.name,
        task=Task.DETECTION,
        classes=classes,
        cases=tuple(listing.cases[key] for key in sorted(listing.cases)),
        source=path,
        reader=_Files(root, {key: tuple(boxes) for key, boxes in listing.boxes.items()}),
        layout="box-table",
        problems=tuple(listing.problems()),
    )


class _Listing:
    """The cases while rows are taken, and the rows that are none."""

    def __init__(self, root: Path, classes: tuple[str, ...]) -> None:
        self._root, self._classes = root, classes
        self.cases: dict[str, Case] = {}
        self.boxes: dict[str, list[Box]] = {}
        self._gone: list[str] = []
        self._odd: list[str] = []
        self._unknown: list[str] = []

    def take(self, where: str, row: Mapping[str, str]) -> None:
        """Take one row."""
        key = row["image"].replace("\\", "/")
        file = self._root / key
        inside = bool(key) and not Path(key).is_absolute() and ".." not in Path(key).parts
        if not (inside and file.is_file() and (is_picture(file) or is_volume(file))):
            self._gone.append(where)
            return
        axes = _AXES if is_volume(file) else _AXES[1:]
        ends = [row.get(f"{axis}_{end}", "") for axis in axes for end in ("min", "max")]
        edges = _edges(ends)
        label = row.get("label") or _ONE_CLASS
        if edges is None:
            self._odd.append(where)
            return
        if edges and label not in self._classes:
            self._unknown.append(f"{where}: {label}")
            return
        if key not in self.cases:
            attributes = {name: row[name] for name in ATTRIBUTES if row.get(name)}
            part = PARTS.get(row.get("part", "").lower(), "")
            self.cases[key] = Case(key=key, group=row.get("group", ""), part=part, attributes=attributes)
        boxes = self.boxes.setdefault(key, [])
        if edges:
            boxes.append(Box(label=self._classes.index(label), edges=edges))

    def problems(self) -> list[Problem]:
        """What was wrong with rows."""
        classes = ", ".join(self._classes)
        numbers = "Give numbers, each _max above its _min; none at all says that the image has no box"
        told = (
            ("images that are not there", self._gone, "Put them beside the table, or take out the rows"),
            ("boxes that are none", self._odd, numbers),
            (f"labels that are none of the classes {classes}", self._unknown, "Name all classes in the recipe"),
        )
        return [Problem(fault=fault, names=tuple(names), remedy=remedy) for fault, names, remedy in told if names]


def _edges(ends: Sequence[str]) -> tuple[tuple[float, float], ...] | None:
    """(low, high) along each axis; nothing where no number is given, `None` where they are no box."""
    if not any(ends):
        return ()
    try:
        numbers = [float(each) for each in ends]
    except ValueError:
        return None
    found = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    return found if all(isfinite(low) and isfinite(high) and low < high for low, high in found) else None


def _fitting(boxes: tuple[Box, ...], shape: tuple[int, ...], file: Path) -> tuple[Box, ...]:
    """The boxes, once it is seen that they lie on their image."""
    for box in boxes:
        if any(low < -1 or high > side + 1 for (low, high), side in zip(box.edges, shape, strict=True)):
            size = " × ".join(map(str, shape))
            raise Misconfigured(file, "", f"a box reaches out of it ({size})", "Correct the table")
    return boxes


def _tables(path: Path) -> list[Path]:
    files = [path] if path.is_file() else sorted(path.glob("*.csv")) if path.is_dir() else []
    return [file for file in files if file.suffix.lower() == ".csv" and has_columns(file, _NEEDED)]
