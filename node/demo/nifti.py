"""Read a NIfTI-1 volume: 348 bytes of header, then voxels; nothing that the demo does not need."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from node.errors import Misconfigured

#: NIfTI-1 `datatype` codes (nifti1.h) that are read, as NumPy type codes without byte order.
_DATATYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4"}
_HEADER_BYTES = 348
_MILLIMETRES = 2
_LARGEST_VOXEL_COUNT = 1 << 28
_LARGEST_OFFSET = 1 << 20


def read(path: Path) -> tuple[NDArray[np.generic], NDArray[np.float64]]:
    """Return (voxels, affine) of a single-file NIfTI-1 volume (`.nii` or `.nii.gz`).

    voxels: (i, j, k) in the file's type, or float64 where the file scales its values.
    affine: 4×4 float64, index (i, j, k, 1) → RAS+ mm (x to the right, y anterior, z superior), from the sform.

    Raises:
        Misconfigured: the file is absent, cut short, or not such a volume.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            header = stream.read(_HEADER_BYTES)
            order, shape, code, offset = _layout(path, header)
            voxel_type = np.dtype(order + code)
            stream.seek(offset)
            wanted = math.prod(shape) * voxel_type.itemsize
            content = stream.read(wanted)
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, str(error)) from error
    if len(content) != wanted:
        raise _unreadable(path, f"{len(content)} of {wanted} bytes of voxels are there")
    voxels = np.frombuffer(content, voxel_type).reshape(shape, order="F")
    slope, intercept = struct.unpack_from(order + "2f", header, 112)
    if slope and math.isfinite(slope) and (slope, intercept) != (1.0, 0.0):
        voxels = voxels * float(slope) + float(intercept)
    affine = np.eye(4)
    affine[:3] = np.array(struct.unpack_from(order + "12f", header, 280)).reshape(3, 4)
    return voxels, affine


def _layout(path: Path, header: bytes) -> tuple[str, tuple[int, ...], str, int]:
    """Byte order mark, shape, NumPy type code and offset of the voxels, in bytes."""
    if len(header) < _HEADER_BYTES or header[344:348] != b"n+1\0":
        raise _unreadable(path, "not a single-file NIfTI-1 image")
    order = "<" if struct.unpack_from("<i", header)[0] == _HEADER_BYTES else ">"
    dimensions = struct.unpack_from(order + "8h", header, 40)
    shape = tuple(dimensions[1:4])
    if dimensions[0] < 3 or any(size > 1 for size in dimensions[4 : dimensions[0] + 1]):
        raise _unreadable(path, f"{dimensions[0]} dimensions, not one volume")
    if min(shape) < 1 or math.prod(shape) > _LARGEST_VOXEL_COUNT:
        raise _unreadable(path, f"impossible shape {shape}")
    datatype = struct.unpack_from(order + "h", header, 70)[0]
    if datatype not in _DATATYPES:
        raise _unreadable(path, f"datatype {datatype} is not read here")
    if struct.unpack_from(order + "h", header, 254)[0] < 1:
        raise _unreadable(path, "no sform: where the voxels lie is not said")
    if header[123] & 7 not in (0, _MILLIMETRES):
        raise _unreadable(path, "lengths are not in millimetres")
    offset = struct.unpack_from(order + "f", header, 108)[0]
    if not _HEADER_BYTES <= offset <= _LARGEST_OFFSET:
        raise _unreadable(path, f"impossible offset of the voxels, {offset} (inside the header, or none)")
    return order, shape, _DATATYPES[datatype], int(offset)


def _unreadable(path: Path, problem: str) -> Misconfigured:
    return Misconfigured(path, "", problem, "Install the package that carries it again.")
