"""A model's validation cases: NIfTI images in a folder beside its card, by which its engines are judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from node.domain.geometry import Grid
from node.errors import Misconfigured
from node.imaging.volume import Volume

_ENDING = ".nii.gz"
#: RAS → LPS, and (column, row, slice) → (slice, row, column).
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
_ORDER = [2, 1, 0, 3]


def case_files(folder: Path, validation: str) -> list[Path]:
    """Return the files of the cases in `validation`, a folder beside the card; none where the card names none.

    Raises:
        Misconfigured: the folder is not there, is outside of the model's, or is empty.
    """
    if not validation:
        return []
    place = (folder / validation).resolve()
    files = sorted(place.glob(f"*{_ENDING}")) if place.is_relative_to(folder.resolve()) else []
    if not files:
        problem = f"there is no {_ENDING} file in {place}"
        raise Misconfigured(folder / "model.toml", "validation", problem, "Put cases there, then trust the model anew")
    return files


def read_case(file: Path) -> list[Volume]:
    """Read one case: a volume, or several that are read together where the image has a fourth axis.

    Raises:
        Misconfigured: the file is no such image.
    """
    try:
        image: Any = nibabel.load(file)
        affine = np.asarray(image.affine, dtype=np.float64)
        values = np.asanyarray(image.dataobj)
    except (OSError, ValueError, EOFError, nibabel.filebasedimages.ImageFileError) as error:
        raise Misconfigured(file, "", f"is no NIfTI image ({error})", "Replace it") from error
    if values.ndim not in (3, 4) or min(values.shape) < 1:
        raise Misconfigured(file, "", f"has the shape {values.shape}", "Give (column, row, slice) or one axis more")
    matrix = (_FLIP @ affine)[:, _ORDER]
    rows = tuple((float(row[0]), float(row[1]), float(row[2]), float(row[3])) for row in matrix)
    parts = [values] if values.ndim == 3 else [values[..., place] for place in range(values.shape[3])]
    volumes = []
    for part in parts:
        array = np.ascontiguousarray(part.T)
        array = array.astype(np.int16 if array.dtype == np.int16 else np.float32, copy=False)
        slices, height, width = array.shape
        volumes.append(Volume(array, Grid((slices, height, width), rows), ()))
    return volumes
