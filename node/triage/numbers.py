"""Measured numbers as a reader gets them: as many digits as the model's own test-retest error leaves a meaning."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import floor, isfinite, log10

from node.domain.finding import Measurement, lowered
from node.domain.measures import (
    BETWEEN_CENTROIDS,
    DIAMETER,
    LESION_COUNT,
    LONG_AXIS,
    MEAN,
    PERPENDICULAR_AXIS,
    SHORT_AXIS,
    STANDARD_DEVIATION,
)

#: Significant digits where nobody has said how well the model repeats.
_DIGITS = 3
#: Pairs that are said as one, and what follows them.
_PAIRS = {LONG_AXIS.value: (SHORT_AXIS.value, " in plane"), DIAMETER.value: (PERPENDICULAR_AXIS.value, "")}


def shown(measurement: Measurement) -> str:
    """The value with the digits that mean something, and its unit."""
    number = rounded(measurement.value, measurement.repeats_within)
    return f"{number} {measurement.unit_name}".rstrip()


def rounded(value: float, repeats_within: float | None) -> str:
    """A value down to the first digit of its test-retest error; three significant digits where that is not known."""
    if not isfinite(value):
        return "not a number"
    size = repeats_within or abs(value) / 10 ** (_DIGITS - 1)
    if not size:
        return "0"
    # A size of 99.96 would be 100 once it is rounded.
    exponent = floor(log10(size) + 1e-9)
    number = round(value / 10**exponent) * 10.0**exponent
    return f"{number + 0.0:.{max(0, -exponent)}f}"


def sizes(measurements: Sequence[Measurement]) -> Iterator[str]:
    """The numbers of one finding in a few words each; axes of one plane, and mean and spread, are said together."""
    left = list(measurements)
    while left:
        each = left.pop(0)
        partner = next((other for other in left if _belongs(other, each)), None)
        if partner is not None:
            left.remove(partner)
        yield _said(each, partner)


def change(measurements: Sequence[Measurement], before: Sequence[Measurement], when: str) -> Iterator[str]:
    """How each number differs from the same one in a prior, and whether that is more than the model's own error."""
    for now in measurements:
        then = next((other for other in before if _same(now, other)), None)
        if then is None:
            continue
        difference = now.value - then.value
        # Of a scale without a natural zero, as Hounsfield units are, there are no shares.
        is_amount = then.value > 0 and now.derivation != MEAN
        share = f" ({difference / then.value:+.0%})" if is_amount else ""
        error = max(now.repeats_within or 0.0, then.repeats_within or 0.0) or None
        told = f"{'+' if difference > 0 else ''}{rounded(difference, error or abs(now.value) / 100)} {now.unit_name}"
        if error is None:
            verdict = "how well the model repeats is not known"
        else:
            verdict = "more than the model's own error" if abs(difference) > error else "within the model's own error"
        yield f"{_name(now)} {told.rstrip()}{share} against {shown(then)} on {when}, {verdict}"


def _belongs(other: Measurement, each: Measurement) -> bool:
    """Whether `other` is said in one breath with `each`, which stands before it."""
    if each.derivation == MEAN:
        return other.derivation == STANDARD_DEVIATION and other.quantity == each.quantity
    return each.quantity.value in _PAIRS and other.quantity.value == _PAIRS[each.quantity.value][0]


def _said(each: Measurement, partner: Measurement | None) -> str:
    if each.quantity == LESION_COUNT:
        return f"{each.value:.0f} {'lesion' if each.value == 1 else 'lesions'}"
    repeats = _repeats(each)
    if partner is None:
        return f"{_name(each)} {shown(each)}{repeats}"
    if each.derivation == MEAN:
        return f"mean {shown(each)} (standard deviation {rounded(partner.value, partner.repeats_within)}){repeats}"
    number = rounded(each.value, each.repeats_within)
    return f"{number} × {shown(partner)}{_PAIRS[each.quantity.value][1]}{repeats}"


def _name(each: Measurement) -> str:
    """A short name; that of a distance with what lies at its other end."""
    if each.toward is not None:
        way = "centroids" if each.method == BETWEEN_CENTROIDS else "surfaces"
        return f"distance to {lowered(each.toward.meaning)} ({way})"
    return lowered(each.name)


def _repeats(each: Measurement) -> str:
    if each.repeats_within is None:
        return ""
    return f" (repeats within {each.repeats_within:.2g} {each.unit_name}".rstrip() + ")"


def _same(one: Measurement, other: Measurement) -> bool:
    return (one.quantity, one.unit, one.derivation, one.method, one.toward) == (
        *(other.quantity, other.unit, other.derivation, other.method, other.toward),
    )
