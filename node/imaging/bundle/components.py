"""scikit-image's labelling of connected groups, by SciPy, where MONAI asks for it and it is not installed."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

#: Said with the result of a bundle that needs it.
NOTE = "connected groups of voxels were found with SciPy instead of scikit-image; they are the same"


def label(
    image: NDArray[Any], connectivity: int | None = None, return_num: bool = False
) -> NDArray[np.intp] | tuple[NDArray[np.intp], int]:
    """Number the groups of neighbours that share one value other than 0, in the order of their first voxel.

    `connectivity`: how many axes a step to a neighbour may move along; `None`: all of them.
    """
    structure = ndimage.generate_binary_structure(image.ndim, connectivity or image.ndim)
    labels = np.zeros(image.shape, dtype=np.intp)
    count = 0
    values = [value for value in np.unique(image) if value]
    for value in values:
        found, more = ndimage.label(image == value, structure)
        labels[found > 0] = found[found > 0] + count
        count += more
    if len(values) > 1:
        labels = _in_order(labels, count)
    return (labels, count) if return_num else labels


def _in_order(labels: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    seen, first = np.unique(labels, return_index=True)
    order = seen[np.argsort(first, kind="stable")]
    numbers = np.zeros(count + 1, dtype=np.intp)
    numbers[order[order > 0]] = np.arange(1, count + 1)
    renumbered: NDArray[np.intp] = numbers[labels]
    return renumbered


class _Measure:
    label = staticmethod(label)


def provide() -> bool:
    """Let MONAI label with SciPy where scikit-image is missing; return whether it was."""
    if importlib.util.find_spec("skimage"):
        return False
    from monai.transforms import utils

    utils.measure, utils.has_measure = _Measure, True
    return True
