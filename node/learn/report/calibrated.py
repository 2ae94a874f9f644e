"""What the probabilities of a class are worth: errors before and after calibration, and the reliability diagram."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from node.learn.evaluate.evaluation import ClassFigures
from node.learn.evaluate.figures import Reliability
from node.learn.report.content import Block, Cell, Plot, Table, figure_cells, figure_headings, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def calibration_blocks(one: ClassFigures, seeds: Sequence[int]) -> Iterator[Block]:
    """Errors, how they come about, and the diagram; nothing where no probability was judged."""
    if one.calibration is None:
        return
    stages = {"before": one.calibration.before, "after": one.calibration.after}
    known = {when: each for when, each in stages.items() if each is not None}
    rows = tuple(
        (f"{name}, {when} calibration", *figure_cells(figure, seeds))
        for when, each in known.items()
        for name, figure in (
            ("ECE", each.ece),
            ("ECE, bins of equal size", each.ece_equal_mass),
            ("Brier score", each.brier),
        )
    )
    yield Table(caption=f"Calibration of {one.name}", headings=("figure", *figure_headings(seeds)), rows=rows)
    parts = tuple((f"{when} calibration", *_parts(each)) for when, each in known.items())
    headings = ("of the first seed", "ECE by chance alone", "Brier: reliability", "resolution", "uncertainty")
    yield Table(caption=f"What is in these errors, {one.name}", headings=headings, rows=parts)
    scalings = tuple(
        (f"seed {seed}", number(each.temperature, 4), number(each.bias, 4), str(each.cases), str(each.positives))
        for seed, each in zip(seeds, one.calibration.scalings, strict=False)
        if each is not None
    )
    if scalings:
        titles = ("seed", "temperature", "bias", "fitted on cases", "of them positive")
        yield Table(caption=f"Calibration that was fitted, {one.name}", headings=titles, rows=scalings)
    yield _diagram(one, known)


def _parts(each: Reliability) -> tuple[Cell, ...]:
    told = (each.ece_by_chance, each.brier_reliability, each.brier_resolution, each.brier_uncertainty)
    return tuple(number(value, 4) for value in told)


def _diagram(one: ClassFigures, known: dict[str, Reliability]) -> Plot:
    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], ":", color="grey")
        for place, (when, each) in enumerate(known.items()):
            bins = [one_bin for one_bin in each.bins if one_bin.cases]
            said, found = [b.said for b in bins], [b.found for b in bins]
            errors = [[b.found - b.found_low for b in bins], [b.found_high - b.found for b in bins]]
            label = f"{when}, ECE {_ece(each)}"
            axes.errorbar(said, found, yerr=errors, fmt="o-", markersize=3, capsize=2, color=f"C{place}", label=label)
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="probability that was said", ylabel="share that has it")
        axes.legend(loc="upper left")

    errors = "; ".join(f"{when} calibration ECE {_ece(each)}" for when, each in known.items())
    return Plot(
        alt=f"Reliability diagram of {one.name}: points on the diagonal hold what they say. {errors}.",
        caption=f"Reliability, {one.name}, of the first seed, with Wilson's 95 % intervals",
        draw=draw,
    )


def _ece(each: Reliability) -> str:
    return "–" if each.ece.value is None else f"{each.ece.value:.3f}"
