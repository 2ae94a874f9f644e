"""Who a study is about. A wrong patient is the one unforgivable error."""

from __future__ import annotations

from dataclasses import dataclass

#: Patient IDs that stand for "nobody knows": never an identity, never a query key.
PLACEHOLDERS = frozenset({"", "0", "UNKNOWN", "ANONYMOUS", "ANON", "NONE", "NA", "N/A", "NOID", "NO ID", "TEST"})
_WILDCARDS = "*?\\"


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
        return text not in PLACEHOLDERS and not any(mark in text for mark in _WILDCARDS)


def conflict(one: Patient, other: Patient) -> str | None:
    """Say why the two cannot be the same person, or `None` if nothing speaks against it.

    Compared are Patient ID, issuer, birth date and sex, each only where both sides know it, but an ID
    against no ID is a conflict. Names are not compared: their spelling changes with the character set.
    """
    if one.patient_id != other.patient_id:
        return "Patient ID differs"
    for field, label in (("issuer", "Issuer of Patient ID"), ("birth_date", "birth date"), ("sex", "sex")):
        first, second = getattr(one, field), getattr(other, field)
        if first and second and first != second:
            return f"{label} differs"
    return None
