"""A CSV file that names an image and a class in each row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn.case import Case, Pixels
from node.learn.dataset.layouts.class_folders import PARTS
from node.learn.dataset.opened import Opened, Wanted
from node.learn.dataset.pixels import is_picture, is_volume, read_nifti, read_picture, stem
from node.learn.dataset.problems import Problem
from node.learn.dataset.tables import ATTRIBUTES, BOX, has_columns, read_rows

DESCRIPTION = "a CSV file with a column of images (image, path, file) and one of classes (label, class, diagnosis)"

_NEEDED = ("image", "label")


@dataclass(frozen=True, slots=True)
class _Files:
    root: Path

    def read(self, case: Case) -> Pixels:
        file = self.root / case.key
        return Pixels(volume=read_nifti(file)) if is_volume(file) else Pixels(image=read_picture(file))


def recognises(path: Path) -> str:
    """Why it fits: it is a CSV file, or a folder with CSV files that name images."""
    if path.is_file():
        return "a CSV file" if path.suffix.lower() == ".csv" and not has_columns(path, BOX) else ""
    tables = [file.name for file in _tables(path) if _names_images(file)]
    return f"{', '.join(tables)} names images" if tables else ""


def open_at(path: Path, wanted: Wanted) -> Opened:
    """List the rows whose image is there and whose class is known.

    Raises:
        Misconfigured: there are several tables, a column is missing or found twice, or no row could be used.
    """
    if wanted.task not in (None, Task.CLASSIFICATION):
        raise Misconfigured(path, "", f"a class for each image cannot train a {wanted.task}", "Ask for classification")
    tables = [path] if path.is_file() else [file for file in _tables(path) if _names_images(file)]
    if len(tables) > 1:
        names = ", ".join(file.name for file in tables)
        raise Misconfigured(path, "", f"several tables name images: {names}", "Name one of them")
    table = tables[0]
    columns, rows = read_rows(table, _NEEDED)
    root = table.parent
    labels = {row[columns["label"]].strip() for row in rows} - {""}
    classes = wanted.classes or tuple(sorted(labels, key=_in_order))
    listing = _Listing(root, columns, classes)
    for number, row in enumerate(rows, 2):
        listing.take(number, row)
    return Opened(
        name=table.stem if path.is_file() else path.name,
        task=Task.CLASSIFICATION,
        classes=classes,
        cases=tuple(sorted(listing.cases, key=lambda case: case.key)),
        source=path,
        reader=_Files(root),
        layout="table",
        problems=tuple(listing.problems()),
    )


class _Listing:
    """The cases while rows are taken, and the rows that make none."""

    def __init__(self, root: Path, columns: dict[str, str], classes: tuple[str, ...]) -> None:
        self._root, self._columns, self._classes = root, columns, classes
        self.cases: list[Case] = []
        self._taken: set[str] = set()
        self._unlabelled: list[str] = []
        self._unknown: list[str] = []
        self._gone: list[str] = []
        self._twice: list[str] = []
        self._parts: list[str] = []
        self._by_stem: dict[str, list[str]] | None = None

    def take(self, number: int, row: dict[str, str]) -> None:
        """Take the row of a line of the file."""
        said = {purpose: row[column].strip() for purpose, column in self._columns.items()}
        key = said["image"].replace("\\", "/")
        where = f"line {number} ({key or 'no image'})"
        file = self._file(key)
        part = PARTS.get(said.get("part", "").lower(), "")
        if not file:
            self._gone.append(where)
        elif not said["label"]:
            self._unlabelled.append(where)
        elif said["label"] not in self._classes:
            self._unknown.append(f"{where}: {said['label']}")
        elif file in self._taken:
            self._twice.append(where)
        elif said.get("part") and not part:
            self._parts.append(f"{where}: {said['part']}")
        else:
            self._taken.add(file)
            attributes = {name: said[name] for name in ATTRIBUTES if said.get(name)}
            label = self._classes.index(said["label"])
            group = said.get("group", "")
            self.cases.append(Case(key=file, label=label, group=group, part=part, attributes=attributes))

    def problems(self) -> Iterable[Problem]:
        """What was wrong with rows."""
        classes = ", ".join(self._classes)
        told = (
            (
                "images that are not there, or several of that name",
                self._gone,
                "Put the files beside the table, or take out the rows",
            ),
            ("images without a label", self._unlabelled, "Fill in their class, or take out the rows"),
            (f"labels that are none of the classes {classes}", self._unknown, "Name all classes in the recipe"),
            ("images named twice", self._twice, "Leave one row for each image"),
            ("parts that are none of train, validation, test", self._parts, "Call them so, or leave them empty"),
        )
        for fault, names, remedy in told:
            if names:
                yield Problem(fault=fault, names=tuple(names), remedy=remedy)

    def _file(self, key: str) -> str:
        """The file of an image, relative to the table's folder: also by its name without folder or ending."""
        if not key or PurePosixPath(key).is_absolute() or ".." in PurePosixPath(key).parts:
            return ""
        if (self._root / key).is_file():
            return PurePosixPath(key).as_posix()
        if self._by_stem is None:
            self._by_stem = {}
            for file in sorted(self._root.rglob("*")):
                if is_picture(file) or is_volume(file):
                    name = file.relative_to(self._root).as_posix()
                    for known in {file.name, stem(file)}:
                        self._by_stem.setdefault(known, []).append(name)
        found = self._by_stem.get(key, [])
        return found[0] if len(found) == 1 else ""


def _tables(path: Path) -> list[Path]:
    return sorted(file for file in path.iterdir() if file.suffix.lower() == ".csv" and not file.name.startswith("."))


def _names_images(table: Path) -> bool:
    # A table without labels says whose images they are, to another layout.
    return has_columns(table, _NEEDED) and not has_columns(table, BOX)


def _in_order(label: str) -> tuple[bool, float, str]:
    """Numbers by their size, before words."""
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label
