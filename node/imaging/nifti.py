"""Masks as NIfTI, for the tools of researchers."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray

from node.domain.geometry import Grid
from node.errors import Failed
from node.imaging.mask import read_mask
from node.imaging.saliency import Saliency

#: NIfTI-1 `xform` code: coordinates of the scanner.
_SCANNER = 1
#: LPS mm to RAS mm: x and y change their sign.
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def export_mask(mask_file: Path, target: Path) -> None:
    """Write a mask as gzipped NIfTI-1: uint8 labels, (column, row, slice), on the grid of the source series.

    The same mask gives the same bytes.

    Raises:
        Failed: the mask is gone or damaged, or has no place in the patient.
    """
    mask = read_mask(mask_file)
    if mask.grid is None:
        raise Failed("the mask lies on images that do not say where they lie in the patient: NIfTI needs that")
    write(mask.labels, mask.grid, target)


def export_saliency(saliency: Saliency, target: Path) -> None:
    """Write a map as `export_mask` writes a mask: float32 weights, 0 to 1.

    Raises:
        Failed: it has no place in the patient.
    """
    if saliency.grid is None:
        raise Failed("the map lies on an image that does not say where it lies in the patient: NIfTI needs that")
    write(saliency.weights, saliency.grid, target)


def write(values: NDArray[Any], grid: Grid, target: Path) -> None:
    """Write values (slice, row, column) as gzipped NIfTI-1 of their own type: the same give the same bytes."""
    voxels = np.ascontiguousarray(values.transpose(2, 1, 0))
    image: Any = nibabel.Nifti1Image(voxels, ras_affine(grid.matrix))  # type: ignore[no-untyped-call]
    image.header.set_data_dtype(values.dtype)
    image.header.set_xyzt_units("mm")
    image.set_sform(image.affine, code=_SCANNER)
    image.set_qform(image.affine, code=_SCANNER)
    target.write_bytes(gzip.compress(image.to_bytes(), mtime=0))


def ras_affine(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """From index (slice, row, column, 1) → LPS mm to index (column, row, slice, 1) → RAS mm; 4×4 float64 both."""
    return _LPS_TO_RAS @ affine[:, [2, 1, 0, 3]]
