"""The error tree: every error says what the loop that meets it should do.

From the base down:

    MatinsError
    ├── Misconfigured      stop: names the file, the key and the remedy
    ├── Refused            answer the peer with this DIMSE status; keep nothing
    ├── Unsuitable         skip: this model does not suit this input, with the reason
    ├── Failed             the work ran and cannot succeed; recorded with the reason
    └── Transient          try again later
"""

from __future__ import annotations

from pathlib import Path


class MatinsError(Exception):
    """Base of every error that Matins raises on purpose."""


class Misconfigured(MatinsError):
    """A setting, card, rule or file is wrong; a person must mend it before the node starts.

    The message names the file, the key in it and the remedy.
    """

    def __init__(self, file: Path | str, key: str, problem: str, remedy: str) -> None:
        self.file = str(file)
        self.key = key
        self.problem = problem
        self.remedy = remedy
        where = f"{file}: {key}" if key else str(file)
        super().__init__(f"{where}: {problem}. {remedy}")


class Refused(MatinsError):
    """An object or request is refused at the door; `status` is the DIMSE status sent (PS3.7 Annex C)."""

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        self.reason = reason
        super().__init__(f"0x{status:04X}: {reason}")


class Unsuitable(MatinsError):
    """The input is sound but not for this model; the outcome is `not_applicable` with this reason."""


class Failed(MatinsError):
    """The work was tried and cannot succeed as it stands; the outcome is `failed` with this reason."""


class Transient(MatinsError):
    """A passing fault (peer away, disk full, database busy): the work waits and is tried again."""


def first_line(error: BaseException) -> str:
    """What another library's error says, in one line of at most 200 characters; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:200]
