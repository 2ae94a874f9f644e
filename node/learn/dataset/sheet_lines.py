"""The data sheet for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from node.learn.dataset.problems import Gravity, Problem
from node.learn.dataset.sheet import Intensities, Sheet, Spread

_MARKS = {Gravity.ERROR: "error", Gravity.WARNING: "warning", Gravity.NOTE: "note"}


def sheet_lines(sheet: Sheet, *, with_problems: bool = True) -> list[str]:
    """Return the sheet as lines of text, problems last."""
    parts = ", ".join(f"{part} {count}" for part, count in sheet.parts.items())
    lines = [
        f"{sheet.name}: {sheet.cases} cases for {sheet.task}, read as {sheet.layout}"
        + (f" ({parts})" if parts else ""),
        f"digest {sheet.digest}",
    ]
    lines += _classes(sheet)
    lines += _labels(sheet)
    lines += _pixels(sheet)
    lines += _groups(sheet)
    for name, values in sheet.attributes.items():
        lines.append(f"{name}: " + ", ".join(f"{value or 'unknown'} {count}" for value, count in values.items()))
    lines += [problem_line(problem) for problem in sheet.problems if with_problems]
    return lines


def problem_line(problem: Problem) -> str:
    """One line for a problem: how grave, what, which, and the remedy."""
    remedy = f". {problem.remedy}" if problem.remedy else ""
    return f"{_MARKS[problem.gravity]}: {problem.text}{remedy}"


def _classes(sheet: Sheet) -> Iterator[str]:
    if not sheet.classes:
        return
    names = list(sheet.parts)
    head = ["class", "cases", "share", "groups", *names]
    rows = [
        [each.name, str(each.cases), f"{each.cases / sheet.cases:.1%}", str(each.groups)]
        + [str(each.parts.get(part, 0)) for part in names]
        for each in sheet.classes
    ]
    yield from _table([head, *rows])
    most, least = max(each.cases for each in sheet.classes), min(each.cases for each in sheet.classes)
    yield f"balance: the largest class has {most / least:.1f} times as many cases as the smallest"


def _labels(sheet: Sheet) -> Iterator[str]:
    if not sheet.labels:
        return
    unit = "mm" if sheet.spacing_mm else "pixels"
    head = ["label", "name", "cases", "share of the image", "volume, ml", f"box, {unit}"]
    rows = [
        [
            *(str(each.label), each.name, str(each.cases)),
            _spread(each.share, "{:.2%}"),
            _spread(each.volume_ml, "{:.2f}") if each.volume_ml else "–",
            " × ".join(f"{side.median:.0f}" for side in each.extent),
        ]
        for each in sheet.labels
    ]
    yield from _table([head, *rows])


def _pixels(sheet: Sheet) -> Iterator[str]:
    if not sheet.size:
        return
    axes = ("slice", "row", "column")[-len(sheet.size) :]
    ranges = ", ".join(f"{axis} {_spread(each, '{:.0f}')}" for axis, each in zip(axes, sheet.size, strict=True))
    yield f"size: {ranges} ({sheet.sizes} different)"
    if sheet.spacing_mm:
        yield "spacing, mm: " + ", ".join(
            f"{axis} {_spread(each, '{:.2f}')}" for axis, each in zip(axes, sheet.spacing_mm, strict=True)
        )
    yield from _values("all", sheet.intensities)
    for each in sheet.classes:
        yield from _values(each.name, each.intensities)
    for label in sheet.labels:
        yield from _values(label.name, label.intensities)


def _values(name: str, channels: tuple[Intensities, ...]) -> Iterator[str]:
    for number, each in enumerate(channels):
        channel = f", channel {number}" if len(channels) > 1 else ""
        low, middle, high = (each.percentiles[share] for share in ("0.5", "50", "99.5"))
        spread = f"0.5 % {low:g}, median {middle:g}, 99.5 % {high:g}"
        yield f"values, {name}{channel}: mean {each.mean:.4g} ± {each.deviation:.4g}; {spread}"


def _groups(sheet: Sheet) -> Iterator[str]:
    known = f"{sheet.patients} patients" if sheet.patients else "no patients named"
    near = sum(map(len, sheet.near_duplicates))
    yield f"groups: {sheet.groups} ({known}; {near} cases in {len(sheet.near_duplicates)} groups of near-duplicates)"
    if sheet.leaks:
        yield f"leaks: {len(sheet.leaks)} groups reach over several official parts"


def _spread(spread: Spread, form: str) -> str:
    texts = [form.format(each) for each in (spread.least, spread.median, spread.greatest)]
    return texts[0] if len(set(texts)) == 1 else f"{texts[0]} – {texts[2]} (median {texts[1]})"


def _table(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
