"""The `[radiomics]` table of a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

_FORBID: Any = {"extra": "forbid"}
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiomics:
    """What is measured in each region, what of it is kept, and what tells the classes apart by it."""

    __pydantic_config__: ClassVar = _FORBID

    #: Folder of masks beneath the data set, each under the path of its image; empty: masks lie beside their images,
    #: as NAME_mask.png.
    masks: str = ""
    #: Folder of an exported segmentation, beside the recipe, that draws the regions; empty: they are drawn already.
    model: str = ""
    #: Grey levels of the textures, between the least and the greatest value of a region.
    bins: Annotated[int, Field(ge=2, le=256)] = 32
    #: Features that follow the same order less than this when the region is a pixel wider are dropped; 0: none.
    stability: Share = 0.75
    #: Of two features that correlate by more than this, the one that tells less is dropped.
    correlated: Share = 0.95
    #: So many features are kept at most, but never more than one for five training cases of the rarest class.
    most: Annotated[int, Field(ge=1)] = 10
    #: "logistic", or with the extra `train` "forest" or "boosting".
    classifier: Literal["logistic", "forest", "boosting"] = "logistic"
    #: Weight of the squared coefficients beside the mean loss.
    penalty: Annotated[float, Field(gt=0)] = 0.05
