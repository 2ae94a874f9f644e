"""How a value stands in an HL7 v2 field (2.5.1 §2.7): delimiters escaped, nothing that ends a segment or a block."""

from __future__ import annotations

import re

#: Controls, C1 controls, and what some readers take for a line end.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_ESCAPES = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"})
#: Characters of one value: no reason is longer.
_LONGEST = 2000


def escaped(text: str) -> str:
    """Return a text so that it is one value, whatever stands in it; controls become spaces."""
    return _CONTROLS.sub(" ", text)[:_LONGEST].strip().translate(_ESCAPES)


def person_name(dicom: str) -> tuple[str, ...]:
    """The components of XPN for a PN value: DICOM has prefix before suffix, HL7 the other way round.

    The alphabetic group alone; an ideographic one stands in where there is no other.
    """
    groups = [group for group in dicom.split("=") if group.strip("^ ")]
    parts = [*(groups[0] if groups else "").split("^"), "", "", "", "", ""][:5]
    family, given, middle, prefix, suffix = parts
    return _trimmed((family, given, middle, suffix, prefix))


def field(value: str | tuple[str, ...]) -> str:
    """A text, or the components of a value, as they stand in a field."""
    return "^".join(map(escaped, value)) if isinstance(value, tuple) else escaped(value)


def _trimmed(parts: tuple[str, ...]) -> tuple[str, ...]:
    while parts and not parts[-1].strip():
        parts = parts[:-1]
    return parts
