"""The `[synthetic]` table of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field

_FORBID: Any = {"extra": "forbid"}
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthetic:
    """How many images a training is shown besides its own, and what draws them; left out, there are none."""

    __pydantic_config__: ClassVar = _FORBID

    #: Synthetic images for each real one of a class; 0: none.
    share: Annotated[float, Field(ge=0, le=10)] = 0.5
    #: Classes that are drawn, such as the rarest one; empty: all.
    classes: tuple[str, ...] = ()
    #: Images of one training at most.
    most: Count = 2000
    #: Rows or columns of a drawn image at most; it is enlarged to what the network sees.
    side: Annotated[int, Field(ge=8, le=128)] = 64
    #: Batches that the generative model learns from: what it costs depends on them, not on the number of cases.
    updates: Count = 600
    batch: Count = 16
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    #: Steps from noise to an image.
    steps: Count = 20
    #: Drawn images whose thumbnails correlate by more than this with one that was trained on are dropped, as copies.
    near_copy: Annotated[float, Field(gt=0, lt=1)] = 0.93
