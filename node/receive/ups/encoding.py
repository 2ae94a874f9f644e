"""Data sets of requests and answers, from and to the DICOM JSON Model in which steps are kept."""

from __future__ import annotations

import logging
import warnings
from io import BytesIO
from typing import cast

from pydicom import Dataset
from pydicom._dicom_dict import DicomDictionary
from pynetdicom.dsutils import decode, encode

from node.domain.dicom_json import Attributes, element
from node.domain.ups_attributes import SPECIFIC_CHARACTER_SET
from node.errors import Refused
from node.receive.elements import encoding_of
from node.receive.fields import MALFORMED
from node.receive.nested import broken, elements
from node.receive.status import INVALID_ATTRIBUTE_VALUE, PROCESSING_FAILURE, RESOURCE_LIMITATION

#: Sequences around an element, elements, and bytes of one data set: a step that names a thousand instances has 200 KiB.
_DEEPEST, _MOST_ELEMENTS, _LONGEST_BYTES = 12, 20_000, 1 << 20
_SEQUENCES = frozenset(divmod(tag, 1 << 16) for tag, entry in DicomDictionary.items() if entry[0] == "SQ")
# It quotes the values that it complains about: names and IDs among them.
logging.getLogger("pydicom").setLevel(logging.CRITICAL)
warnings.filterwarnings("ignore", module=r"pydicom|node\.receive\.ups")
_IMPLICIT, _BIG_ENDIAN = "1.2.840.10008.1.2", "1.2.840.10008.1.2.2"


def read(content: bytes, transfer_syntax_uid: str) -> Attributes:
    """Read a data set; text becomes Unicode, so that its character set is no longer needed.

    Raises:
        Refused: 0x0110, it cannot be read; 0x0106, a value that its VR cannot have; 0x0213, more than is taken.
    """
    if len(content) > _LONGEST_BYTES:
        raise Refused(RESOURCE_LIMITATION, f"a step of more than {_LONGEST_BYTES} bytes")
    walked = elements(content, encoding_of(transfer_syntax_uid), _SEQUENCES, deepest=_DEEPEST, most=_MOST_ELEMENTS)
    for _ in walked:
        pass
    try:
        found = decode(BytesIO(content), transfer_syntax_uid == _IMPLICIT, transfer_syntax_uid != _BIG_ENDIAN)
    except MALFORMED:
        raise broken("its elements") from None
    try:
        read = cast("Attributes", found.to_json_dict())
        Dataset.from_json(read)
    except MALFORMED:
        raise Refused(INVALID_ATTRIBUTE_VALUE, "an attribute has a value that its VR cannot have") from None
    read.pop(SPECIFIC_CHARACTER_SET, None)
    return read


def written(attributes: Attributes, transfer_syntax_uid: str) -> bytes:
    """Write a data set, in UTF-8.

    Raises:
        Refused: 0x0110, it cannot be written.
    """
    said = {**attributes, SPECIFIC_CHARACTER_SET: element("CS", "ISO_IR 192")}
    try:
        dataset = Dataset.from_json({tag: said[tag] for tag in sorted(said)})
        content = encode(dataset, transfer_syntax_uid == _IMPLICIT, transfer_syntax_uid != _BIG_ENDIAN)
    except MALFORMED:
        content = None
    if content is None:
        raise Refused(PROCESSING_FAILURE, "the answer cannot be written")
    return content
