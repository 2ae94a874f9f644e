"""Priors for people: a line a study that an archive told of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def candidate_line(candidate: dict[str, Any]) -> str:
    """One study that an archive told of: when it was made and with what, and what became of it."""
    what = " ".join(part for part in (candidate["study_date"], ", ".join(candidate["modalities_in_study"])) if part)
    whence = f"{candidate['study_instance_uid']} at {candidate['archive']}"
    return f"{what} {candidate['standing']}: {candidate['reason']}  [{whence}]"


def lines(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(heading, line) for everything that is told of the priors of a study."""
    for candidate in told["prior_candidates"]:
        yield "prior", candidate_line(candidate)
