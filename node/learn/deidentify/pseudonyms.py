"""What stands for an identity: the same each time under one key, and nothing that leads back without it."""

from __future__ import annotations

import hmac
from base64 import b32encode
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from uuid import UUID

#: Dates go back by so many days, a century at least: none is taken for a true one, and no age can be told from it.
_SHIFT_DAYS = range(36_525, 40_178)


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Pseudonyms under one key."""

    key: bytes = field(repr=False)

    def uid(self, uid: str) -> str:
        """The UID that stands for this one: a UUID as PS3.5 §B.2 writes it."""
        return _uid(self.key, uid)

    def patient(self, patient_id: str, issuer: str) -> str:
        """The Patient ID that stands for (Patient ID, issuer)."""
        return "M" + b32encode(_digest(self.key, "patient", issuer, patient_id))[:16].decode()

    def site(self, name: str) -> str:
        """What stands for an institution; empty for one without a name."""
        folded = " ".join(name.casefold().split())
        return "site-" + b32encode(_digest(self.key, "site", folded))[:6].decode().lower() if folded else ""

    def days(self, patient_id: str, issuer: str) -> int:
        """By how many days the dates of a patient go back: the same for all studies, so that intervals stay."""
        number = int.from_bytes(_digest(self.key, "days", issuer, patient_id)[:8])
        return _SHIFT_DAYS[number % len(_SHIFT_DAYS)]

    def word(self, *parts: str) -> str:
        """Six letters that stand for these texts, in whatever order."""
        return b32encode(_digest(self.key, "word", *sorted(parts)))[:6].decode().lower()


@lru_cache(maxsize=65_536)
def _uid(key: bytes, uid: str) -> str:
    return f"2.25.{UUID(bytes=_digest(key, 'uid', uid)[:16], version=4).int}"


def _digest(key: bytes, *parts: str) -> bytes:
    # Lengths before the parts: no two lists of parts are one text.
    text = b"".join(len(raw).to_bytes(8) + raw for raw in (part.encode("utf-8", "surrogatepass") for part in parts))
    return hmac.new(key, text, sha256).digest()
