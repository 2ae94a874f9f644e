"""How the input of a network without a bundle is prepared, and what its output means, as the card declares it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from node.domain.filters import filter_of

_FORBID = {"extra": "forbid"}
#: Least and greatest magnification of a view.
MAGNIFIED = (0.5, 2.0)


class Values(StrEnum):
    """What is done to the values of a volume before a network sees it."""

    #: Nothing.
    NONE = "none"
    #: `window` becomes 0 to 1; what lies outside is held at its ends.
    WINDOW = "window"
    #: Least and greatest value of the volume become 0 and 1.
    STRETCH = "stretch"
    #: Mean 0 and standard deviation 1, over the volume.
    ZSCORE = "zscore"
    #: The same over what is not zero.
    ZSCORE_NONZERO = "zscore-nonzero"


class Fit(StrEnum):
    """How what is read comes to the size that a classifier asks for."""

    #: Resized; shrinking averages what each pixel covers. The sides are stretched each for itself.
    AREA = "area"
    #: Resized by linear interpolation.
    LINEAR = "linear"
    #: Cut around the middle after all else, or filled up with 0: neither distances nor values change.
    CROP = "crop"


class Crop(StrEnum):
    """What is cut off before all else but turning."""

    #: Nothing.
    NONE = "none"
    #: Margins that show nothing.
    CONTENT = "content"


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """The `[preparation]` table of a card. Axes are those of the network, in the order of `axes`.

    Single images have no `axes`, spacing or patch: the network sees (row, column).
    """

    __pydantic_config__ = _FORBID

    #: Axes of the network's input, one letter each: "RAS" runs towards right, anterior, superior.
    axes: str = "RAS"
    crop: Crop = Crop.NONE
    #: Spacing that the network was trained at; empty keeps that of the series.
    spacing_mm: tuple[float, ...] = ()
    values: Values = Values.NONE
    #: Lowest and highest value, in the unit of the images (HU in CT), where `values` is "window".
    window: tuple[float, ...] = ()
    #: One after the other, each with its number: "clahe:2", "median:3" (see `filters`). At the spacing and size that
    #: the network sees, after "window" or "stretch", before "zscore" and `mean`.
    filters: tuple[str, ...] = ()
    #: Taken off each channel after `values`, and what it is divided by then: one number, or one a channel.
    mean: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()
    #: Of a classifier: what it is given at once, (row, column) or in the order of `axes`; empty: as large as it is.
    size: tuple[int, ...] = ()
    fit: Fit = Fit.AREA
    #: Of single images, 1 or 3: grey ones are given three times, where it is 3.
    channels: int = 1
    #: Voxels that the network sees at once; empty: the whole volume in one piece.
    patch: tuple[int, ...] = ()
    #: Share that neighbouring patches have in common.
    overlap: float = 0.25
    #: Weight of overlapping patches: "gaussian" or "constant".
    blend: str = "gaussian"
    #: Patches in one batch; 1 where the file was exported with a fixed batch.
    batch: int = 1
    #: What turns the network's numbers into shares: "softmax", "sigmoid", or "none" where the file does so itself.
    #: Of a classifier "softmax" over all its numbers, or "sigmoid" of each.
    activation: str = "softmax"
    #: Axes of the network's input, 0 is the first: it is also shown mirrored along each, and the shares are averaged.
    flips: tuple[int, ...] = ()
    #: Of a classifier: what it is shown of its input, each around the middle, as (share of the sides, magnification);
    #: the shares are averaged. Empty: all of it, as it is.
    views: tuple[tuple[float, float], ...] = ()
    #: From which share on a voxel belongs to its segment, where the activation is "sigmoid".
    threshold: float = 0.5
    #: Of each segment only the largest connected part is kept.
    largest: bool = False

    def __post_init__(self) -> None:
        """Check what is written as text.

        Raises:
            ValueError: there is no such filter.
        """
        for each in self.filters:
            filter_of(each)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The `[architecture]` table: a network of MONAI that weights alone are put into."""

    __pydantic_config__ = _FORBID

    #: Its name, such as "UNet" or "monai.networks.nets.SegResNet".
    name: str
    arguments: dict[str, Any] = field(default_factory=dict)
