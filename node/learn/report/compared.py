"""Subgroups, and ways to make the model beside one another."""

from __future__ import annotations

from collections.abc import Sequence

from node.learn.comparison import Comparison
from node.learn.evaluate.evaluation import Evaluation
from node.learn.report.classified import words
from node.learn.report.content import Block, Cell, Section, Table, Text, count, figure_cells, figure_headings, number


def subgroups(evaluation: Evaluation) -> Section:
    """How it does among cases that have something in common."""
    counts_sides = evaluation.classification is not None
    sides = ("positive", "negative") if counts_sides else ()
    rows: list[tuple[Cell, ...]] = [
        (
            each.attribute,
            each.value,
            words(name),
            count(each.cases),
            *((count(each.positives), count(each.negatives)) if counts_sides else ()),
            *figure_cells(figure, evaluation.seeds),
        )
        for each in evaluation.subgroups
        for name, figure in each.figures.items()
    ]
    headings = ("attribute", "value", "figure", "cases", *sides, *figure_headings(evaluation.seeds))
    table = Table(caption="Subgroups", headings=headings, rows=tuple(rows), numbers_from=3)
    notes = [
        Text(text=f"{each.attribute} {each.value}: {each.note}", warns=True)
        for each in evaluation.subgroups
        if each.note
    ]
    return Section(name="subgroups", title="Among whom it does how well", blocks=(table, *notes))


def compared(comparisons: Sequence[Comparison]) -> Section:
    """Ablations, searches, other paths: one table each."""
    blocks: list[Block] = []
    for each in comparisons:
        blocks += [Text(text=each.text)] if each.text else []
        blocks.append(_ways(each))
    return Section(name="comparisons", title="Other ways to make it", blocks=tuple(blocks))


def _ways(comparison: Comparison) -> Table:
    names = tuple(dict.fromkeys(name for row in comparison.rows for name in row.figures))
    rows: list[tuple[Cell, ...]] = []
    for row in comparison.rows:
        changes = "; ".join(f"{key} = {value}" for key, value in row.changes.items())
        cells: list[Cell] = [f"{row.name} (became the model)" if row.is_chosen else row.name, changes]
        for name in names:
            figure = row.figures.get(name)
            cells += [number(each) for each in (figure.value, figure.low, figure.high)] if figure else ["–"] * 3
        rows.append(tuple(cells))
    figures = (heading for name in names for heading in (words(name), "95 % from", "to"))
    headings = ("way", "what is changed", *figures)
    return Table(caption=comparison.title, headings=headings, rows=tuple(rows), numbers_from=2)
