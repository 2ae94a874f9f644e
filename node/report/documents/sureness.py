"""How sure a model is, as a number of a report: a probability only where it was calibrated, else a score."""

from __future__ import annotations

from node.domain.finding import Code, Finding, Measurement

PROBABILITY = Code("122157", "DCM", "Probability")
#: What a model gives without saying how probable that makes it.
SCORE = Code("246262008", "SCT", "Score")
NO_UNITS = Code("1", "UCUM", "no units")


def sureness(finding: Finding) -> list[Measurement]:
    """The probability, or the score, of a finding; nothing where the model gives neither."""
    given = ((PROBABILITY, finding.probability), (SCORE, finding.score))
    return [
        Measurement(quantity=quantity, value=value, unit=NO_UNITS) for quantity, value in given if value is not None
    ]
