"""Who may log in to the pages."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

_LOGIN = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
#: First words of what systems tell a report state by; no person goes by one.
SYSTEMS = frozenset({"hl7", "fhir", "ups"})


class Role(StrEnum):
    """What an account may do."""

    #: Reads: acknowledges findings, says what is read, settles discrepancies.
    READER = "reader"
    #: Looks after accounts: sees who is logged in or locked out, and lets them in again. Acknowledges nothing.
    ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One person."""

    login: str
    role: Role
    #: How the password was derived, and what came out.
    secret: str
    #: ISO 8601 UTC.
    created_at: str


def is_login(text: str) -> bool:
    """Whether a text may be a login: small letters, digits, dot, dash, underscore and @; not what a system goes by."""
    return bool(_LOGIN.fullmatch(text)) and text not in SYSTEMS
