"""Attributes in the DICOM JSON Model (PS3.18 Annex F), as they lie in the store: text, without a character set.

A tag is eight hexadecimal digits in capitals. Here are the ways to read and write it that need no DICOM library.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

#: Tag → {"vr": …, "Value": [...]}; a value of PN is {"Alphabetic": …}, of SQ again `Attributes`.
Attributes: TypeAlias = dict[str, dict[str, Any]]


def element(vr: str, *values: object) -> dict[str, Any]:
    """One attribute; empty where there is no value, or only empty ones."""
    kept = [{"Alphabetic": value} if vr == "PN" else value for value in values if value not in ("", None)]
    return {"vr": vr, "Value": kept} if kept else {"vr": vr}


def texts(attributes: Mapping[str, Any], tag: str) -> list[str]:
    """The values of an attribute as text, of a person's name all its groups; none where it is absent or empty."""
    return [_text(value) for value in attributes.get(tag, {}).get("Value", ()) if value is not None]


def text(attributes: Mapping[str, Any], tag: str) -> str:
    """The first value as text; empty where there is none."""
    return next(iter(texts(attributes, tag)), "")


def items(attributes: Mapping[str, Any], tag: str) -> list[Attributes]:
    """The items of a sequence."""
    return [item for item in attributes.get(tag, {}).get("Value", ()) if isinstance(item, dict)]


def is_filled(attributes: Mapping[str, Any], tag: str) -> bool:
    """Whether an attribute has a value, or a sequence an item."""
    return bool(texts(attributes, tag))


def coded(value: str, scheme: str, meaning: str) -> Attributes:
    """The item of a code sequence (PS3.3 §8.8)."""
    return {"00080100": element("SH", value), "00080102": element("SH", scheme), "00080104": element("LO", meaning)}


def _text(value: Any) -> str:
    if isinstance(value, dict):
        groups = [str(value.get(name, "")) for name in ("Alphabetic", "Ideographic", "Phonetic")]
        return "=".join(groups).rstrip("=") or ("item" if value else "")
    return str(value).strip()
