"""Changes since a prior in words, as they follow the sentence on a finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from node.domain.change import Change, Verdict
from node.domain.finding import VOLUME, Finding, Measurement, lowered


def said(change: Change) -> str:
    """One change in a few words: verdict, sizes, interval, doubling time and day of the prior, or why there is none."""
    name = lowered(change.quantity.meaning)
    when = f"since {_day(change.prior_date)}"
    if change.verdict is Verdict.NEW:
        return f"new {when} ({name} {_number(change, change.after)})"
    if change.verdict is Verdict.RESOLVED:
        return f"{_gone(change)} of {_number(change, change.before)} ({name}) has resolved {when}"
    both = change.before is not None and change.after is not None
    sizes = f"{name} {_number(change, change.before)} → {_number(change, change.after)}" if both else ""
    if change.verdict is Verdict.NOT_COMPARABLE:
        return f"not comparable with {_day(change.prior_date)}: {change.reason}{f' ({sizes})' if sizes else ''}"
    subject = f"{_gone(change)}: " if change.prior_lesion_number and not change.lesion_number else ""
    return f"{subject}{change.verdict} {when}: {sizes}{_share(change)}{_rate(change)}"


def foremost(changes: Sequence[Change]) -> Change | None:
    """The change that stands for a finding: a verdict before none, volume before other sizes."""
    ranked = sorted(changes, key=lambda each: (each.verdict is Verdict.NOT_COMPARABLE, each.quantity != VOLUME))
    return ranked[0] if ranked else None


def of_finding(finding: Finding, changes: Sequence[Change]) -> list[Change]:
    """The changes that are of a finding; lesions that are gone are told with their whole segment."""
    number = finding.segment_number or 0
    return [
        each
        for each in changes
        if (each.code, each.lesion_number) == (finding.code, finding.lesion_number)
        # What is absent now has no segment any more.
        and (each.segment_number == number or not number)
    ]


def with_changes(findings: Sequence[Finding], changes: Sequence[Change]) -> list[Finding]:
    """Return the findings with sentences that also tell what has changed; as they are where nothing was compared."""
    return [_with(each, of_finding(each, changes)) for each in findings]


def _with(finding: Finding, changes: Sequence[Change]) -> Finding:
    own = foremost([each for each in changes if each.prior_lesion_number == 0 or each.lesion_number])
    gone: dict[int, list[Change]] = {}
    for each in changes:
        if each.prior_lesion_number and not each.lesion_number:
            gone.setdefault(each.prior_lesion_number, []).append(each)
    told = [own, *(foremost(each) for _, each in sorted(gone.items()))]
    words = [said(each) for each in told if each is not None]
    if not words or not finding.sentence:
        return finding
    return replace(finding, sentence=f"{finding.sentence.rstrip('.')}; {'; '.join(words)}.")


def _gone(change: Change) -> str:
    return f"lesion {change.prior_lesion_number} of the prior" if change.prior_lesion_number else "what was there"


def _number(change: Change, value: float | None) -> str:
    if value is None:
        return "not measured"
    measured = Measurement(quantity=change.quantity, value=value, unit=change.unit)
    return f"{value:.3g} {measured.unit_name}".rstrip()


def _share(change: Change) -> str:
    if change.ratio is None or change.ratio_low is None or change.ratio_high is None:
        return ""
    share, low, high = (f"{each - 1:+.0%}" for each in (change.ratio, change.ratio_low, change.ratio_high))
    return f" ({share}, 95% interval {low} to {high})"


def _rate(change: Change) -> str:
    if change.doubling_days is None:
        return ""
    verb = "doubles" if change.doubling_days > 0 else "halves"
    return f", volume {verb} in {abs(change.doubling_days):.0f} days"


def _day(text: str) -> str:
    return f"{text[:4]}-{text[4:6]}-{text[6:8]}" if len(text) == 8 else "the prior"
