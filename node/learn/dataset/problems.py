"""What is wrong with a data set, by name: collected first, then told together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar

from node.errors import Misconfigured

_FORBID: Any = {"extra": "forbid"}
#: So many names are told of each problem; the others are counted.
_NAMED = 5


class Gravity(StrEnum):
    """What a problem means for a training."""

    #: None begins before it is mended.
    ERROR = "error"
    #: It can begin; the report says so.
    WARNING = "warning"
    #: Worth knowing.
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One kind of fault, and all cases, files or classes that have it."""

    __pydantic_config__: ClassVar = _FORBID

    #: In words, such as "without a label".
    fault: str
    #: Keys of cases, files or classes, with what is said of each.
    names: tuple[str, ...]
    #: What a person can do.
    remedy: str
    gravity: Gravity = Gravity.ERROR

    @property
    def text(self) -> str:
        """One sentence: what, how many, and the names of the first."""
        more = len(self.names) - _NAMED
        named = ", ".join(self.names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        return f"{self.fault} ({len(self.names)}): {named}" if self.names else self.fault


def refuse(source: Path, problems: Iterable[Problem]) -> None:
    """Say all errors among the problems at once.

    Raises:
        Misconfigured: there is an error among them; names the data set, the fault, the cases and the remedy.
    """
    errors = [problem for problem in problems if problem.gravity is Gravity.ERROR]
    if not errors:
        return
    if len(errors) == 1:
        raise Misconfigured(source, "", errors[0].text, errors[0].remedy)
    lines = "".join(f"\n  {number}. {each.text}. {each.remedy}" for number, each in enumerate(errors, 1))
    raise Misconfigured(source, "", f"{len(errors)} problems", f"Mend them all before a training:{lines}")
