"""Unique identifiers: their form, and identifiers derived from what went in."""

from __future__ import annotations

import re
import uuid

#: PS3.5 §9.1: digits and dots, no component with a leading zero, at most 64 characters.
_UID = re.compile(r"(?:0|[1-9][0-9]*+)(?:\.(?:0|[1-9][0-9]*+))++")
_USABLE_UID = re.compile(r"[0-9]++(?:\.[0-9]++)++")
_MAX_LENGTH = 64

#: UUIDv5 name space of everything Matins derives; minted once, never to change.
_NAMESPACE = uuid.UUID("6b0f64a5-5a6b-5c8e-9d0f-3f2f7f9d4f01")


def is_valid_uid(text: str) -> bool:
    """Say whether `text` is a UID by PS3.5 §9.1, after the padding has been taken off."""
    return len(text) <= _MAX_LENGTH and _UID.fullmatch(text) is not None


def is_usable_uid(text: str) -> bool:
    """Say whether `text` can tell what others made from everything else, though PS3.5 §9.1 may forbid it.

    Old equipment writes dates and times into its UIDs with their leading zeros, and DCMTK and Orthanc take them:
    whoever refuses them loses the study. They are compared character by character, so `1.02` is not `1.2`. Nothing
    else is let go: digits and dots, two components or more, none of them empty, at most 64 characters. What we make
    ourselves is valid.
    """
    return len(text) <= _MAX_LENGTH and _USABLE_UID.fullmatch(text) is not None


def derived_uid(*parts: str | int) -> str:
    """Return the UID that belongs to `parts`, always the same for the same parts in the same order.

    The form is `2.25.` + a UUID as one decimal number (PS3.5 §B.2); the UUID is version 5
    (RFC 9562 §5.5) over the parts, each with its length, so that no two lists run together.
    """
    name = "".join(f"{len(str(part))}:{part};" for part in parts)
    return f"2.25.{uuid.uuid5(_NAMESPACE, name).int}"


#: Implementation Class UID (0002,0012) and of the association (PS3.7 §D.3.3.2): the same wherever we write or speak.
IMPLEMENTATION_CLASS_UID = derived_uid("implementation class", "Matins")
