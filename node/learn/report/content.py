"""A report as a value: sections of sentences, tables, plots and pictures. Page and print say the same of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from node.learn.evaluate.figures import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number as it is, and as it is written."""

    value: float
    text: str


#: What stands in one cell of a table.
Cell = str | Number


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A paragraph."""

    text: str
    #: Whether a reader must not pass over it.
    warns: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table; the first cell of a row is its heading."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    #: Columns of numbers, from this one on.
    numbers_from: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """Something drawn of numbers."""

    #: What is seen, for those who do not see it.
    alt: str
    caption: str
    draw: Callable[[Axes], None]
    #: Width and height in inches.
    inches: tuple[float, float] = (4.6, 3.4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """An image with what is drawn over it."""

    alt: str
    caption: str
    png: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """Pictures that belong to one case, side by side, under its heading."""

    heading: str
    text: str
    pictures: tuple[Picture, ...]


Block = Text | Table | Plot | Gallery


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of a report."""

    #: Of its heading, in links.
    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All of it."""

    title: str
    #: What it is of, in one sentence.
    subtitle: str
    sections: tuple[Section, ...]


def number(value: float | None, digits: int = 3) -> Cell:
    """A number with so many digits after the point; a dash where it is not defined."""
    if value is None:
        return "–"
    # A minus in front of nothing is none.
    shown = value if round(value, digits) else 0.0
    return Number(value=value, text=f"{shown:.{digits}f}".replace("-", "−"))


def count(value: int) -> Cell:
    """A whole number."""
    return Number(value=value, text=str(value))


def measured(value: float) -> Cell:
    """A number of any size, with four digits that count."""
    return Number(value=value, text=f"{value:.4g}".replace("-", "−"))


def figure_headings(seeds: Sequence[int]) -> tuple[str, ...]:
    """The columns that `figure_cells` fills."""
    several = len(seeds) > 1
    names = ("mean of the seeds" if several else "value", "95 % from", "to")
    return (*names, "spread of the seeds", *(f"seed {seed}" for seed in seeds)) if several else names


def figure_cells(figure: Figure, seeds: Sequence[int], digits: int = 3) -> tuple[Cell, ...]:
    """A figure with its interval and, of several seeds, their spread and each of them."""
    cells = tuple(number(each, digits) for each in (figure.value, figure.low, figure.high))
    if len(seeds) < 2:
        return cells
    each_seed = [*figure.seeds, *(None for _ in seeds)][: len(seeds)]
    return (*cells, number(figure.spread, digits), *(number(each, digits) for each in each_seed))
