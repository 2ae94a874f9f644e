"""CSV files about images: which column means what is known by its name."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from node.errors import Misconfigured

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
    "x_min": ("x_min", "xmin"),
    "y_min": ("y_min", "ymin"),
    "z_min": ("z_min", "zmin"),
    "x_max": ("x_max", "xmax"),
    "y_max": ("y_max", "ymax"),
    "z_max": ("z_max", "zmax"),
}  # fmt: skip
#: Purposes that become attributes of a case.
ATTRIBUTES = ("sex", "age", "scanner", "site")
#: Purposes that make a table one of boxes.
BOX = ("x_min", "y_min", "x_max", "y_max")
_NO_TEXT = "Save it as UTF-8 text with a line of column names"


def has_columns(table: Path, needed: Iterable[str]) -> bool:
    """Whether its first line names a column for each of these purposes, and it can be read at all."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            names = next(csv.reader([header], dialect=_dialect(header)), [])
    except (OSError, ValueError, csv.Error):
        return False
    return all(any(_plain(name) in COLUMNS[purpose] for name in names) for purpose in needed)


def read_rows(table: Path, needed: Iterable[str]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return purpose → name of its column, and the rows.

    Raises:
        Misconfigured: it is no table, or has no column, or several, for one of the purposes; names them.
    """
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
    return _columns(table, names, needed), rows


def _dialect(header: str) -> type[csv.Dialect]:
    """Excel's, by that separator which the header has most of."""

    class Separated(csv.excel):
        delimiter = max(",;\t", key=header.count)

    return Separated


def _columns(table: Path, names: Sequence[str], needed: Iterable[str]) -> dict[str, str]:
    """Purpose → name of the column."""
    found = {}
    for purpose, known in COLUMNS.items():
        fitting = [name for name in names if _plain(name) in known]
        if len(fitting) > 1:
            problem = f"several columns could be the {purpose}: {', '.join(fitting)}"
            raise Misconfigured(table, purpose, problem, "Rename all but one of them")
        if fitting:
            found[purpose] = fitting[0]
    for purpose in needed:
        if purpose not in found:
            looked_for = ", ".join(COLUMNS[purpose])
            problem = f"there is no column for the {purpose} among {', '.join(names)}"
            raise Misconfigured(table, purpose, problem, f"Call it one of {looked_for}")
    return found


def _plain(name: str) -> str:
    return "_".join(name.strip().lower().replace("-", " ").split())
