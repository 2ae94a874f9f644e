"""How the trainings went: loss and scores, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from node.learn.report.content import Block, Cell, Plot, Section, Table, count, measured, number
from node.learn.report.drawing import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_EPOCH, _LOSS, _SECONDS, _SCORE = "epoch", "loss", "seconds", "score"
#: More lines than these are not told apart by name.
_MOST_NAMED = 8
_Histories = Mapping[str, Sequence[Mapping[str, Any]]]


def courses(histories: _Histories) -> Section:
    """Curves of every training, and what they came to."""
    names = dict.fromkeys(
        name
        for epochs in histories.values()
        for told in epochs
        for name, value in told.items()
        if name not in (_EPOCH, _SECONDS) and isinstance(value, int | float)
    )
    blocks: list[Block] = [_curves(name, histories) for name in names]
    blocks.append(_table(histories))
    return Section(name="courses", title="How the trainings went", blocks=tuple(blocks))


def _curves(name: str, histories: _Histories) -> Plot:
    def draw(axes: Axes) -> None:
        for place, (which, epochs) in enumerate(histories.items()):
            told = [(each[_EPOCH], each[name]) for each in epochs if each.get(name) is not None]
            if told:
                # One alone is no line.
                style = "." if len(told) == 1 else "-"
                axes.plot(*zip(*told, strict=True), style, color=f"C{place % 10}", linewidth=1.2, label=plain(which))
        axes.set(xlabel="epoch", ylabel=plain(name))
        if 1 < len(histories) <= _MOST_NAMED:
            axes.legend()

    where = "of what was trained on" if name == _LOSS else "on the validation part"
    words = name.replace("_", " ")
    last = "; ".join(f"{which}: {_last(name, epochs)}" for which, epochs in list(histories.items())[:_MOST_NAMED])
    alt = f"Lines: {words} {where}, epoch by epoch, one a training. At the end: {last}."
    return Plot(alt=alt, caption=f"{words.capitalize()} {where}", draw=draw)


def _last(name: str, epochs: Sequence[Mapping[str, Any]]) -> str:
    known = [each[name] for each in epochs if each.get(name) is not None]
    return f"{known[-1]:.4g}" if known else "none"


def _table(histories: _Histories) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for which, epochs in histories.items():
        scored = [each for each in epochs if each.get(_SCORE) is not None]
        best = max(scored, key=lambda each: each[_SCORE]) if scored else None
        rows.append(
            (
                which,
                count(len(epochs)),
                measured(epochs[-1][_LOSS]) if _LOSS in epochs[-1] else "–",
                measured(best[_SCORE]) if best else "–",
                count(best[_EPOCH]) if best else "–",
                number(sum(each.get(_SECONDS, 0.0) for each in epochs), 0),
            )
        )
    headings = ("training", "epochs", "loss at the end", "best score", "in epoch", "seconds")
    return Table(caption="Trainings", headings=headings, rows=tuple(rows))
