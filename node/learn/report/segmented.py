"""Figures of a segmentation, and of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from node.learn.evaluate.evaluation import DetectionFigures, Evaluation, SegmentationFigures, SegmentSummary
from node.learn.report.content import Block, Plot, Table, Text, count, figure_cells, figure_headings, number
from node.learn.report.drawing import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_UNITS = {
    "dice": "Dice",
    "hd95_mm": "HD95, mm",
    "surface_dice": "surface Dice",
    "volume_error_ml": "volume error, mL (signed)",
    "volume_error_percent": "volume error, % (without sign)",
}


def segmented(evaluation: Evaluation, found: SegmentationFigures) -> list[Block]:
    """Figures of all segments and of each, volumes and their agreement."""
    seeds = evaluation.seeds
    tolerance = f"Surface Dice is at a tolerance of {found.tolerance_mm:g} mm."
    rows = tuple((_UNITS.get(name, name), *figure_cells(each, seeds)) for name, each in found.figures.items())
    of_each = tuple(
        (each.name, _UNITS.get(name, name), *figure_cells(figure, seeds))
        for each in found.segments
        for name, figure in each.figures.items()
    )
    seen = tuple(
        (each.name, count(each.present), count(each.missed), count(each.falsely_seen)) for each in found.segments
    )
    heads = figure_headings(seeds)
    blocks: list[Block] = [
        Text(text=tolerance),
        Table(caption="Mean of the segments", headings=("figure", *heads), rows=rows),
        Table(caption="Of each segment", headings=("segment", "figure", *heads), rows=of_each, numbers_from=2),
        Table(
            caption="Cases in which a segment is there, missed, or falsely seen; of the first seed",
            headings=("segment", "there", "missed", "falsely seen"),
            rows=seen,
        ),
    ]
    if any(each.dice for each in found.segments):
        blocks.append(_spread(found.segments))
    for each in found.segments:
        if each.volumes_ml:
            blocks += [_volumes(each), *_agreement(each)]
    return blocks


def detected(evaluation: Evaluation, found: DetectionFigures) -> list[Block]:
    """Figures of boxes, and the free-response curve."""
    seeds = evaluation.seeds
    rows = tuple((_boxes(name), *figure_cells(each, seeds)) for name, each in found.figures.items())
    of_each = tuple(
        (name, _boxes(which), *figure_cells(figure, seeds))
        for name, figures in found.classes.items()
        for which, figure in figures.items()
    )
    heads = figure_headings(seeds)
    blocks: list[Block] = [
        Table(caption="Over all classes", headings=("figure", *heads), rows=rows),
        Table(caption="Of each class", headings=("class", "figure", *heads), rows=of_each, numbers_from=2),
    ]
    if found.froc:
        blocks.append(_froc(found))
    return blocks


def _spread(segments: Sequence[SegmentSummary]) -> Plot:
    known = [each for each in segments if each.dice]

    def draw(axes: Axes) -> None:
        axes.boxplot([each.dice for each in known], orientation="horizontal", widths=0.5)
        axes.set_yticks(range(1, len(known) + 1), [plain(each.name) for each in known])
        axes.invert_yaxis()
        axes.set(xlabel="Dice of each case")

    return Plot(
        alt="Boxes: the quartiles of the Dice of the cases, of each segment, with the cases that lie far from them.",
        caption="Dice of each case, of the first seed",
        draw=draw,
        inches=(4.6, 1.4 + 0.4 * len(known)),
    )


def _volumes(one: SegmentSummary) -> Plot:
    def draw(axes: Axes) -> None:
        true, said = [p.x for p in one.volumes_ml], [p.y for p in one.volumes_ml]
        most = max(*true, *said) * 1.05 or 1.0
        axes.plot([0, most], [0, most], ":", color="grey")
        axes.plot(true, said, ".", color="C0", alpha=0.7)
        axes.set(xlim=(0, most), ylim=(0, most), xlabel="true volume, mL", ylabel="volume of the model, mL")

    alt = f"Points: the volume of {one.name} by the model over the true one, of {len(one.volumes_ml)} cases."
    return Plot(alt=alt, caption=f"Volumes of {one.name}, of the first seed", draw=draw)


def _agreement(one: SegmentSummary) -> list[Block]:
    limits = one.agreement
    if limits is None:
        return []

    def draw(axes: Axes) -> None:
        axes.plot([(p.x + p.y) / 2 for p in one.volumes_ml], [p.y - p.x for p in one.volumes_ml], ".", alpha=0.7)
        for value, style in ((limits.mean_ml, "-"), (limits.low_ml, "--"), (limits.high_ml, "--")):
            axes.axhline(value, color="C1", linestyle=style, linewidth=1)
        axes.set(xlabel="mean of both volumes, mL", ylabel="model − truth, mL")

    told = f"mean {limits.mean_ml:.3f} mL, 95 % of the differences from {limits.low_ml:.3f} to {limits.high_ml:.3f} mL"
    row = (one.name, number(limits.mean_ml), number(limits.low_ml), number(limits.high_ml))
    headings = ("segment", "mean difference, mL", "limit below", "limit above")
    return [
        Plot(
            alt=f"Bland-Altman diagram of {one.name}: {told}.",
            caption=f"Differences of the volumes of {one.name} (Bland and Altman 1986), of the first seed",
            draw=draw,
        ),
        Table(caption=f"Limits of agreement, {one.name}", headings=headings, rows=(row,)),
    ]


def _froc(found: DetectionFigures) -> Plot:
    def draw(axes: Axes) -> None:
        axes.plot([p.x for p in found.froc], [p.y for p in found.froc], color="C0", drawstyle="steps-post")
        axes.set_xscale("symlog", linthresh=0.125)
        axes.set(xlim=(0, None), ylim=(-0.02, 1.02), xlabel="false boxes an image", ylabel="sensitivity")

    last = found.froc[-1]
    alt = f"Line: sensitivity over false boxes an image; {last.y:.3f} with {last.x:.3g} of them at most."
    return Plot(alt=alt, caption="Free-response curve (FROC), all classes, of the first seed", draw=draw)


def _boxes(name: str) -> str:
    kind, _, limit = name.rpartition("_")
    if kind == "map":
        return f"mean average precision, overlap {limit}"
    return f"average precision, overlap {limit}" if kind == "ap" else f"sensitivity, {limit} false boxes an image"
