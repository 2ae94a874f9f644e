"""The `[export]` table of a recipe: which of the trained networks become the model."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import Field

_FORBID: Any = {"extra": "forbid"}


class Members(StrEnum):
    """Which networks become the model."""

    #: That of the first seed and fold.
    FIRST = "first"
    #: Those of all seeds of the first fold, their shares averaged.
    SEEDS = "seeds"
    #: Those of all folds of the first seed, their shares averaged.
    FOLDS = "folds"
    #: One more, trained on every case there is; the figures are those of the folds.
    WHOLE = "whole"
    #: The same with every seed, their shares averaged.
    WHOLE_SEEDS = "whole-seeds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporting:
    """The `[export]` table: what becomes of the trained networks."""

    __pydantic_config__: ClassVar = _FORBID

    members: Members = Members.FIRST
    #: Whether the report goes with the model: it shows pictures of cases.
    report: bool = False
    #: Largest size of the weights together, in half precision.
    largest_mb: Annotated[float, Field(gt=0)] = 10.0
