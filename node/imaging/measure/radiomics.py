"""Radiomic features by PyRadiomics, which is an extra: pip install 'matins[radiomics]'."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from node.domain.geometry import Grid
from node.errors import Failed
from node.imaging.volume import Values

#: What is asked for where nothing else is said: intensities, shape, and the texture of grey levels side by side.
CLASSES = ("firstorder", "shape", "glcm")
_REMEDY = "install the extra: pip install -c constraints.txt 'matins[radiomics]'"


def features(
    array: Values,
    labels: NDArray[np.uint8],
    grid: Grid,
    segment_number: int,
    *,
    classes: Sequence[str] = CLASSES,
    bin_width: float = 25.0,
) -> dict[str, float]:
    """Return "class_Name" → value of one segment, as PyRadiomics names and defines them.

    array: (slice, row, column) rescaled values, on the grid of `labels`. Distances are in mm and volumes in mm³, in
    source geometry: nothing is resampled. `bin_width`, in the unit of the values, is that of the grey levels.

    Raises:
        Failed: the extra is not installed, or there is nothing that can be measured; the reason says which.
    """
    extractor, itk = _module("radiomics.featureextractor"), _module("SimpleITK")
    found = extractor.RadiomicsFeatureExtractor(binWidth=bin_width)
    found.disableAllFeatures()
    for name in classes:
        found.enableFeatureClassByName(name)
    image, mask = _image(itk, array, grid), _image(itk, labels, grid)
    try:
        told = found.execute(image, mask, label=segment_number)
    except ValueError as error:
        raise Failed(f"the features of segment {segment_number} cannot be computed: {error}") from error
    wanted = {key.removeprefix("original_"): value for key, value in told.items() if key.startswith("original_")}
    return {key: float(value) for key, value in wanted.items()}


def _module(name: str) -> ModuleType:
    """Import a module of the extra.

    Raises:
        Failed: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise Failed(f"radiomic features need {error.name or name}, which is not installed; {_REMEDY}") from error


def _image(itk: ModuleType, array: NDArray[np.generic], grid: Grid) -> object:
    """An array as an image of SimpleITK, where it lies in the patient; both speak LPS."""
    steps = grid.matrix[:3, [2, 1, 0]]
    lengths = np.linalg.norm(steps, axis=0)
    image = itk.GetImageFromArray(array)
    image.SetOrigin(grid.matrix[:3, 3].tolist())
    image.SetSpacing(lengths.tolist())
    image.SetDirection((steps / lengths).ravel().tolist())
    return image
