"""JPEG Lossless by first-order prediction (1.2.840.10008.1.2.4.70), which pydicom can read and cannot write."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGLosslessSV1

#: One five-bit code for each of the 17 categories of a difference (ITU-T T.81, Table H.2).
_CODE_BITS, _CATEGORIES = 5, 17


def frame(values: np.ndarray) -> bytes:
    """Encode (row, column) uint16 by selection value 1: the left neighbour, in the first column the upper one."""
    rows, columns = values.shape
    wide = values.astype(np.int64)
    predicted = np.empty_like(wide)
    predicted[:, 1:] = wide[:, :-1]
    predicted[1:, 0] = wide[:-1, 0]
    predicted[0, 0] = 1 << 15
    bits = "".join(_difference(int(each)) for each in (wide - predicted).ravel())
    bits += "1" * (-len(bits) % 8)
    coded = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")
    tables = bytes([0, *(_CATEGORIES if length == _CODE_BITS else 0 for length in range(1, 17)), *range(_CATEGORIES)])
    return (
        b"\xff\xd8"
        + _segment(0xC3, struct.pack(">BHHBBBB", 16, rows, columns, 1, 1, 0x11, 0))
        + _segment(0xC4, tables)
        + _segment(0xDA, bytes([1, 1, 0, 1, 0, 0]))
        + coded
        + b"\xff\xd9"
    )


def _difference(value: int) -> str:
    value = (value + (1 << 15)) % (1 << 16) - (1 << 15)
    category = abs(value).bit_length()
    code = f"{category:0{_CODE_BITS}b}"
    if category in (0, 16):
        return code
    return code + f"{value if value > 0 else value + (1 << category) - 1:0{category}b}"


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def compressed(files: list[Path], folder: Path) -> list[Path]:
    """Write monochrome 16-bit files anew as an archive keeps them: same UIDs, JPEG Lossless."""
    folder.mkdir()
    for file in files:
        dataset = dcmread(file)
        dataset.PixelData = encapsulate([frame(dataset.pixel_array)])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        dataset.save_as(folder / file.name, enforce_file_format=True)
    return sorted(folder.iterdir())
