"""A stored data set in another transfer syntax, for a destination that wants it so; nothing is lost by it."""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO

from pydicom import dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from node.deliver.stored import StoredHeader
from node.errors import Failed

EXPLICIT = str(ExplicitVRLittleEndian)
IMPLICIT = str(ImplicitVRLittleEndian)
DEFLATED = str(DeflatedExplicitVRLittleEndian)
#: Smaller data sets are not worth a context of their own, nor the time of both ends.
DEFLATED_ABOVE_BYTES = 256 << 10
#: Masks are long runs of the same byte: more effort finds little more.
_LEVEL = 6
#: RFC 1951 without a header around it (PS3.5 §A.5).
_RAW = -zlib.MAX_WBITS
#: What pydicom raises over elements that are not what they should be.
_UNREADABLE = (
    *(ValueError, TypeError, AttributeError, KeyError, EOFError, NotImplementedError, OverflowError, struct.error),
    *(BytesLengthException, InvalidDicomError),
)


def other_syntaxes(stored: StoredHeader, *, compress: bool) -> list[str]:
    """In what an object may be sent besides the syntax in which it is stored.

    Implicit VR Little Endian is the default that every application entity takes (PS3.5 §10.1); encapsulated pixel
    data has no form in it.
    """
    if stored.transfer_syntax_uid != EXPLICIT:
        return []
    deflated = [DEFLATED] if compress and stored.size > DEFLATED_ABOVE_BYTES else []
    return [*deflated, IMPLICIT]


def encoded(stored: StoredHeader, content: bytes, transfer_syntax_uid: str) -> bytes:
    """Return the data set of a stored file in a transfer syntax of `other_syntaxes`, or as it is stored.

    Raises:
        Failed: it cannot be read.
    """
    if transfer_syntax_uid == DEFLATED:
        return _deflated(content[stored.start :])
    if transfer_syntax_uid == IMPLICIT and stored.transfer_syntax_uid == EXPLICIT:
        return _implicit(content)
    return content[stored.start :]


def _deflated(dataset: bytes) -> bytes:
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _RAW)
    packed = packer.compress(dataset) + packer.flush()
    return packed + b"\0" * (len(packed) % 2)


def _implicit(content: bytes) -> bytes:
    written = DicomBytesIO()
    written.is_implicit_VR, written.is_little_endian = True, True
    try:
        # pydicom quotes the values that it complains about.
        with warnings.catch_warnings(action="ignore"):
            write_dataset(written, dcmread(BytesIO(content)))
    except _UNREADABLE as error:
        remedy = "Enable Explicit VR Little Endian there, then `matins retry`"
        raise Failed(f"the stored object cannot be written in Implicit VR Little Endian. {remedy}") from error
    return written.getvalue()
