"""Figures of a classifier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from node.learn.evaluate.evaluation import ClassFigures, ClassificationFigures, Evaluation
from node.learn.evaluate.figures import OperatingPoint
from node.learn.report.calibrated import calibration_blocks
from node.learn.report.content import Block, Cell, Plot, Table, Text, count, figure_cells, figure_headings, number
from node.learn.report.drawing import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Darker than this share of the most, words on it are white.
_DARK = 0.55


def classified(evaluation: Evaluation, found: ClassificationFigures) -> list[Block]:
    """Figures, confusion, curves, calibration and operating point."""
    seeds = evaluation.seeds
    rows = tuple((words(name), *figure_cells(each, seeds)) for name, each in found.figures.items())
    blocks: list[Block] = [
        Table(caption="Over all classes", headings=("figure", *figure_headings(seeds)), rows=rows),
        _of_classes(found, seeds),
        *_confusion(found),
        _curve("roc", found.classes),
        _curve("precision_recall", found.classes),
    ]
    blocks += [each for one in found.classes for each in calibration_blocks(one, seeds)]
    if found.operating is not None:
        blocks += _operating(found.operating, found.classes[found.positive].name, seeds)
    return blocks


def words(name: str) -> str:
    """The name of a figure for people."""
    return name.replace("_", " ").replace("auc", "AUC").replace("f1", "F1")


def _of_classes(found: ClassificationFigures, seeds: Sequence[int]) -> Table:
    rows = tuple(
        (each.name, words(name), count(each.cases), *figure_cells(figure, seeds))
        for each in found.classes
        for name, figure in each.figures.items()
    )
    headings = ("class", "figure", "cases", *figure_headings(seeds))
    return Table(caption="Of each class against the rest", headings=headings, rows=rows, numbers_from=2)


def _confusion(found: ClassificationFigures) -> list[Block]:
    names = [each.name for each in found.classes]
    most = max((max(row) for row in found.confusion), default=0.0) or 1.0

    def draw(axes: Axes) -> None:
        axes.imshow(found.confusion, cmap="Blues", vmin=0, vmax=most)
        for truth, row in enumerate(found.confusion):
            for answer, cases in enumerate(row):
                colour = "white" if cases > _DARK * most else "black"
                axes.text(
                    answer, truth, f"{cases:g}" if cases == int(cases) else f"{cases:.1f}", ha="center", color=colour
                )
        ticks = [plain(name) for name in names]
        axes.set_xticks(range(len(names)), ticks, rotation=30, ha="right")
        axes.set_yticks(range(len(names)), ticks)
        axes.grid(visible=False)
        axes.set(xlabel="answer", ylabel="truth")

    def told(cases: float) -> Cell:
        return count(int(cases)) if cases == int(cases) else number(cases, 1)

    rows = tuple((name, *map(told, row)) for name, row in zip(names, found.confusion, strict=True))
    caption = "Confusion: the truth in rows, the answer in columns; cases, mean of the seeds"
    return [
        Table(caption=caption, headings=("truth", *names), rows=rows),
        Plot(alt="The confusion matrix of the table before, the darker the more cases.", caption=caption, draw=draw),
    ]


def _curve(kind: str, classes: Sequence[ClassFigures]) -> Plot:
    is_roc = kind == "roc"
    figure = "auc" if is_roc else "average_precision"

    def draw(axes: Axes) -> None:
        for place, each in enumerate(classes):
            curve = each.roc if is_roc else each.precision_recall
            label = f"{plain(each.name)} {_value(each, figure)}"
            axes.plot([p.x for p in curve], [p.y for p in curve], color=f"C{place % 10}", label=label)
        if is_roc:
            axes.plot([0, 1], [0, 1], ":", color="grey")
        names = ("1 − specificity", "sensitivity") if is_roc else ("sensitivity (recall)", "precision")
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=names[0], ylabel=names[1])
        axes.legend(loc="lower right" if is_roc else "lower left")

    title = "Receiver operating characteristic" if is_roc else "Precision and recall"
    area = "AUC" if is_roc else "average precision"
    areas = "; ".join(f"{each.name} {_value(each, figure)}" for each in classes)
    caption = f"{title}, of the first seed; in the legend the mean of the seeds"
    return Plot(alt=f"{title}, a line a class. {area}: {areas}.", caption=caption, draw=draw)


def _value(one: ClassFigures, figure: str) -> str:
    value = one.figures[figure].value
    return "–" if value is None else f"{value:.3f}"


def _operating(at: OperatingPoint, name: str, seeds: Sequence[int]) -> list[Block]:
    figures = [
        ("sensitivity", at.sensitivity),
        ("specificity", at.specificity),
        ("sensitivity, held out", at.held_out_sensitivity),
        ("specificity, held out", at.held_out_specificity),
    ]
    rows = tuple((title, *figure_cells(each, seeds)) for title, each in figures if each is not None)
    shares = tuple(
        (title, count(each.count), count(each.of), number(each.low), number(each.high))
        for title, each in (("sensitivity", at.sensitivity_share), ("specificity", at.specificity_share))
    )
    predictive = tuple(
        (number(each.prevalence, 2), number(each.positive_predictive_value), number(each.negative_predictive_value))
        for each in at.predictive
    )
    first = at.thresholds[0]
    threshold = "none" if first is None else f"{first:.6f}"
    thresholds = tuple((f"seed {seed}", number(each, 6)) for seed, each in zip(seeds, at.thresholds, strict=False))
    blocks: list[Block] = [
        Text(
            text=f"Operating point for {name}: the highest threshold with a sensitivity of {at.wanted_sensitivity:g}, "
            f"chosen on {at.chosen_on}; that of the first seed is {threshold}."
        ),
        Table(caption=f"Operating point, {name}", headings=("figure", *figure_headings(seeds)), rows=rows),
        Table(caption="Thresholds", headings=("seed", "threshold"), rows=thresholds),
        Table(
            caption="The same, counted, with Wilson's 95 % interval; of the first seed",
            headings=("figure", "cases", "of", "95 % from", "to"),
            rows=shares,
        ),
    ]
    if predictive:
        headings = ("where so many have it", "positive predictive value", "negative predictive value")
        blocks.append(Table(caption="What a reader may expect", headings=headings, rows=predictive))
    if at.net_benefit:
        blocks.append(_decision(at, name))
    return blocks


def _decision(at: OperatingPoint, name: str) -> Plot:
    def draw(axes: Axes) -> None:
        thresholds = [each.threshold for each in at.net_benefit]
        axes.plot(thresholds, [each.model for each in at.net_benefit], color="C0", label="the model")
        axes.plot(thresholds, [each.everyone for each in at.net_benefit], "--", color="C7", label="everyone")
        axes.axhline(0, color="black", linewidth=0.8, label="nobody")
        # Of calling everyone positive it falls without bounds.
        highest = max(max(each.model, each.everyone) for each in at.net_benefit)
        axes.set(ylim=(-0.25 * (highest or 1), 1.15 * (highest or 1)), xlabel="threshold", ylabel="net benefit")
        axes.legend()

    useful = [each.threshold for each in at.net_benefit if each.model > max(0.0, each.everyone)]
    reach = f"from {min(useful):g} to {max(useful):g}" if useful else "at no threshold"
    caption = f"Decision curve for {name} (Vickers and Elkin 2006), of the first seed"
    alt = f"Lines: net benefit of the model, of calling everyone positive, and nobody. The model is above both {reach}."
    return Plot(alt=alt, caption=caption, draw=draw)
