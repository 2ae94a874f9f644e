"""Filters that an image goes through before a network sees it: a closed list, each with one number."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a filter does."""

    #: Contrast evened out tile by tile; the number is how far a tile's histogram may rise over its mean.
    CLAHE = "clahe"
    #: Blurred; the number is the standard deviation in pixels.
    GAUSSIAN = "gaussian"
    #: The middle one of the values around each; the number is the side of the window in pixels, odd.
    MEDIAN = "median"
    #: Blurred, but not across edges; the number is the standard deviation in pixels.
    BILATERAL = "bilateral"
    #: Noise is taken off by total variation; the number is how much, as a share of the image's span.
    DENOISE = "denoise"


#: Least, usual and greatest number of each.
RANGES = {
    Kind.CLAHE: (1.0, 2.0, 100.0),
    Kind.GAUSSIAN: (0.1, 1.0, 20.0),
    Kind.MEDIAN: (3.0, 3.0, 15.0),
    Kind.BILATERAL: (0.5, 1.0, 5.0),
    Kind.DENOISE: (0.001, 0.05, 10.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One filter."""

    kind: Kind
    strength: float


def filter_of(text: str) -> Filter:
    """Read a filter as cards and recipes write it: "clahe", or "median:5".

    Raises:
        ValueError: there is no such filter, or its number is out of range; says what there is.
    """
    name, colon, number = text.partition(":")
    if name not in set(Kind):
        raise ValueError(f'there is no filter "{name}": choose of {", ".join(Kind)}')
    kind = Kind(name)
    low, usual, high = RANGES[kind]
    try:
        strength = float(number) if colon else usual
    except ValueError:
        raise ValueError(f'"{text}": write a number after the colon, such as {kind}:{usual:g}') from None
    if not low <= strength <= high:
        raise ValueError(f'"{text}": the number is {low:g} to {high:g}')
    if kind is Kind.MEDIAN and strength % 2 != 1:
        raise ValueError(f'"{text}": a window has an odd number of pixels a side')
    return Filter(kind=kind, strength=strength)
