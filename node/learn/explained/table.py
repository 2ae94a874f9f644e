"""The `[explanations]` table of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

_FORBID: Any = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explaining:
    """How much is measured of a classifier's explanations once it is judged; it changes no weight and no answer."""

    __pydantic_config__: ClassVar = _FORBID

    #: So many of the cases that judge it are explained by every method, as many of each class; 0: none.
    cases: Annotated[int, Field(ge=0)] = 12
    #: What is not measured after so many minutes is left out, and that is told.
    minutes: Annotated[float, Field(gt=0)] = 4.0
