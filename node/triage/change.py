"""What has changed since a prior: told only where it is more than measuring twice would give.

Nothing is told as grown, shrunk, new or gone by a model whose card does not say how far two of its measurements lie
apart (`[[repeatability]]`); what was measured then and now is shown all the same. The interval of a ratio is that of
the log-normal error which these figures describe: with `p` per cent, a factor of exp(±p/100) at 95 %. It holds where
the error is small against the size, and grows without bound where it is not, so that then nothing is told. What the
voxels leave open (`triage.voxels`) is added as an error of its own, so that no small lesion changes by lying otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from node.domain.alignment import Correspondence, Knot, Pair, Way
from node.domain.change import Change
from node.domain.finding import VOLUME, Finding, Measurement
from node.triage.change_conditions import days_between, why_not
from node.triage.change_sizes import Compared, Read, Two, gone, image, new, refused, sized, sizes


def changes(now: Read, before: Read, found: Correspondence) -> tuple[Change, ...]:
    """Return each size of each finding against the same in the prior, and what is new or gone."""
    compared = Compared(now, before, found, days_between(before.study_date, now.study_date))
    against = _why_nothing_compares(now, before, found)
    if against:
        return tuple(refused(compared, *each, against) for each in _measured_now(now))
    return (*_segments(compared), *_lesions(compared))


def has_size(finding: Finding) -> bool:
    """Whether a finding has a size that can be compared with another."""
    return bool(sizes(finding))


def _why_nothing_compares(now: Read, before: Read, found: Correspondence) -> str:
    if (now.model, now.model_digest) != (before.model, before.model_digest):
        return "the prior was read by another version of the model"
    if now.card_digest != before.card_digest:
        return "the prior was read with another card of the model"
    if found.alignment is not None and found.alignment.refused:
        return f"the images {found.alignment.refused}"
    return why_not(found.now, found.before)


def _measured_now(now: Read) -> Iterator[tuple[Finding, Measurement]]:
    return ((each, size) for each in now.findings for size in sizes(each))


def _segments(compared: Compared) -> Iterator[Change]:
    """Whole segments: the same number, code and side is the same thing; what has no size is not there."""
    now, before = _whole(compared.now), _whole(compared.before)
    for name, place in now.items():
        if name not in before:
            yield from new(compared, place)
            continue
        yield from _compared_sizes(compared, Pair(now=place, before=before[name], way=Way.ANATOMY))
    for name, place in before.items():
        if name not in now:
            yield from gone(compared, place)


def _whole(read: Read) -> dict[tuple[object, ...], int]:
    """Name of each segment that was measured as a whole → its place among the findings."""
    whole = [(place, each) for place, each in enumerate(read.findings) if not each.lesion_number and sizes(each)]
    return {
        (each.segment_number, each.code.value, each.code.scheme, each.laterality and each.laterality.value): place
        for place, each in whole
    }


def _lesions(compared: Compared) -> Iterator[Change]:
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
            yield from (refused(compared, finding, size, _tied(knots[place])) for size in sizes(finding))
        elif pair is not None:
            yield from _compared_sizes(compared, pair)
        else:
            yield from _unmatched(compared, place, finding)
    for place, was in enumerate(before):
        if was.lesion_number and place not in taken and place not in tied:
            yield from gone(compared, place)


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


def _unmatched(compared: Compared, place: int, finding: Finding) -> Iterator[Change]:
    found = compared.found
    faint = found.faint_before.get(place)
    volume = next((each for each in sizes(finding) if each.quantity == VOLUME), None)
    if faint is not None:
        if volume is None:
            reason = "the prior shows it too small to be counted"
            yield from (refused(compared, finding, size, reason) for size in sizes(finding))
            return
        was = replace(volume, value=faint)
        two = Two(now=place, before=None, told="too small to be counted in the prior")
        yield sized(compared, finding, volume, was, two)
        return
    yield from new(compared, place)


def _compared_sizes(compared: Compared, pair: Pair) -> Iterator[Change]:
    found, finding, was = compared.found, compared.now.findings[pair.now], compared.before.findings[pair.before]
    is_cut = pair.now in found.cut_now or pair.before in found.cut_before
    why = "it reaches the edge of the images" if is_cut else ""
    two = Two(now=pair.now, before=pair.before, told=f"matched by {pair.way}", why=why)
    measured = {(each.quantity, each.unit, each.method): each for each in reversed(sizes(was))}
    for size in sizes(finding):
        then = measured.get((size.quantity, size.unit, size.method))
        if then is None:
            yield refused(compared, finding, size, "it was not measured in the prior")
            continue
        made = sized(compared, finding, size, then, two)
        tracking = finding.tracking_uid if pair.way is Way.TRACKING else ""
        yield replace(made, prior_lesion_number=was.lesion_number, tracking_uid=tracking, prior_image=image(was))
