"""Whose images they are, where a table beside the data set says so and not the data set itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from node.errors import Misconfigured
from node.learn.case import Case
from node.learn.dataset.opened import Opened
from node.learn.dataset.pixels import stem
from node.learn.dataset.problems import Gravity, Problem
from node.learn.dataset.tables import ATTRIBUTES, read_rows


def with_patients_of(dataset: Opened, table: Path) -> Opened:
    """Return the data set with the patients, and what else of attributes, that a CSV file gives its images.

    An image is named by its key, or by the key's last part, with or without ending. Rows of other images are passed
    over: one table may serve several data sets.

    Args:
        dataset: what was listed.
        table: with a column for the image and one for the patient, by the names that a data set's own table may use.

    Raises:
        Misconfigured: it cannot be read, lacks a column, says two things of one image, or knows no image of the set.
    """
    columns, rows = read_rows(table, ("image", "group"))
    said: dict[str, Mapping[str, str]] = {}
    for number, row in enumerate(rows, 2):
        values = {purpose: row[column].strip() for purpose, column in columns.items()}
        if said.setdefault(values["image"], values) != values:
            problem = f"says another thing of {values['image']} than a line above"
            raise Misconfigured(table, f"line {number}", problem, "Leave one row for each image")
    found = [(case, next((said[name] for name in _names(case) if name in said), None)) for case in dataset.cases]
    if all(row is None for _, row in found):
        raise Misconfigured(table, columns["image"], f"names no image of {dataset.name}", "Name images by their keys")
    without = [case.key for case, row in found if row is None or not row["group"]]
    unknown = Problem(
        fault=f"cases that {table.name} names no patient of",
        names=tuple(without),
        remedy="They count as patients of their own",
        gravity=Gravity.WARNING,
    )
    cases = tuple(case if row is None else _told(case, row) for case, row in found)
    return replace(dataset, cases=cases, problems=(*dataset.problems, *([unknown] if without else [])))


def _names(case: Case) -> tuple[str, ...]:
    file = Path(case.key)
    return case.key, file.name, stem(file)


def _told(case: Case, row: Mapping[str, str]) -> Case:
    attributes = {name: row[name] for name in ATTRIBUTES if row.get(name)}
    return replace(case, group=row["group"] or case.group, attributes={**case.attributes, **attributes})
