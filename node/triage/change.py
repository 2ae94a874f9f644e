"""What has changed since a prior: told only where it is more than measuring twice would give.

Nothing is told as grown, shrunk, new or gone by a model whose card does not say how far two of its measurements lie
apart (`[[repeatability]]`); what was measured then and now is shown all the same. The interval of a ratio is that of
the log-normal error which these figures describe: with `p` per cent, a factor of exp(±p/100) at 95 %. It holds where
the error is small against the size, and grows without bound where it is not, so that then nothing is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from node.domain.alignment import Correspondence, Knot, Pair, Way
from node.domain.change import Change, Verdict
from node.domain.finding import VOLUME, Finding, Measurement
from node.domain.measures import AREA, DIAMETER, LONG_AXIS, PERPENDICULAR_AXIS, SHORT_AXIS
from node.triage.change_conditions import days_between, why_not
from node.triage.ratio import doubling_days, ratio_of

#: Sizes, and the power of each that a volume goes with.
_SIZES = {VOLUME: 1.0, AREA: 1.5, DIAMETER: 3.0, PERPENDICULAR_AXIS: 3.0, LONG_AXIS: 3.0, SHORT_AXIS: 3.0}
NOT_MEASURED = "this model's repeatability was not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What one model found in one study."""

    study_instance_uid: str
    #: Study Date (0008,0020), YYYYMMDD.
    study_date: str
    model: str
    model_digest: str
    card_digest: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True)
class _Compared:
    now: Read
    before: Read
    found: Correspondence
    days: int | None

    def head(self, finding: Finding) -> dict[str, object]:
        return {
            "model": self.now.model,
            "code": finding.code,
            "segment_number": finding.segment_number or 0,
            "days": self.days,
            "prior_study_instance_uid": self.before.study_instance_uid,
            "prior_date": self.before.study_date,
        }


def changes(now: Read, before: Read, found: Correspondence) -> tuple[Change, ...]:
    """Return each size of each finding against the same in the prior, and what is new or gone."""
    compared = _Compared(now, before, found, days_between(before.study_date, now.study_date))
    against = _why_nothing_compares(now, before, found)
    if against:
        return tuple(_refused(compared, each, against) for each in _measured_now(now))
    return (*_segments(compared), *_lesions(compared))


def has_size(finding: Finding) -> bool:
    """Whether a finding has a size that can be compared with another."""
    return bool(_sizes(finding))


def _why_nothing_compares(now: Read, before: Read, found: Correspondence) -> str:
    if (now.model, now.model_digest) != (before.model, before.model_digest):
        return "the prior was read by another version of the model"
    if now.card_digest != before.card_digest:
        return "the prior was read with another card of the model"
    if found.alignment is not None and found.alignment.refused:
        return f"the images {found.alignment.refused}"
    return why_not(found.now, found.before)


def _measured_now(now: Read) -> Iterator[tuple[Finding, Measurement]]:
    return ((each, size) for each in now.findings for size in _sizes(each))


def _sizes(finding: Finding) -> list[Measurement]:
    return [each for each in finding.measurements if each.quantity in _SIZES and each.derivation is None]


def _refused(compared: _Compared, measured: tuple[Finding, Measurement], reason: str) -> Change:
    return _change(compared, *measured, Verdict.NOT_COMPARABLE, reason, after=measured[1].value)


def _segments(compared: _Compared) -> Iterator[Change]:
    """Whole segments: the same number, code and side is the same thing; what has no size is not there."""
    now, before = _whole(compared.now), _whole(compared.before)
    for name, place in now.items():
        finding = compared.now.findings[place]
        if name not in before:
            yield from _new(compared, place, finding)
            continue
        cut = place in compared.found.cut_now or before[name] in compared.found.cut_before
        why = "it reaches the edge of the images" if cut else ""
        yield from _compared_sizes(compared, finding, compared.before.findings[before[name]], Way.ANATOMY, why)
    for name, place in before.items():
        if name not in now:
            yield from _gone(compared, place, compared.before.findings[place])


def _whole(read: Read) -> dict[tuple[object, ...], int]:
    """Name of each segment that was measured as a whole → its place among the findings."""
    whole = [(place, each) for place, each in enumerate(read.findings) if not each.lesion_number and _sizes(each)]
    return {
        (each.segment_number, each.code.value, each.code.scheme, each.laterality and each.laterality.value): place
        for place, each in whole
    }


def _lesions(compared: _Compared) -> Iterator[Change]:
    now, before, found = compared.now.findings, compared.before.findings, compared.found
    pairs = [*_tracked(now, before), *found.pairs]
    by_now: Mapping[int, Pair] = {each.now: each for each in reversed(pairs)}
    taken = {each.before for each in by_now.values()}
    knots = {place: knot for knot in found.knots for place in knot.now}
    tied = {place for knot in found.knots for place in knot.before}
    for place, finding in enumerate(now):
        if not finding.lesion_number:
            continue
        pair = by_now.get(place)
        if place in knots:
            yield from (_refused(compared, (finding, size), _tied(knots[place])) for size in _sizes(finding))
        elif pair is not None:
            cut = place in found.cut_now or pair.before in found.cut_before
            why = "it reaches the edge of the images" if cut else ""
            yield from _compared_sizes(compared, finding, before[pair.before], pair.way, why)
        else:
            yield from _unmatched(compared, place, finding)
    for place, was in enumerate(before):
        if was.lesion_number and place not in taken and place not in tied:
            yield from _gone(compared, place, was)


def _tracked(now: Sequence[Finding], before: Sequence[Finding]) -> Iterator[Pair]:
    known = {each.tracking_uid: place for place, each in enumerate(before) if each.lesion_number and each.tracking_uid}
    for place, each in enumerate(now):
        if each.lesion_number and each.tracking_uid in known:
            yield Pair(now=place, before=known[each.tracking_uid], way=Way.TRACKING)


def _tied(knot: Knot) -> str:
    if len(knot.now) > 1 and len(knot.before) == 1:
        return f"one lesion of the prior is {len(knot.now)} now"
    if len(knot.now) == 1:
        return f"{len(knot.before)} lesions of the prior have become one"
    return f"{len(knot.before)} lesions of the prior lie where {len(knot.now)} lie now"


def _unmatched(compared: _Compared, place: int, finding: Finding) -> Iterator[Change]:
    found = compared.found
    faint = found.faint_before.get(place)
    volume = next((each for each in _sizes(finding) if each.quantity == VOLUME), None)
    if faint is not None:
        if volume is None:
            reason = "the prior shows it too small to be counted"
            yield from (_refused(compared, (finding, size), reason) for size in _sizes(finding))
            return
        was = replace(volume, value=faint)
        yield _sized(compared, finding, volume, was, "too small to be counted in the prior", exponent=1.0)
        return
    yield from _new(compared, place, finding)


def _new(compared: _Compared, place: int, finding: Finding) -> Iterator[Change]:
    found = compared.found
    unseen = _unaligned(found) or ("the prior does not show the place" if place in found.unseen_now else "")
    for size in _sizes(finding):
        if unseen:
            verdict, reason = Verdict.NOT_COMPARABLE, unseen
        elif size.repeats_within is None:
            verdict, reason = Verdict.NOT_COMPARABLE, f"nothing there in the prior, but {NOT_MEASURED}"
        elif size.value <= size.repeats_within:
            verdict, reason = Verdict.NOT_COMPARABLE, "nothing there in the prior, but it is within the model's error"
        else:
            verdict, reason = Verdict.NEW, "the prior shows the place, and nothing there"
        yield _change(compared, finding, size, verdict, reason, after=size.value)


def _gone(compared: _Compared, place: int, was: Finding) -> Iterator[Change]:
    found, faint = compared.found, compared.found.faint_now.get(place)
    unseen = "the current images do not show the place" if place in found.unseen_before else ""
    unseen = _unaligned(found) or unseen
    for size in _sizes(was):
        if faint is not None and size.quantity == VOLUME:
            now = replace(size, value=faint)
            made = _sized(compared, replace(was, lesion_number=0), now, size, "too small to be counted now", exponent=1)
            yield replace(made, prior_lesion_number=was.lesion_number, prior_image=_image(was))
            continue
        if faint is not None:
            verdict, reason = Verdict.NOT_COMPARABLE, "it is too small to be counted now"
        elif unseen:
            verdict, reason = Verdict.NOT_COMPARABLE, unseen
        elif size.repeats_within is None:
            verdict, reason = Verdict.NOT_COMPARABLE, f"nothing there now, but {NOT_MEASURED}"
        elif size.value <= size.repeats_within:
            verdict, reason = Verdict.NOT_COMPARABLE, "nothing there now, but it was within the model's error"
        else:
            verdict, reason = Verdict.RESOLVED, "the current images show the place, and nothing there"
        made = _change(compared, replace(was, lesion_number=0), size, verdict, reason, before=size.value)
        yield replace(made, prior_lesion_number=was.lesion_number, prior_image=_image(was))


def _unaligned(found: Correspondence) -> str:
    return "" if found.alignment is not None else found.not_aligned or "the images were not aligned"


def _compared_sizes(compared: _Compared, finding: Finding, was: Finding, way: Way, why: str) -> Iterator[Change]:
    for size in _sizes(finding):
        then = next(
            (
                each
                for each in _sizes(was)
                if (each.quantity, each.unit, each.method) == (size.quantity, size.unit, size.method)
            ),
            None,
        )
        if then is None:
            yield _refused(compared, (finding, size), "it was not measured in the prior")
            continue
        made = _sized(compared, finding, size, then, f"matched by {way}", exponent=_SIZES[size.quantity], why=why)
        tracking = finding.tracking_uid if way is Way.TRACKING else ""
        yield replace(made, prior_lesion_number=was.lesion_number, tracking_uid=tracking, prior_image=_image(was))


def _sized(
    compared: _Compared,
    finding: Finding,
    now: Measurement,
    then: Measurement,
    told: str,
    *,
    exponent: float,
    why: str = "",
) -> Change:
    """One size then and now, with the verdict that the model's repeatability allows."""
    errors = (None, None) if why else (now.repeats_within, then.repeats_within)
    found = ratio_of(now.value, then.value, errors)
    if found.ratio is None:
        reason = f"{told}; there is no ratio of these sizes"
    elif why:
        reason = f"{told}; {why}"
    elif found.low is None:
        reason = f"{told}; {NOT_MEASURED}"
    else:
        reason = f"{told}; the model repeats within {max(each or 0.0 for each in errors):.3g} {now.unit_name}".rstrip()
    is_change = found.verdict in (Verdict.GROWN, Verdict.SHRUNK) and found.ratio is not None
    return replace(
        _change(compared, finding, now, found.verdict, reason, before=then.value, after=now.value),
        ratio=found.ratio,
        ratio_low=found.low,
        ratio_high=found.high,
        doubling_days=doubling_days(found.ratio or 1.0, compared.days, exponent) if is_change else None,
    )


def _change(
    compared: _Compared,
    finding: Finding,
    size: Measurement,
    verdict: Verdict,
    reason: str,
    *,
    before: float | None = None,
    after: float | None = None,
) -> Change:
    return Change(
        **compared.head(finding),  # type: ignore[arg-type]
        lesion_number=finding.lesion_number,
        quantity=size.quantity,
        unit=size.unit,
        before=before,
        after=after,
        verdict=verdict,
        reason=reason,
    )


def _image(finding: Finding) -> str:
    return finding.key_images[0] if finding.key_images else ""
