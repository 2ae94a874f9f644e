"""What was asked for, what there was to learn from, and how it was parted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from node.learn.dataset import plots
from node.learn.dataset.problems import Gravity
from node.learn.dataset.sheet import Intensities, Sheet, Spread
from node.learn.recipe import Recipe
from node.learn.report.content import Block, Cell, Plot, Section, Table, Text, count, measured
from node.learn.report.told import Told
from node.learn.split import Split

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_RECIPE: TypeAdapter[Recipe] = TypeAdapter(Recipe)
_LONGEST = 400
_ALT = {
    "classes": "Bars: how many cases each class has.",
    "labels": "Lines: the least, the median and the greatest volume or share of each label.",
    "sizes": "Lines: the least, the median and the greatest number of pixels along each axis.",
    "values": "Lines: from the lowest to the highest half percent of the values, the middle half stronger.",
    "groups": "Bars: how many groups of near-duplicates there are of each size.",
}


def asked(recipe: Recipe) -> Section:
    """The recipe with everything that was derived."""
    rows = tuple((key, text) for key, text in _flat(_RECIPE.dump_python(recipe, mode="json")) if text)
    table = Table(caption="The recipe, with what was derived", headings=("key", "value"), rows=rows, numbers_from=2)
    return Section(name="asked", title="What was asked for", blocks=(table,))


def learnt_from(told: Told, sheet: Sheet) -> Section:
    """The data sheet."""
    parts = "; ".join(f"{part} {cases}" for part, cases in sheet.parts.items())
    patients = f"{sheet.patients} patients" if sheet.patients else "no patients told apart"
    first = (
        f"{sheet.name}: {sheet.cases} cases for {sheet.task}, read as {sheet.layout}"
        f"{f' (its own parts: {parts})' if parts else ''}; {patients}. SHA-256 {sheet.digest}."
    )
    blocks: list[Block] = [Text(text=first), *_plots(sheet)]
    blocks += [each for each in (_classes(sheet), _labels(sheet), _pixels(sheet), _values(sheet)) if each.rows]
    blocks += _attributes(sheet)
    blocks += _likenesses(told, sheet)
    blocks += _problems(told, sheet)
    return Section(name="data", title="What there was to learn from", blocks=tuple(blocks))


def parted(told: Told, split: Split) -> Section:
    """The split."""
    rows = tuple(
        (f"fold {number}", *(count(len(part)) for part in (fold.train, fold.validation, fold.test)))
        for number, fold in enumerate(split.folds, 1)
    )
    table = Table(
        caption="Cases of each fold",
        headings=("fold", "to train on", "to choose by (validation)", "to judge by (test)"),
        rows=rows,
    )
    several = len(split.folds) > 1
    told_as = "every case is judged by the one training that did not see it" if several else "held out once"
    groups = len(set(split.groups.values()))
    together = f"{len(split.groups)} cases share their group with another, {groups} such groups: none was torn apart."
    blocks: list[Block] = [Text(text=f"{split.method}; {told_as}. {together}"), table]
    if split.left_out:
        left = ", ".join(told.name_of(key) for key in split.left_out)[:_LONGEST]
        text = f"In no part, since their group belongs to another: {len(split.left_out)} cases ({left})."
        blocks.append(Text(text=text, warns=True))
    return Section(name="split", title="How it was parted", blocks=tuple(blocks))


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif value is not None and key:
        items = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        yield key, items[:_LONGEST]


def _plots(sheet: Sheet) -> Iterator[Plot]:
    for name, draw in plots.drawings(sheet).items():
        wide = (5.4, 2.2 + 0.22 * max(len(sheet.classes), len(sheet.labels)))

        def drawn(axes: Axes, draw: plots.Drawing = draw) -> None:
            draw(axes, sheet)

        yield Plot(alt=_ALT[name], caption=_ALT[name], draw=drawn, inches=wide)


def _classes(sheet: Sheet) -> Table:
    parts = tuple(sheet.parts)
    rows = tuple(
        (each.name, count(each.cases), count(each.groups), *(count(each.parts.get(part, 0)) for part in parts))
        for each in sheet.classes
    )
    return Table(caption="Classes", headings=("class", "cases", "groups", *parts), rows=rows)


def _labels(sheet: Sheet) -> Table:
    unit = "mm" if sheet.spacing_mm else "pixels"
    rows = tuple(
        (
            each.name,
            count(each.cases),
            *(_spread(each.volume_ml) if each.volume_ml else ("–", "–", "–")),
            " × ".join(f"{side.median:.0f}" for side in each.extent),
        )
        for each in sheet.labels
    )
    headings = ("label", "cases", "volume least, mL", "median", "greatest", f"median box, {unit}")
    return Table(caption="Labels", headings=headings, rows=rows)


def _pixels(sheet: Sheet) -> Table:
    axes = ("slice", "row", "column")[-len(sheet.size) :]
    rows: list[tuple[Cell, ...]] = [
        (f"pixels along {axis}", *_spread(each)) for axis, each in zip(axes, sheet.size, strict=True)
    ]
    if sheet.spacing_mm:
        spacings = zip(axes, sheet.spacing_mm, strict=True)
        rows += [(f"spacing along {axis}, mm", *_spread(each)) for axis, each in spacings]
    caption = f"Size: {sheet.sizes} different"
    return Table(caption=caption, headings=("of the images", "least", "median", "greatest"), rows=tuple(rows))


def _values(sheet: Sheet) -> Table:
    named: list[tuple[str, tuple[Intensities, ...]]] = [("all", sheet.intensities)]
    named += [(each.name, each.intensities) for each in sheet.classes]
    named += [(each.name, each.intensities) for each in sheet.labels]
    rows = tuple(
        (
            f"{name}, channel {place}" if len(channels) > 1 else name,
            *map(measured, (each.mean, each.deviation, *(each.percentiles[share] for share in ("0.5", "50", "99.5")))),
        )
        for name, channels in named
        for place, each in enumerate(channels)
    )
    headings = ("of", "mean", "standard deviation", "0.5 %", "median", "99.5 %")
    return Table(caption="Values of the pixels", headings=headings, rows=rows)


def _attributes(sheet: Sheet) -> Iterator[Table]:
    rows = tuple(
        (f"{name}: {value or 'not known'}", count(cases))
        for name, values in sheet.attributes.items()
        for value, cases in values.items()
    )
    if rows:
        yield Table(caption="What is known of the cases", headings=("attribute", "cases"), rows=rows)


def _likenesses(told: Told, sheet: Sheet) -> Iterator[Block]:
    near = sum(map(len, sheet.near_duplicates))
    yield Text(
        text=f"{near} cases are nearly equal to another, in {len(sheet.near_duplicates)} groups; "
        f"{sum(map(len, sheet.duplicates))} are equal to another, in {len(sheet.duplicates)}. "
        f"{sheet.groups} groups are kept together in all."
    )
    if sheet.leaks:
        first = ", ".join(told.name_of(key) for key in sheet.leaks[0])[:_LONGEST]
        text = f"{len(sheet.leaks)} groups reach over several of the data set's own parts, the first is {first}."
        yield Text(text=text, warns=True)


def _problems(told: Told, sheet: Sheet) -> Iterator[Block]:
    for each in sheet.problems:
        # Whose the names are is not told apart: of a private data set none is.
        said = f"{each.fault} ({len(each.names)})" if told.private and each.names else each.text
        yield Text(text=f"{said}. {each.remedy}".rstrip(". ") + ".", warns=each.gravity is not Gravity.NOTE)


def _spread(spread: Spread) -> tuple[Cell, ...]:
    return measured(spread.least), measured(spread.median), measured(spread.greatest)
