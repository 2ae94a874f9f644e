"""What can be wrong with a study of the night, and how its first voxel says so. Imports nothing large."""

from __future__ import annotations

from enum import StrEnum

#: What the network takes, and from which value it calls a voxel bright.
MODEL_S, BRIGHT = 0.05, 500
#: (slice, row, column) of a study, and the bytes of a slice.
SHAPE = (3, 16, 16)
PIXEL_BYTES = 16 * 16 * 2


class Poison(StrEnum):
    """What is wrong with a study."""

    SEGFAULT = "segfault"
    HANG = "hang"
    EXIT = "os._exit"
    NAN = "NaN"
    MEMORY = "out of memory"
    MODALITY = "wrong modality"

    @property
    def code(self) -> int:
        """The value of the first voxel of such a study; those of a healthy one are below 1000."""
        return 1001 + list(Poison).index(self)
