"""What a model makes of images in colour."""

from __future__ import annotations

from enum import StrEnum


class Colour(StrEnum):
    """How images reach a model that needs no volume."""

    #: Images in colour are not read.
    REFUSED = "refused"
    #: As grey values; of images in colour their brightness.
    GREY = "grey"
    #: As red, green and blue; grey images as they ask to be shown, three times the same.
    RGB = "rgb"
