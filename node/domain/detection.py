"""How the boxes of a detector become findings."""

from __future__ import annotations

from dataclasses import dataclass

_FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """What is made of a detector's boxes; overlap is that of intersection and union, 0 to 1."""

    __pydantic_config__ = _FORBID

    #: Of two boxes of one target that overlap more than this, the one with the lower number goes.
    suppressed_from: float = 0.3
    #: Boxes on neighbouring images that overlap at least so much are one finding; `None`: each is one of its own.
    linked_from: float | None = None
    #: Findings of one target at most, those with the highest numbers; that there were more is said.
    most: int = 20
