"""A CSV file that names an image and a class in each row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn.case import Case, Pixels
from node.learn.dataset.layouts.class_folders import PARTS
from node.learn.dataset.opened import Opened, Wanted
from node.learn.dataset.pixels import is_picture, is_volume, read_nifti, read_picture, stem
from node.learn.dataset.problems import Problem

DESCRIPTION = "a CSV file with a column of images (image, path, file) and one of classes (label, class, diagnosis)"
#: What a column is for → how it may be called: in lower case, words joined by "_".
COLUMNS = {
    "image": ("image", "path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "image_id",
              "image_file", "image_name"),
    "label": ("label", "class", "diagnosis", "target", "category", "dx"),
    "group": ("patient", "group", "patient_id", "patientid", "subject", "subject_id", "case_id", "group_id"),
    "part": ("split", "part", "subset", "partition"),
    "sex": ("sex", "gender", "patient_sex"),
    "age": ("age", "patient_age", "age_years"),
    "scanner": ("scanner", "manufacturer", "device", "scanner_model"),
    "site": ("site", "hospital", "institution", "centre", "center"),
}  # fmt: skip
_ATTRIBUTES = ("sex", "age", "scanner", "site")
_NO_TEXT = "Save it as UTF-8 text with a line of column names"


@dataclass(frozen=True, slots=True)
class _Files:
    root: Path

    def read(self, case: Case) -> Pixels:
        file = self.root / case.key
        return Pixels(volume=read_nifti(file)) if is_volume(file) else Pixels(image=read_picture(file))


def recognises(path: Path) -> str:
    """Why it fits: it is a CSV file, or a folder with CSV files that name images."""
    if path.is_file():
        return "a CSV file" if path.suffix.lower() == ".csv" else ""
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
    columns, rows = _read(table)
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
            attributes = {name: said[name] for name in _ATTRIBUTES if said.get(name)}
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
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            names = next(csv.reader([header], dialect=_dialect(header)), [])
    except (OSError, ValueError, csv.Error):
        return False
    return any(_plain(name) in COLUMNS["image"] for name in names)


def _read(table: Path) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Purpose → name of the column, and the rows."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            dialect = _dialect(file.readline())
            file.seek(0)
            reader = csv.DictReader(file, dialect=dialect, restval="")
            rows = list(reader)
            names = reader.fieldnames or []
    except (OSError, ValueError, csv.Error) as error:
        raise Misconfigured(table, "", f"is no table: {error}", _NO_TEXT) from error
    longer = [number for number, row in enumerate(rows, 2) if None in row]
    if longer:
        raise Misconfigured(table, f"line {longer[0]}", "has more fields than there are columns", _NO_TEXT)
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if list(names).count(name) > 1})
        raise Misconfigured(table, "", f"columns of one name: {', '.join(twice)}", "Rename them")
    return _columns(table, names), rows


def _dialect(header: str) -> type[csv.Dialect]:
    """Excel's, by that separator which the header has most of."""

    class Separated(csv.excel):
        delimiter = max(",;\t", key=header.count)

    return Separated


def _columns(table: Path, names: Sequence[str]) -> dict[str, str]:
    """Purpose → name of the column."""
    found = {}
    for purpose, known in COLUMNS.items():
        fitting = [name for name in names if _plain(name) in known]
        if len(fitting) > 1:
            problem = f"several columns could be the {purpose}: {', '.join(fitting)}"
            raise Misconfigured(table, purpose, problem, "Rename all but one of them")
        if fitting:
            found[purpose] = fitting[0]
    for purpose in ("image", "label"):
        if purpose not in found:
            looked_for = ", ".join(COLUMNS[purpose])
            problem = f"there is no column for the {purpose} among {', '.join(names)}"
            raise Misconfigured(table, purpose, problem, f"Call it one of {looked_for}")
    return found


def _plain(name: str) -> str:
    return "_".join(name.strip().lower().replace("-", " ").split())


def _in_order(label: str) -> tuple[bool, float, str]:
    """Numbers by their size, before words."""
    try:
        return False, float(label), label
    except ValueError:
        return True, 0.0, label
