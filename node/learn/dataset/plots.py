"""The data sheet, drawn. matplotlib is loaded only when something is drawn."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from node.errors import Failed
from node.learn.dataset.sheet import Intensities, Sheet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Draws one aspect of a sheet.
Drawing = Callable[["Axes", Sheet], None]
_INCHES = (7.0, 3.5)
#: Where the highest values lie so many times further than three quarters of all, the axis is drawn logarithmically.
_FAR = 20
_PARTS = ("train", "validation", "test", "")


def drawings(sheet: Sheet) -> dict[str, Drawing]:
    """Return name → what draws it: "classes" or "labels", "sizes", "values", "groups", as far as there is something."""
    parts = {
        "classes": (_classes, bool(sheet.classes)),
        "labels": (_labels, bool(sheet.labels)),
        "sizes": (_sizes, bool(sheet.size)),
        "values": (_values, bool(sheet.intensities)),
        "groups": (_groups, bool(sheet.near_duplicates)),
    }
    return {name: part for name, (part, is_wanted) in parts.items() if is_wanted}


def figures(sheet: Sheet) -> dict[str, Figure]:
    """Return name → figure, of every one of `drawings`."""
    # Without pyplot: no display is looked for, and nothing is left open.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = {}
    for name, part in drawings(sheet).items():
        figure = Figure(figsize=_INCHES, layout="constrained")
        FigureCanvasAgg(figure)
        part(figure.subplots(), sheet)
        drawn[name] = figure
    return drawn


def draw(sheet: Sheet, folder: Path, suffix: str = ".png") -> list[Path]:
    """Draw all figures into a folder, which is made: "sheet-classes.png", … or ".svg"; return what was written.

    Raises:
        Failed: it cannot be written.
    """
    written = []
    for name, figure in figures(sheet).items():
        path = folder / f"sheet-{name}{suffix}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=120)
        except OSError as error:
            raise Failed(f"cannot write {path}: {error.strerror or error}") from error
        written.append(path)
    return written


def _classes(axes: Axes, sheet: Sheet) -> None:
    """Cases of each class, official parts one on the other."""
    names = [_plain(each.name) for each in sheet.classes]
    below = [0] * len(names)
    for part in _PARTS:
        counts = [each.parts.get(part, 0) for each in sheet.classes]
        if any(counts):
            axes.barh(names, counts, left=below, label=part or "cases")
            below = [low + count for low, count in zip(below, counts, strict=True)]
    axes.invert_yaxis()
    axes.set(xlabel="cases", title="Cases of each class")
    if sheet.parts:
        axes.legend(fontsize="small")


def _labels(axes: Axes, sheet: Sheet) -> None:
    """Volume, or share of the image, of each label: least to greatest, the median marked."""
    has_volumes = all(each.volume_ml is not None for each in sheet.labels)
    for place, each in enumerate(sheet.labels):
        spread = each.volume_ml if has_volumes and each.volume_ml is not None else each.share
        axes.plot([spread.least, spread.greatest], [place, place], "-", color=f"C{place % 10}", linewidth=6, alpha=0.5)
        axes.plot([spread.median], [place], "o", color=f"C{place % 10}")
    axes.set_yticks(range(len(sheet.labels)), [_plain(each.name) for each in sheet.labels])
    axes.invert_yaxis()
    axes.set(xlabel="ml" if has_volumes else "share of the image", title="Labels: least, median, greatest")


def _sizes(axes: Axes, sheet: Sheet) -> None:
    """Pixels along each axis: least to greatest, the median marked."""
    names = ("slice", "row", "column")[-len(sheet.size) :]
    for place, each in enumerate(sheet.size):
        axes.plot([each.least, each.greatest], [place, place], "-", color="C0", linewidth=6, alpha=0.5)
        axes.plot([each.median], [place], "o", color="C0")
    axes.set_yticks(range(len(names)), names)
    axes.set_xlim(left=0)
    axes.set(xlabel="pixels", title=f"Size: {sheet.sizes} different")


def _values(axes: Axes, sheet: Sheet) -> None:
    """Half a percent to 99.5 % of the values, the middle half drawn stronger, the median marked."""
    rows: list[tuple[str, Intensities]] = []
    named = [("all", sheet.intensities)]
    named += [(each.name, each.intensities) for each in sheet.classes]
    named += [(each.name, each.intensities) for each in sheet.labels]
    for name, channels in named:
        many = len(channels) > 1
        rows += [(f"{name} {number}" if many else name, each) for number, each in enumerate(channels)]
    for place, (_, each) in enumerate(rows):
        told = each.percentiles
        axes.plot([told["0.5"], told["99.5"]], [place, place], "-", color="C0", alpha=0.4)
        axes.plot([told["25"], told["75"]], [place, place], "-", color="C0", linewidth=6, alpha=0.5)
        axes.plot([told["50"]], [place], "o", color="C0")
    axes.set_yticks(range(len(rows)), [_plain(name) for name, _ in rows])
    axes.invert_yaxis()
    if any(each.percentiles["99.5"] > _FAR * max(1.0, abs(each.percentiles["75"])) for _, each in rows):
        axes.set_xscale("symlog")
    axes.set(xlabel="value", title="Values: 0.5 % to 99.5 %, the middle half, the median")


def _groups(axes: Axes, sheet: Sheet) -> None:
    """How many groups of near-duplicates there are of each size."""
    sizes = [len(keys) for keys in sheet.near_duplicates]
    counted = sorted(set(sizes))
    axes.bar([str(size) for size in counted], [sizes.count(size) for size in counted])
    axes.set(xlabel="images in a group", ylabel="groups", title="Near-duplicates, kept together")


def _plain(text: str) -> str:
    # A dollar would begin a formula.
    return text.replace("$", r"\$")
