"""One thing that `check` looks at, and what it found."""

from __future__ import annotations

from dataclasses import dataclass

from node.errors import MatinsError, Misconfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at."""

    #: settings, disk, data, tls, index, database, model, engine, rule, peer, archive.
    about: str
    subject: str
    ok: bool
    #: What was found where all is well.
    found: str = ""
    #: Where it is not, or soon will not be: the file and key to mend, what is wrong, and what to do.
    file: str = ""
    key: str = ""
    problem: str = ""
    remedy: str = ""


def failed(about: str, subject: str, error: MatinsError) -> Check:
    """Make a check that failed of the error that was met."""
    if isinstance(error, Misconfigured):
        return Check(
            about=about,
            subject=subject,
            ok=False,
            file=error.file,
            key=error.key,
            problem=error.problem,
            remedy=error.remedy,
        )
    return Check(about=about, subject=subject, ok=False, problem=str(error), remedy="Try again")
