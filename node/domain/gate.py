"""What is looked at before a model is believed: gates on the pixels of its input, and doubt about its output."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

_FORBID = {"extra": "forbid"}


class Figure(StrEnum):
    """What a gate looks at; `node/imaging/gates` says how each is computed."""

    #: Share of the pixels that have the most common value: nearly 1 where the images are blank.
    MOST_COMMON_SHARE = "most_common_share"
    #: Distance between the 1st and the 99th percentile, in units of the values.
    SPREAD = "spread"
    #: Share of the pixels that are body, and not air or background.
    BODY_SHARE = "body_share"
    #: Largest share of body along one of the four edges of the images: much where the field of view cuts it off.
    CUT_SHARE = "cut_share"
    #: Share of the body that lies in the half towards the head, or on the upper half of images without a place.
    HEADWARD_SHARE = "headward_share"
    #: How far the intensities are from those of the training: root mean square of the percentiles' standard scores.
    INTENSITY_DISTANCE = "intensity_distance"


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """One percentile of the intensities over the cases of the training: its mean and standard deviation there."""

    __pydantic_config__ = _FORBID

    percentile: float
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One figure of the input that has to lie in a range; outside, the model does not read, and the reason says so."""

    __pydantic_config__ = _FORBID

    figure: Figure
    at_least: float | None = None
    at_most: float | None = None
    #: Said to the reader; `{value}` is the figure found.
    because: str = ""
    #: For "intensity_distance": what the training looked like.
    reference: tuple[Percentile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """How often the model is asked in another way, and from which disagreement on its answer is doubtful."""

    __pydantic_config__ = _FORBID

    #: "flips" (test-time augmentation: mirrored input) or "ensemble" (each weights file is one member).
    method: str = "flips"
    #: Axes along which the input is mirrored, singly and together: 0 slice, 1 row, 2 column; of images 1 and 2.
    axes: tuple[int, ...] = (0, 1, 2)
    #: From this on (coefficient of variation of a volume, standard deviation of a number) the finding says so.
    doubtful_from: float | None = None
