"""Waiting times, drawn: how many wait longer than what, and the means with their intervals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from node.domain.scenario import OFF
from node.errors import Failed, Misconfigured
from node.triage.simulate.comparison import Comparison, GroupFigures
from node.triage.simulate.figures import CURVE, DISEASED, EVERYBODY, OTHERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_SUFFIXES = (".png", ".svg", ".pdf")
_INCHES = (8.0, 5.0)
_STYLES = {DISEASED: "-", OTHERS: "--", EVERYBODY: "-"}


def check_target(target: Path) -> None:
    """Look before the work begins whether a picture can lie there.

    Raises:
        Misconfigured: it is a file of a kind that is not drawn, or its folder is missing.
    """
    if target.suffix and not target.is_dir() and target.suffix.lower() not in _SUFFIXES:
        raise Misconfigured(
            "--plot", "", f"{target.name} is no picture", f"End it in {', '.join(_SUFFIXES)}, or name a folder"
        )
    if not target.parent.is_dir():
        raise Misconfigured("--plot", "", f"there is no folder {target.parent}", "Create it, or name another")


def draw(comparison: Comparison, target: Path) -> list[Path]:
    """Draw into one file, or into `tails.png` and `means.png` of a folder, which is made; return what was written.

    Raises:
        Failed: it cannot be written.
    """
    # Without pyplot: no display is looked for, and nothing is left open.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    parts = {"tails": _tails, "means": _means}
    if target.suffix.lower() in _SUFFIXES and not target.is_dir():
        figure = Figure(figsize=(_INCHES[0], 2 * _INCHES[1]), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, part in zip(figure.subplots(2), parts.values(), strict=True):
            part(axes, comparison)
        return [_saved(figure, target)]
    written = []
    for name, part in parts.items():
        figure = Figure(figsize=_INCHES, layout="constrained")
        FigureCanvasAgg(figure)
        part(figure.subplots(), comparison)
        written.append(_saved(figure, target / f"{name}.png"))
    return written


def _saved(figure: Figure, path: Path) -> Path:
    try:
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise Failed(f"cannot write {path}: {error.strerror or error}") from error
    return path


def _tails(axes: Axes, comparison: Comparison) -> None:
    """For each wait, the share of patients who wait longer."""
    names = [OFF.name, *(each.name for each in comparison.scenario.disciplines)]
    groups = {each.group for each in comparison.figures}
    shown = [group for group in (DISEASED, OTHERS) if group in groups] or [EVERYBODY]
    longer = [1 - share for share in CURVE]
    for each in comparison.figures:
        if each.group in shown:
            colour = f"C{names.index(each.discipline) % 10}"
            label = f"{each.group}, {each.discipline}"
            axes.plot(each.curve_min, longer, _STYLES[each.group], color=colour, label=label)
    axes.set(yscale="log", xlabel="minutes", ylabel="share that waits longer", title=_title(comparison))
    axes.set_xlim(left=0)
    axes.legend(fontsize="small")
    axes.grid(alpha=0.3)


def _means(axes: Axes, comparison: Comparison) -> None:
    """The mean wait of every group under every discipline."""
    names = [OFF.name, *(each.name for each in comparison.scenario.disciplines)]
    groups = list(dict.fromkeys(each.group for each in comparison.figures))
    height = 0.8 / len(names)
    for index, name in enumerate(names):
        own: list[GroupFigures] = [each for each in comparison.figures if each.discipline == name]
        means = [each.waits_min["mean"] for each in own]
        axes.barh(
            [groups.index(each.group) + index * height for each in own],
            [mean.value for mean in means],
            height,
            xerr=[mean.high - mean.value for mean in means],
            color=f"C{index % 10}",
            label=name,
        )
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(groups))], groups)
    axes.invert_yaxis()
    axes.set(xlabel="mean minutes of waiting, with intervals of 95 %", title=_title(comparison))
    axes.legend(fontsize="small")
    axes.grid(axis="x", alpha=0.3)


def _title(comparison: Comparison) -> str:
    # A dollar would begin a formula.
    return comparison.scenario.title.replace("$", r"\$")
