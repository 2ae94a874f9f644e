"""Explicit VR Little Endian by hand, for what an object has hundreds or thousands of (PS3.5 §7.1.2, §7.5).

Items and sequences have their lengths, as pydicom writes them; `raw` puts the bytes where pydicom reads them only if
somebody asks for them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from io import BytesIO

from pydicom import Dataset, dcmread, dcmwrite
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import BaseTag

_PADDING = {"UI": b"\0"}


def tag_of(keyword: str) -> BaseTag:
    """The tag of an attribute of the standard."""
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return BaseTag(tag)


def element(keyword: str, vr: str, value: bytes) -> bytes:
    """An element with a short length, padded to an even one."""
    tag = tag_of(keyword)
    if len(value) % 2:
        value += _PADDING.get(vr, b" ")
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def text(keyword: str, vr: str, *values: object) -> bytes:
    """An element of ASCII values: UI, CS, DS, IS."""
    return element(keyword, vr, "\\".join(str(value) for value in values).encode("ascii"))


def item(*content: bytes) -> bytes:
    """An item of a sequence."""
    inside = b"".join(content)
    return b"\xfe\xff\x00\xe0" + struct.pack("<I", len(inside)) + inside


def sequence(keyword: str, items: Iterable[bytes]) -> bytes:
    """An element of VR SQ."""
    tag, inside = tag_of(keyword), b"".join(items)
    return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, b"SQ", 0, len(inside)) + inside


def encoded(dataset: Dataset) -> bytes:
    """The elements of a dataset, as pydicom writes them."""
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = False, True
    write_dataset(stream, dataset)
    return stream.getvalue()


def reread(dataset: Dataset) -> Dataset:
    """The dataset as if it came from a file in Explicit VR Little Endian: what nobody asks for stays bytes."""
    stream = BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    stream.seek(0)
    return dcmread(stream)


def put(dataset: Dataset, keyword: str, items: bytes) -> None:
    """Give a dataset from `reread` a sequence of encoded items."""
    tag = tag_of(keyword)
    raw = RawDataElement(tag, "SQ", len(items), items, 0, is_implicit_VR=False, is_little_endian=True)
    dataset[tag] = raw
