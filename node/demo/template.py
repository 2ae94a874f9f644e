"""The MNI152 T1 template as nilearn carries it, and its voxels on the grids that a scanner might choose.

The template (ICBM 2009a symmetric, 1 mm; Fonov 2011) is an average of 152 brains: no patient. nilearn's copy has
the skull and scalp removed, so what is seen is a brain, not a whole head.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from node.demo import nifti
from node.errors import Misconfigured

_REQUIREMENT = "nilearn==0.14.1"
_FOLDER = "nilearn/datasets/data"
_FULL_SCALE = 255
#: RAS+ → LPS: the first two axes point the other way (PS3.3 §C.7.6.2.1.1).
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, slots=True)
class Image:
    """Voxels and where they lie.

    voxels: (slice, row, column), any type.
    affine: 4×4 float64, index (slice, row, column, 1) → LPS mm.
    """

    voxels: NDArray[np.generic]
    affine: NDArray[np.float64]


def t1() -> Image:
    """Return the T1 template, uint8 0–255, zero outside the brain, on the file's own axes.

    Raises:
        Misconfigured: nilearn is not installed, or its file cannot be read.
    """
    return _read("t1")


def grey_and_white_matter(threshold: float = 0.5) -> Image:
    """Return the template's own tissue mask (bool): grey + white matter probability ≥ `threshold`, on the grid of `t1`.

    Raises:
        Misconfigured: nilearn is not installed, or its files cannot be read.
    """
    grey, white = _read("gm"), _read("wm")
    total = grey.voxels.astype(np.uint16) + white.voxels.astype(np.uint16)
    return Image(total >= threshold * _FULL_SCALE, grey.affine)


def reordered(image: Image, axes: tuple[int, int, int], reverse: tuple[bool, bool, bool]) -> Image:
    """Return the same voxels with `axes` of `image` as slice, row and column, each run backwards where said."""
    voxels = image.voxels.transpose(axes)
    affine = image.affine[:, (*axes, 3)]
    for axis, backwards in enumerate(reverse):
        if backwards:
            affine = affine.copy()
            affine[:, 3] += affine[:, axis] * (voxels.shape[axis] - 1)
            affine[:, axis] *= -1
            voxels = np.flip(voxels, axis)
    return Image(voxels, affine)


def sagittal(image: Image) -> Image:
    """Sagittal slices from right to left, rows to posterior, columns to inferior; exact, `image` in the file's axes."""
    return reordered(image, (0, 2, 1), (True, True, True))


def axial(image: Image) -> Image:
    """Axial slices from inferior to superior, rows to the patient's left, columns to posterior; exact."""
    return reordered(image, (2, 1, 0), (False, True, True))


def coronal(image: Image) -> Image:
    """Coronal slices from anterior to posterior, rows to the patient's left, columns to inferior; exact."""
    return reordered(image, (1, 2, 0), (True, True, True))


def tilted_coronal(image: Image, degrees: float, slice_spacing_mm: float) -> Image:
    """Coronal slices tilted about the left-right axis through the centre, resampled bilinearly.

    The in-plane grid stays that of `coronal` (1 mm); what falls outside the template is 0. Voxels are float32.
    """
    straight = coronal(image)
    depth, height, width = straight.voxels.shape
    count = int((depth - 1) / slice_spacing_mm) + 1
    angle = np.deg2rad(degrees)
    centre = np.array([(depth - 1) / 2, (height - 1) / 2])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    step = turn @ np.diag([slice_spacing_mm, 1.0])
    origin = centre - step @ [(count - 1) / 2, (height - 1) / 2]
    index = np.indices((count, height)).reshape(2, -1)
    wanted = step @ index + origin[:, None]
    padded = np.zeros((depth + 2, height + 2, width), np.float32)
    padded[1:-1, 1:-1] = straight.voxels
    result = _bilinear(padded.reshape(-1, width), (depth, height), wanted)
    affine = straight.affine.copy()
    affine[:3, 3] += straight.affine[:3, :2] @ origin
    affine[:3, :2] = straight.affine[:3, :2] @ step
    return Image(result.reshape(count, height, width), affine)


def _bilinear(
    padded_lines: NDArray[np.float32], shape: tuple[int, int], wanted: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Interpolate whole lines: `padded_lines` (slice × row, column) has one empty line around `shape`."""
    limit = np.array(shape)[:, None]
    inside = np.clip(wanted, -1.0, limit.astype(np.float64))
    low = np.minimum(np.floor(inside).astype(np.int64), limit - 1)
    part = (inside - low).astype(np.float32)
    result = np.zeros((wanted.shape[1], padded_lines.shape[1]), np.float32)
    for first in (0, 1):
        for second in (0, 1):
            weight = (part[0] if first else 1 - part[0]) * (part[1] if second else 1 - part[1])
            line = (low[0] + 1 + first) * (shape[1] + 2) + low[1] + 1 + second
            result += weight[:, None] * padded_lines[line]
    return result


def _read(tissue: str) -> Image:
    voxels, affine = nifti.read(_path(f"mni_icbm152_{tissue}_tal_nlin_sym_09a_converted.nii.gz"))
    return Image(voxels, _RAS_TO_LPS @ affine)


def _path(name: str) -> Path:
    """The data file inside the installed distribution; nilearn, whose dependencies are absent, is never imported."""
    try:
        return Path(str(distribution("nilearn").locate_file(f"{_FOLDER}/{name}")))
    except PackageNotFoundError as error:
        raise Misconfigured(
            "nilearn", "", "the package with the template is not installed", f"pip install --no-deps {_REQUIREMENT}"
        ) from error
