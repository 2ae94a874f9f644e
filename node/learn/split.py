"""Which case is trained on, which chooses, which judges: written down, so that it can be looked at and repeated."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from node.errors import Misconfigured

#: Name of the split's file beside a recipe.
FILE_NAME = "split.json"
_FORBID: Any = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fold:
    """One training's parts, by the keys of the cases."""

    __pydantic_config__: ClassVar = _FORBID

    train: tuple[str, ...]
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """All folds of a data set, and the groups that were kept together."""

    __pydantic_config__: ClassVar = _FORBID

    #: How it was made, in words, with the seed.
    method: str
    #: SHA-256 over the keys, labels and pixels of the cases: another data set has another one.
    dataset_digest: str
    folds: tuple[Fold, ...]
    #: Key → group, of the cases that share theirs with another.
    groups: dict[str, str] = field(default_factory=dict)
    #: Keys of cases in no part: they belong to a group that an official part holds.
    left_out: tuple[str, ...] = ()


_SPLIT: TypeAdapter[Split] = TypeAdapter(Split)


def read_split(file: Path) -> Split:
    """Read a split.

    Raises:
        Misconfigured: it cannot be read, or is none.
    """
    try:
        return _SPLIT.validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        problem = str(error).splitlines()[0]
        raise Misconfigured(file, "", f"is no split: {problem}", "Make it anew: matins train --dry-run") from error


def split_text(split: Split) -> str:
    """Write a split as JSON, one key a line, so that a change of it can be read."""
    return _SPLIT.dump_json(split, indent=1).decode() + "\n"
