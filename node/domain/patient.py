"""Who a study is about. A wrong patient is the one unforgivable error."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: Patient IDs that stand for "nobody knows": never an identity, never a query key.
PLACEHOLDERS = frozenset({"", "0", "UNKNOWN", "ANONYMOUS", "ANON", "NONE", "NA", "N/A", "NOID", "NO ID", "TEST"})
_WILDCARDS = "*?\\"
#: Stands in a text for bytes that its character set does not have.
UNDECODABLE = "\ufffd"
#: Three component groups of 64 characters (PS3.5 §6.2), and room for equipment that counts components instead.
_LONGEST_NAME = 1024
#: Announces GB 2312 (PS3.3 §C.12.1.1.2); readers decode what follows and leave the escape itself.
_ESCAPE_LEFT = "\x1b$)A"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BEYOND_ASCII = re.compile(r"[\x80-\xff]")
_ACCENTED = re.compile(r"[À-ÖØ-öø-ÿ]")
#: In a text that was read as ISO 8859-1 without being told.
_LETTERS_FOR_AN_ACCENT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """The identity that an instance carries (PS3.3 §C.7.1.1)."""

    patient_id: str = ""
    #: Issuer of Patient ID (0010,0021); where absent, the sending peer's configured issuer.
    issuer: str = ""
    name: str = ""
    #: YYYYMMDD, or empty.
    birth_date: str = ""
    #: M, F, O or empty.
    sex: str = ""

    @property
    def is_identified(self) -> bool:
        """Whether (Patient ID, issuer) may stand for one person: no placeholder, no wildcard."""
        text = self.patient_id.strip().upper()
        return text not in PLACEHOLDERS and not any(mark in text for mark in (*_WILDCARDS, UNDECODABLE))


def readable_name(decoded: str, *, ascii_only: bool) -> str:
    """Return a PN value without what is no part of a name, or "" where it was not decoded as it was meant.

    `ascii_only` says that the object names no character set, or an unknown one: see `readable_text`.
    """
    name = readable_text(decoded.replace(_ESCAPE_LEFT, ""), ascii_only=ascii_only)
    return "" if _CONTROL.search(name) or len(name) > _LONGEST_NAME else name


def readable_text(decoded: str, *, ascii_only: bool) -> str:
    """Return a text, or "" where it was not decoded as it was meant.

    `ascii_only` says that the object names no character set, or an unknown one, and ISO 8859-1 was a guess. It is
    believed where it makes words with few accented letters, as Western equipment writes them: UTF-8 would show as signs
    that are no letters, Cyrillic or Greek as accented letters throughout.
    """
    if UNDECODABLE in decoded:
        return ""
    guessed = _BEYOND_ASCII.findall(decoded) if ascii_only else []
    letters = sum(map(str.isalpha, decoded))
    believed = all(map(_ACCENTED.match, guessed)) and len(guessed) * _LETTERS_FOR_AN_ACCENT <= letters
    return decoded if believed else ""


def another(one: Patient, other: Patient) -> str | None:
    """Say why the two go by different identities, or `None`: by ID, or by an issuer where both name one."""
    if one.patient_id != other.patient_id:
        return "Patient ID differs"
    return "Issuer of Patient ID differs" if one.issuer and other.issuer and one.issuer != other.issuer else None


def conflict(one: Patient, other: Patient) -> str | None:
    """Say why the two cannot be the same person, or `None` if nothing speaks against it.

    Compared are Patient ID, issuer, birth date and sex, each only where both sides know it, but an ID
    against no ID is a conflict. Names are not compared: their spelling changes with the character set.
    """
    for first, second, label in ((one.birth_date, other.birth_date, "birth date"), (one.sex, other.sex, "sex")):
        if first and second and first != second:
            return another(one, other) or f"{label} differs"
    return another(one, other)
