"""Ways to make a model beside one another: what each changed, and what it came to. Parts of a report.

`comparison.json` in the folder of a run holds them as a list: an ablation, a search, one path beside another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from node.errors import Misconfigured
from node.learn.checkpoint import write_whole
from node.learn.evaluate.figures import Figure

#: Name of the file in the folder of a run.
FILE_NAME = "comparison.json"
_FORBID: Any = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One of the ways."""

    __pydantic_config__: ClassVar = _FORBID

    #: What it is called, such as "without mix-up".
    name: str
    #: What it has another way than the first row: "table.key" of the recipe → value, both in words; empty: nothing.
    changes: dict[str, str] = field(default_factory=dict)
    #: Named as those of an evaluation (`evaluation`), or for what they are: "cpu_minutes". Not every row has them all.
    figures: dict[str, Figure] = field(default_factory=dict)
    #: Whether it is the way that became the model.
    is_chosen: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One table of ways."""

    __pydantic_config__: ClassVar = _FORBID

    title: str
    #: What a reader has to know: on which cases it was judged, with what budget.
    text: str = ""
    #: The first is what the others are held against.
    rows: tuple[Row, ...] = ()


_COMPARISONS: TypeAdapter[tuple[Comparison, ...]] = TypeAdapter(tuple[Comparison, ...])


def write_comparisons(file: Path, comparisons: Sequence[Comparison]) -> None:
    """Write them, whole or not at all; what stood there is gone."""
    document = _COMPARISONS.dump_json(tuple(comparisons), indent=1).decode() + "\n"
    write_whole(file, lambda path: path.write_text(document, encoding="utf-8"))


def put_comparison(file: Path, comparison: Comparison) -> None:
    """Put one among those that stand, in the place of the one with its title.

    Raises:
        Misconfigured: what stands is no comparison.
    """
    others = [each for each in read_comparisons(file) if each.title != comparison.title]
    write_comparisons(file, [*others, comparison])


def read_comparisons(file: Path) -> tuple[Comparison, ...]:
    """Read them; none where there is no file.

    Raises:
        Misconfigured: it cannot be read, or is no comparison.
    """
    if not file.exists():
        return ()
    try:
        return _COMPARISONS.validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        problem = str(error).splitlines()[0]
        raise Misconfigured(file, "", f"is no comparison: {problem}", "Remove it, and compare again") from error
