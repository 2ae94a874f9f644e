"""What measuring comes to."""

from __future__ import annotations

from dataclasses import dataclass

from node.domain.finding import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a mask comes to."""

    findings: tuple[Finding, ...]
    #: Sentences on what was asked for and could not be measured.
    notes: tuple[str, ...] = ()
