"""What is looked at before a model is believed: gates on the pixels of its input, and doubt about its output."""

from __future__ import annotations

from dataclasses import dataclass

_FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One figure of the input that has to lie in a range; outside, the model does not read, and the reason says so."""

    __pydantic_config__ = _FORBID

    #: Name of a figure of `node/imaging/gates`.
    figure: str
    at_least: float | None = None
    at_most: float | None = None
    #: Said to the reader; `{value}` is the figure found.
    because: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertainty:
    """How often the model is asked in another way, and from which disagreement on its answer is doubtful."""

    __pydantic_config__ = _FORBID

    #: "flips" (test-time augmentation) or "ensemble" (the weights of several roles).
    method: str = "flips"
    #: Axes (0 slice, 1 row, 2 column of what the network sees) along which the input is mirrored, singly and together.
    axes: tuple[int, ...] = (0, 1, 2)
    #: From this on (coefficient of variation of a volume, standard deviation of a probability) the finding says so.
    doubtful_from: float | None = None
