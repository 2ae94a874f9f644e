"""One size over another, with the interval that the error of both leaves it, and what may be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, isfinite, log, sqrt

from node.domain.change import Verdict

#: A repeatability is 1.96·√2 standard deviations of one measurement.
_OF_TWO = sqrt(2.0)
#: No ratio or end of an interval is told beyond this factor (e^20 is half a thousand million).
_MOST_LOG = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """`after / before`, and its ends at 95 % where the errors are known."""

    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    verdict: Verdict = Verdict.NOT_COMPARABLE


def ratio_of(after: float, before: float, repeats_within: tuple[float | None, float | None]) -> Ratio:
    """Return the ratio of two sizes, with what the repeatability of each (in its own unit) allows to be said.

    It has grown where the whole interval lies above one, shrunk where it lies below. Sizes that are no positive numbers
    have no ratio.
    """
    if not (isfinite(after) and isfinite(before) and after > 0 and before > 0):
        return Ratio()
    middle = _clamped(log(after) - log(before))
    error_after, error_before = repeats_within
    if error_after is None or error_before is None:
        return Ratio(ratio=exp(middle))
    within = sqrt((error_after / after) ** 2 + (error_before / before) ** 2) / _OF_TWO
    low, high = exp(_clamped(middle - within)), exp(_clamped(middle + within))
    verdict = Verdict.GROWN if low > 1 else Verdict.SHRUNK if high < 1 else Verdict.STABLE
    return Ratio(ratio=exp(middle), low=low, high=high, verdict=verdict)


def doubling_days(ratio: float, days: int | None, exponent: float) -> float | None:
    """Days in which the volume doubles, or, negative, halves; `exponent`: the power of the size that it goes with."""
    return None if not days or ratio == 1 else days * log(2) / (exponent * log(ratio))


def _clamped(value: float) -> float:
    return max(-_MOST_LOG, min(_MOST_LOG, value))
