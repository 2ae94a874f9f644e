"""Pixels out of files: pictures by pillow, volumes by nibabel."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from node.domain.geometry import Grid
from node.errors import Misconfigured
from node.imaging.volume import Volume

Picture = NDArray[np.uint8] | NDArray[np.int16] | NDArray[np.float32]

#: Endings of pictures, in lower case.
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
VOLUMES = (".nii", ".nii.gz")
_REMEDY = "Replace the file, or take it out of the data set"
#: RAS → LPS, and (column, row, slice) → (slice, row, column).
_FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])
_ORDER = [2, 1, 0, 3]
#: EXIF's tag of how a picture is turned, and the values by which its sides change places.
_ORIENTATION, _SIDEWAYS = 0x0112, {5, 6, 7, 8}
#: What pillow and nibabel raise over damaged files (pillow: SyntaxError over broken PNG chunks).
_DAMAGE = (
    OSError,
    EOFError,
    ValueError,
    SyntaxError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def is_picture(file: Path) -> bool:
    """Whether it ends like a picture that can be read, and is not hidden."""
    return file.suffix.lower() in PICTURES and not file.name.startswith(".")


def is_volume(file: Path) -> bool:
    """Whether it ends like NIfTI, and is not hidden."""
    return file.name.lower().endswith(VOLUMES) and not file.name.startswith(".")


def stem(file: Path) -> str:
    """The name without its ending: also ".nii.gz" is one."""
    return file.name[: -len(".nii.gz")] if file.name.lower().endswith(".nii.gz") else file.stem


def read_picture(file: Path) -> Picture:
    """Read a picture: (row, column) or (row, column, 3); colours that are all grey become one channel.

    8-bit values stay uint8; wider ones become int16 where that holds them, else float32. A picture is turned as it
    asks to be shown (EXIF orientation); what is transparent counts as its colour.

    Raises:
        Misconfigured: it is damaged, or has several pages.
    """
    try:
        with Image.open(file) as opened:
            if getattr(opened, "n_frames", 1) != 1:
                raise ValueError(f"it has {opened.n_frames} pages")  # type: ignore[attr-defined]
            opened.load()
            turned = ImageOps.exif_transpose(opened)
            return _values(turned)
    except _DAMAGE as error:
        raise Misconfigured(file, "", f"cannot be decoded: {_first_line(error)}", _REMEDY) from error


def _values(picture: Image.Image) -> Picture:
    if picture.mode in ("I", "F", "I;16", "I;16L", "I;16B"):
        wide = np.asarray(picture)
        if wide.dtype.kind == "f" or wide.min() < -(2**15) or wide.max() >= 2**15:
            return wide.astype(np.float32)
        return wide.astype(np.int16)
    if picture.mode in ("L", "1", "LA"):
        return np.array(picture.convert("L"))
    colours = np.array(picture.convert("RGB"))
    is_grey = bool((colours[..., 0] == colours[..., 1]).all() and (colours[..., 0] == colours[..., 2]).all())
    return np.ascontiguousarray(colours[..., 0]) if is_grey else colours


def read_label_picture(file: Path) -> NDArray[np.uint8]:
    """Read a mask: (row, column) uint8 label numbers, or 0 and 1 where it has no values but 0 and 255.

    Raises:
        Misconfigured: it is damaged or in colour.
    """
    try:
        with Image.open(file) as opened:
            opened.load()
            turned = ImageOps.exif_transpose(opened)
            # A palette's indices are the labels.
            labels: NDArray[Any] = np.array(turned) if turned.mode == "P" else np.asarray(_values(turned))
    except _DAMAGE as error:
        raise Misconfigured(file, "", f"cannot be decoded: {_first_line(error)}", _REMEDY) from error
    if labels.ndim != 2 or labels.min() < 0 or labels.max() > 255:
        raise Misconfigured(file, "", "is no mask: label numbers are grey and below 256", _REMEDY)
    labels = labels.astype(np.uint8)
    if labels.max() == 255 and not ((labels != 0) & (labels != 255)).any():
        labels = (labels != 0).astype(np.uint8)
    return labels


def read_region(file: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Read a mask as a region: what is lighter than half of the range, or of label numbers what is none of 0.

    Raises:
        Misconfigured: it is damaged or in colour, or has not this size (rows, columns).
    """
    labels = read_label_picture(file)
    if labels.shape != size:
        shapes = [" × ".join(map(str, shape)) for shape in (labels.shape, size)]
        problem = f"the mask is {shapes[0]}, but its image is {shapes[1]}"
        raise Misconfigured(file, "", problem, "Resample the mask to the grid of its image")
    # Edges that were smoothed, or packed as JPEG, are grey.
    return labels > (127 if labels.max(initial=0) > 127 else 0)


def size_of(file: Path) -> tuple[int, int]:
    """(rows, columns) of a picture as `read_picture` gives it, without decoding it.

    Raises:
        Misconfigured: it is damaged.
    """
    try:
        with Image.open(file) as opened:
            turned = opened.getexif().get(_ORIENTATION, 1) in _SIDEWAYS
            columns, rows = reversed(opened.size) if turned else opened.size
            return rows, columns
    except _DAMAGE as error:
        raise Misconfigured(file, "", f"cannot be decoded: {_first_line(error)}", _REMEDY) from error


def read_nifti(file: Path) -> Volume:
    """Read a NIfTI volume: (slice, row, column) int16 where it is stored so, else float32; its affine in LPS mm.

    Raises:
        Misconfigured: it is damaged, or does not have three axes.
    """
    try:
        image: Any = nibabel.load(file)
        affine = np.asarray(image.affine, dtype=np.float64)
        values = np.asanyarray(image.dataobj)
    except (*_DAMAGE, nibabel.filebasedimages.ImageFileError) as error:
        raise Misconfigured(file, "", f"cannot be decoded: {_first_line(error)}", _REMEDY) from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim != 3 or min(values.shape) < 1 or values.dtype.kind not in "biuf":
        shape = " × ".join(map(str, values.shape))
        raise Misconfigured(file, "", f"is {shape} of {values.dtype}: one volume of three axes is wanted", _REMEDY)
    if not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) == 0:
        raise Misconfigured(file, "", "its affine is singular: it does not say where voxels lie", _REMEDY)
    matrix = (_FLIP @ affine)[:, _ORDER]
    rows = tuple((float(row[0]), float(row[1]), float(row[2]), float(row[3])) for row in matrix)
    array = np.ascontiguousarray(values.T)
    array = array.astype(np.int16 if array.dtype in (np.int16, np.uint8, np.int8) else np.float32, copy=False)
    slices, height, width = array.shape
    return Volume(array, Grid((slices, height, width), rows), ())


def label_numbers(volume: Volume, file: Path) -> NDArray[np.uint8]:
    """Return the values of a label volume as uint8.

    Raises:
        Misconfigured: they are not whole numbers from 0 to 255.
    """
    labels = np.asarray(volume.array, dtype=np.float32)
    is_whole = bool(np.isfinite(labels).all()) and bool((labels == np.round(labels)).all())
    if not is_whole or labels.min() < 0 or labels.max() > 255:
        raise Misconfigured(file, "", "is no mask: labels are whole numbers from 0 to 255", _REMEDY)
    return labels.astype(np.uint8)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
