"""Who a study is about. A wrong patient is the one unforgivable error."""

from __future__ import annotations

import re
import unicodedata
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
#: Words of names that stand for "nobody knows", beside numbers.
_NOBODY = frozenset(
    ("UNKNOWN", "UNBEKANNT", "INCONNU", "DESCONOCIDO", "ANONYMOUS", "ANON", "NN", "NONAME", "TRAUMA", "EMERGENCY")
)
_SEXES = frozenset(("MALE", "FEMALE", "M", "F", "MR", "MRS", "PATIENT", "X", "XX", "XXX"))
#: Letters that some write as two.
_TWO_LETTERS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "æ": "ae", "ß": "ss"})
_WORDS = re.compile(r"[^\W_]+")
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
        """Whether (Patient ID, issuer) may stand for one person: no placeholder, no wildcard, not "-" or "..."."""
        text = self.patient_id.strip().upper()
        if text in PLACEHOLDERS or not any(map(str.isalnum, text)):
            return False
        return not any(mark in text for mark in (*_WILDCARDS, UNDECODABLE))


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


def doubt(one: Patient, other: Patient) -> str | None:
    """Say why what is told of one may not be used for the other, or `None` where nothing speaks against it.

    As `conflict`; besides, an ID that nobody is known to have issued is one number of two hospitals, unless both sides
    know a birth date, and the same.
    """
    if not one.issuer and not other.issuer and not (one.birth_date and other.birth_date):
        return conflict(one, other) or "nobody is known to have issued the ID, and a birth date is missing"
    return conflict(one, other)


def is_nobody(name: str) -> bool:
    """Whether a PN value says that nobody knows who it is: empty, or words as UNKNOWN with a number or a sex."""
    words = {word.upper() for word in _WORDS.findall(name.replace(".", ""))}
    rest = {word for word in words - _SEXES if not word.isdecimal()}
    return rest <= _NOBODY and (not words or bool(words & _NOBODY))


def same_name(one: str, other: str) -> bool | None:
    """Whether two PN values are one name; `None` where one of them names nobody, or they have no part in common.

    Compared are family and given name, in any order and spelling that equipment makes of them: case, padding, accents,
    one component or two. The middle name counts where both have one; prefix and suffix do not. Of the component groups
    (alphabetic, ideographic, phonetic; PS3.5 §6.2) one that agrees is enough.
    """
    if is_nobody(one) or is_nobody(other):
        return None
    pairs = [(a, b) for a, b in zip(one.split("="), other.split("="), strict=False) if _words(a) and _words(b)]
    return any(_same_group(a, b) for a, b in pairs) if pairs else None


def is_another_person(one: Patient, other: Patient) -> bool:
    """Whether name and birth date are both those of somebody else, whatever the ID."""
    reborn = bool(one.birth_date and other.birth_date and one.birth_date != other.birth_date)
    return reborn and same_name(one.name, other.name) is False


def _same_group(one: str, other: str) -> bool:
    """Whether two component groups name one person: family and given name, and the middle name where both have one."""
    first, second = (([*group.split("^"), "", ""])[:3] for group in (one, other))
    lengths = [2 if not (_words(first[2]) and _words(second[2])) else 3]
    if not (_words(first[1]) and _words(second[1])):
        # One has no given name: perhaps it stands beside the family name.
        lengths = [1, 3]
    return any(_spellings(" ".join(first[:n])) & _spellings(" ".join(second[:n])) for n in lengths)


def _spellings(text: str) -> frozenset[tuple[str, ...]]:
    """The words of a text in alphabetic order, as they may be spelled without accents; none of an empty text."""
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFKC", text).casefold())
    ways = (folded, folded.translate(_TWO_LETTERS))
    plain = ("".join(c for c in unicodedata.normalize("NFKD", way) if not unicodedata.combining(c)) for way in ways)
    return frozenset(words for way in plain if (words := tuple(sorted(_words(way)))))


def _words(group: str) -> list[str]:
    return _WORDS.findall(group)
