"""The `[detection]` table of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

_FORBID: Any = {"extra": "forbid"}
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detecting:
    """What a detector learns from, and which of its boxes stand."""

    __pydantic_config__: ClassVar = _FORBID

    #: Loss of the boxes: "smooth-l1" of their offsets, or "giou" of the boxes themselves.
    box_loss: Literal["smooth-l1", "giou"] = "smooth-l1"
    #: Anchors that may be a box's, of each level and shape (Zhang et al., ATSS, CVPR 2020).
    candidates: Count = 4
    #: Anchors of an image that are learnt from, and which share of them is to lie on boxes at most.
    sampled: Count = 64
    positive: Annotated[float, Field(gt=0, lt=1)] = 0.3
    #: The others are drawn from so many times as many of those that look most like a box.
    pool: Annotated[float, Field(ge=1)] = 20.0
    #: Boxes with lower scores are no boxes.
    score: Share = 0.05
    #: Of two boxes that overlap by more than this, intersection over union, the one with the lower score goes.
    overlap: Share = 0.3
    #: Boxes of an image.
    most: Count = 100
