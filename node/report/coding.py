"""What a card says, in the forms that DICOM attributes take."""

from __future__ import annotations

from highdicom.sr import CodedConcept

from node.domain.finding import Code

#: Longest LO (PS3.5 §6.2).
LO = 64


def coded(code: Code) -> CodedConcept:
    """The same term as an item of a code sequence (PS3.3 §8.8)."""
    return CodedConcept(code.value, code.scheme, code.meaning)


def fitted(text: str, length: int = LO) -> str:
    """The text on one line, without backslashes (they part values, PS3.5 §6.2), cut to `length` characters."""
    return " ".join(text.replace("\\", "/").split())[:length].rstrip()
