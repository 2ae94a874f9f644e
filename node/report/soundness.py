"""Whether the elements of a header can be read, are what the standard has them be, and read as they were meant."""

from __future__ import annotations

from pydicom import DataElement, Dataset
from pydicom import config as pydicom_config
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_has_tag, dictionary_VM
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.valuerep import PersonName, validate_value

from node.domain.patient import readable_text


def is_ascii_only(header: Dataset) -> bool:
    """Whether the header names no character set, or one that is unknown (PS3.3 §C.12.1.1.2)."""
    encodings = convert_encodings(header.get("SpecificCharacterSet"))
    return encodings[0] == default_encoding and "latin_1" not in encodings


def is_misread(element: DataElement, *, ascii_only: bool) -> bool:
    """Whether any text was not decoded as it was meant, in sequences all the way down."""
    if element.VR == "SQ":
        return any(is_misread(inner, ascii_only=ascii_only) for item in element.value for inner in item)
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    texts = [str(value) for value in values if isinstance(value, str | PersonName)]
    return any(text != readable_text(text, ascii_only=ascii_only) for text in texts)


def readable_element(header: Dataset, tag: BaseTag) -> DataElement | None:
    """The element, if its bytes are a value of its VR at all ("75,5" is no number)."""
    try:
        return header[tag]
    except (ValueError, TypeError, NotImplementedError):
        return None


def is_sound(element: DataElement) -> bool:
    """Whether value and multiplicity are as PS3.5 §6.2 and PS3.6 have them, in sequences all the way down."""
    if element.VR == "SQ":
        return all(_is_sound_item(item, coded=element.keyword.endswith("CodeSequence")) for item in element.value)
    values = element.value if isinstance(element.value, MultiValue) else [element.value]
    if len(values) > 1 and dictionary_has_tag(element.tag) and dictionary_VM(element.tag) == "1":
        return False
    try:
        for value in values:
            # Numbers as the text they were: pydicom judges no DS or IS that it has read itself.
            validate_value(element.VR, str(value) if element.VR in {"DS", "IS"} else value, pydicom_config.RAISE)
    except (ValueError, TypeError):
        return False
    return True


def _is_sound_item(item: Dataset, *, coded: bool) -> bool:
    elements = [readable_element(item, tag) for tag in item.keys()]  # noqa: SIM118 - as above
    return all(each is not None and is_sound(each) for each in elements) and (not coded or _is_code(item))


def _is_code(item: Dataset) -> bool:
    """Whether a code sequence item has what PS3.3 Table 8.8-1 requires."""
    value = item.get("CodeValue") or item.get("LongCodeValue") or item.get("URNCodeValue")
    return bool(value and item.get("CodeMeaning") and (item.get("CodingSchemeDesignator") or "URNCodeValue" in item))
