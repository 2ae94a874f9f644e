"""The content digest: the same image has the same one, however it is encoded.

Runs in the describing child alone. Digested are decoded pixels, and what identity, geometry and models read; not the
transfer syntax, the order, or anything else that a PACS may add or correct without touching the image. Of the patient
that is the ID alone: an archive that adds an issuer, a sex or a birth date, or writes a name in another character set,
has changed no image. Where such a value is not added but contradicts another, `workflow.identity` finds out.
"""

from __future__ import annotations

import hashlib
import json
import struct
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import as_pixel_options
from pydicom.uid import UID

from node.domain.study import Instance, Pixels
from node.receive.fields import MALFORMED, integer
from node.receive.header import element_at, encoding_of

_PIXEL_DATA = (0x7FE0, 0x0010)
_PIXEL_TAGS = frozenset({_PIXEL_DATA, (0x7FE0, 0x0008), (0x7FE0, 0x0009)})
_UNDEFINED = 0xFFFFFFFF
_LONGEST_ELEMENT_HEADER = 12
_CHUNK_BYTES = 1 << 20
#: What decoders raise on what they cannot decode.
_UNDECODABLE = (*MALFORMED, RuntimeError, OSError, EOFError, struct.error, MemoryError, ImportError)
#: Fields of an instance that are not its content.
_NOT_CONTENT = (
    *("transfer_syntax_uid", "order", "content_digest", "pixels", "patient", "rejects"),
    "lossy_image_compression",  # whether something was lost is seen in the pixels
)

#: Fields that descriptions of old have not: where they say nothing, the digest is what it was.
_SINCE = ("diffusion_b_value", "frames", "frame")
#: What tells the sides of an image apart that does not say where it lies; of another image nobody asks for it.
_OF_THE_UNPLACED = ("image_laterality", "patient_orientation")


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelValue:
    """Where the pixel data lies in its file."""

    tag: tuple[int, int]
    #: struct's sign for the byte order.
    order: str
    start: int
    #: `None` where it is encapsulated.
    length: int | None


def locate(stream: BinaryIO, transfer_syntax_uid: str) -> PixelValue | None:
    """Return where the pixel data starts, if the stream stands in front of it (PS3.5 §8.1)."""
    at = stream.tell()
    encoding = encoding_of(transfer_syntax_uid)
    try:
        element = element_at(stream.read(_LONGEST_ELEMENT_HEADER), 0, encoding)
    except struct.error:
        return None
    if element.tag not in _PIXEL_TAGS:
        return None
    length = None if element.length == _UNDEFINED else element.length
    return PixelValue(tag=element.tag, order=encoding.order, start=at + element.start, length=length)


def pixel_digest(
    stream: BinaryIO, header: Dataset, value: PixelValue, pixels: Pixels, *, deadline_s: float
) -> tuple[str, str]:
    """Return (SHA-256 over the decoded pixels, ""), or (over the bytes as they are, why they cannot be decoded).

    Frames are decoded one by one, until the monotonic clock reaches `deadline_s`.
    """
    if pixels.undecodable:
        return _as_it_is(stream, value), pixels.undecodable
    problem = _wrong_length(value, pixels)
    if problem:
        return _as_it_is(stream, value), problem
    if value.length is not None and (_is_plain(value, pixels) or _is_opaque(value, pixels)):
        return _native(stream, value, pixels, header), ""
    digest = hashlib.sha256()
    frames = 0
    try:
        for frame in _decoded(stream, header, value, pixels):
            for rows in _in_rows(frame):
                meant = rows if pixels.samples_per_pixel > 1 else _meaningful(rows, pixels, header)
                digest.update(np.ascontiguousarray(meant).data)
            frames += 1
            if time.monotonic() > deadline_s:
                return _as_it_is(stream, value), f"decoding takes too long ({frames} frames so far)"
    except _UNDECODABLE as error:
        return _as_it_is(stream, value), " ".join(str(error).split())[:300] or type(error).__name__
    if frames != pixels.number_of_frames:
        return _as_it_is(stream, value), f"{frames} frames where {pixels.number_of_frames} are told"
    return digest.hexdigest(), ""


def content_digest(instance: Instance, pixels_sha256: str) -> str:
    """SHA-256 over the pixels' digest and over what identity, geometry and models read."""
    described: dict[str, Any] = asdict(instance)
    for name in _NOT_CONTENT:
        del described[name]
    for name in _SINCE:
        if described[name] is None:
            del described[name]
    for name in _OF_THE_UNPLACED:
        if instance.plane is not None or instance.frames is not None or not described[name]:
            del described[name]
    described["patient_id"] = instance.patient.patient_id
    if instance.pixels is not None:
        described["pixels"] = asdict(instance.pixels)
        del described["pixels"]["undecodable"]
        if instance.pixels.samples_per_pixel > 1:
            # Colour is compared as RGB, and a codec may need another colour space (PS3.5 §8.2).
            del described["pixels"]["photometric_interpretation"]
    text = json.dumps([pixels_sha256, described], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _wrong_length(value: PixelValue, pixels: Pixels) -> str:
    """Why native pixel data is not what rows, columns and frames say; "" where it is, or cannot be told so easily."""
    if value.length is None:
        return ""
    if pixels.photometric_interpretation in ("YBR_FULL_422", "YBR_PARTIAL_422"):
        return ""
    bits = pixels.rows * pixels.columns * pixels.number_of_frames * pixels.samples_per_pixel * pixels.bits_allocated
    expected = (bits + 7) // 8
    if expected <= value.length <= expected + expected % 2:
        return ""
    return f"{value.length} bytes of pixel data where {expected} are told"


def _is_plain(value: PixelValue, pixels: Pixels) -> bool:
    """Monochrome, little endian, whole bytes: read as it is."""
    return (
        value.tag == _PIXEL_DATA
        and value.order == "<"
        and pixels.samples_per_pixel == 1
        and pixels.bits_allocated in (8, 16, 32)
    )


def _is_opaque(value: PixelValue, pixels: Pixels) -> bool:
    """Floats and bits, which nothing but a byte order could write otherwise."""
    return value.tag != _PIXEL_DATA or pixels.bits_allocated == 1


def _native(stream: BinaryIO, value: PixelValue, pixels: Pixels, header: Dataset) -> str:
    digest = hashlib.sha256()
    assert value.length is not None
    bits = pixels.rows * pixels.columns * pixels.number_of_frames * pixels.samples_per_pixel * pixels.bits_allocated
    left = min(value.length, (bits + 7) // 8)
    plain = _is_plain(value, pixels)
    stream.seek(value.start)
    while left > 0:
        chunk = stream.read(min(left, _CHUNK_BYTES))
        if not chunk:
            break
        left -= len(chunk)
        digest.update(_meaningful(np.frombuffer(chunk, _dtype(pixels)), pixels, header).data if plain else chunk)
    return digest.hexdigest()


def _decoded(stream: BinaryIO, header: Dataset, value: PixelValue, pixels: Pixels) -> Iterator[NDArray[Any]]:
    """Yield each frame: (row, column) as stored, or (row, column, sample) as RGB."""
    decoder = get_decoder(UID(header.file_meta.TransferSyntaxUID))
    stream.seek(value.start)
    colour = pixels.samples_per_pixel > 1
    options = as_pixel_options(header, pixel_keyword="PixelData")
    if value.order == ">":
        options["pixel_vr"] = "OB" if pixels.bits_allocated <= 8 and _is_byte_vr(stream, value) else "OW"
    for frame, _ in decoder.iter_array(stream, raw=not colour, validate=True, **options):
        yield frame if colour else frame.astype(_dtype(pixels), copy=False)


def _in_rows(frame: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The frame, some rows at a time: a copy of a large one would double what decoding needs."""
    rows = max(1, _CHUNK_BYTES // max(1, frame[:1].nbytes))
    for start in range(0, len(frame), rows):
        yield frame[start : start + rows]


def _is_byte_vr(stream: BinaryIO, value: PixelValue) -> bool:
    stream.seek(value.start - 8)
    vr = stream.read(2)
    stream.seek(value.start)
    return vr == b"OB"


def _dtype(pixels: Pixels) -> np.dtype[Any]:
    return np.dtype(f"<{'i' if pixels.pixel_representation else 'u'}{max(1, pixels.bits_allocated // 8)}")


def _meaningful(values: NDArray[Any], pixels: Pixels, header: Dataset) -> NDArray[Any]:
    """Keep Bits Stored bits up to the high bit, and extend the sign (PS3.5 §8.1.1): codecs drop the others."""
    high_bit = integer(header, "HighBit")
    top = pixels.bits_stored - 1 if high_bit is None else high_bit
    unused = pixels.bits_allocated - 1 - top
    below = top + 1 - pixels.bits_stored
    if unused < 0 or below < 0 or unused + below == 0:
        return values
    return (values << unused) >> (unused + below)


def _as_it_is(stream: BinaryIO, value: PixelValue) -> str:
    """SHA-256 over the value's bytes, encapsulated ones to the end of the file."""
    digest = hashlib.sha256()
    stream.seek(value.start)
    left = value.length
    while left is None or left > 0:
        chunk = stream.read(_CHUNK_BYTES if left is None else min(left, _CHUNK_BYTES))
        if not chunk:
            break
        digest.update(chunk)
        left = None if left is None else left - len(chunk)
    return digest.hexdigest()
