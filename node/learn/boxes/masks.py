"""Boxes out of masks: each connected part of a label is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from node.learn.case import Box, Case, Pixels

#: Parts with fewer pixels or voxels are slips of the pen.
LEAST = 2


def boxes_of(labels: NDArray[np.uint8], least: int = LEAST) -> tuple[Box, ...]:
    """Return the smallest upright box around each connected part of each label, the labels in their order.

    Parts that touch at a corner are one. Label 1 is class 0.

    Args:
        labels: (row, column) or (slice, row, column), 0 is background.
        least: pixels or voxels that a part has at least.
    """
    found = []
    corners = np.ones((3,) * labels.ndim, np.bool_)
    for label in np.unique(labels[labels > 0]).tolist():
        parts, _ = ndimage.label(labels == label, structure=corners)
        counts = np.bincount(parts.ravel())
        for number, place in enumerate(ndimage.find_objects(parts), 1):
            if counts[number] >= least:
                edges = tuple((float(axis.start), float(axis.stop)) for axis in place)
                found.append(Box(label=label - 1, edges=edges))
    return tuple(found)


class _Masked(Protocol):
    def read(self, case: Case) -> Pixels: ...


@dataclass(frozen=True, slots=True)
class Boxed:
    """Reads cases with masks as cases with boxes."""

    masked: _Masked

    def read(self, case: Case) -> Pixels:
        """Read one case.

        Raises:
            Misconfigured: a file of it is damaged.
        """
        found = self.masked.read(case)
        assert found.labels is not None
        return Pixels(volume=found.volume, image=found.image, boxes=boxes_of(found.labels))
