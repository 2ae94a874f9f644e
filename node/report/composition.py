"""From evidence to the bytes of every output asked for."""

from __future__ import annotations

import logging
import struct
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO

from pydicom import Dataset, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

from node.report.evidence import Evidence
from node.report.outputs import Output, in_order

#: (7FE0,0010)
_PIXEL_DATA = 0x7FE00010
_LIBRARIES = ("highdicom", "pydicom")


def compose(
    evidence: Evidence, kinds: Iterable[str], available: Mapping[str, Output], given: Mapping[str, Dataset]
) -> dict[str, Dataset]:
    """Build `kinds` and what they refer to, except what is `given` already; return the new ones by kind.

    Raises:
        Failed: the evidence cannot be written as one of the outputs; nothing is returned.
    """
    known = dict(given)
    new = {}
    with _without_names_in_logs():
        for kind in in_order(kinds, available):
            if kind not in known:
                known[kind] = new[kind] = available[kind].build(evidence, known)
    return new


def parts(dataset: Dataset) -> tuple[bytes, ...]:
    """The dataset as a DICOM file (PS3.10 §7), in pieces: the last is the dataset's own native pixels, not a copy."""
    pixels = _native_pixels(dataset)
    with _without_names_in_logs():
        if pixels is None:
            return (_written(dataset),)
        head = dataset[:_PIXEL_DATA]
        head.file_meta = dataset.file_meta
        # As pydicom chooses where either is right (PS3.5 §A.2).
        representation = b"OW" if dataset.BitsAllocated > 8 else b"OB"
        element = struct.pack("<HH2sHI", _PIXEL_DATA >> 16, _PIXEL_DATA & 0xFFFF, representation, 0, len(pixels))
        return _written(head), element, pixels


def encode(dataset: Dataset) -> bytes:
    """The dataset as a DICOM file (PS3.10 §7)."""
    return b"".join(parts(dataset))


def _written(dataset: Dataset) -> bytes:
    stream = BytesIO()
    dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def _native_pixels(dataset: Dataset) -> bytes | None:
    """The pixels, where they stand last and as they are in memory (PS3.5 §A.2)."""
    if dataset.file_meta.TransferSyntaxUID != ExplicitVRLittleEndian or max(dataset.keys()) != _PIXEL_DATA:
        return None
    value = dataset[_PIXEL_DATA].value
    return value if isinstance(value, bytes) and len(value) % 2 == 0 else None


@contextmanager
def _without_names_in_logs() -> Iterator[None]:
    """Both libraries complain about values of the source by quoting them: names and IDs among them."""
    loggers = [logging.getLogger(name) for name in _LIBRARIES]
    before = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, before, strict=True):
                logger.setLevel(level)
