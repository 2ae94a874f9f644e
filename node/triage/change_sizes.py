"""One size then and now, or the one that there is: what may be said of it, and why no more."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import hypot, log

from node.domain.alignment import Correspondence, Sampling
from node.domain.change import Change, Verdict
from node.domain.finding import VOLUME, Finding, Measurement
from node.domain.measures import AREA, DIAMETER, LONG_AXIS, PERPENDICULAR_AXIS, SHORT_AXIS
from node.triage.ratio import doubling_days, ratio_of
from node.triage.voxels import is_too_small, may_be_missed, sampling_of, varies_within

#: Sizes, and the power of each that a volume goes with.
POWERS = {VOLUME: 1.0, AREA: 1.5, DIAMETER: 3.0, PERPENDICULAR_AXIS: 3.0, LONG_AXIS: 3.0, SHORT_AXIS: 3.0}
NOT_MEASURED = "this model's repeatability was not measured"
TOO_FEW = "too few voxels show it"


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
class Compared:
    """Two studies as a model read them, and what their images say."""

    now: Read
    before: Read
    found: Correspondence
    days: int | None

    def head(self, finding: Finding) -> dict[str, object]:
        """What every change of a finding says alike."""
        return {
            "model": self.now.model,
            "code": finding.code,
            "segment_number": finding.segment_number or 0,
            "days": self.days,
            "prior_study_instance_uid": self.before.study_instance_uid,
            "prior_date": self.before.study_date,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Two:
    """A finding now and the same before: each by its place among the findings, or `None` where it is none there."""

    now: int | None
    before: int | None
    #: By what they were taken for the same.
    told: str
    #: Why nothing may be said of them all the same; empty if something may.
    why: str = ""


def sizes(finding: Finding) -> list[Measurement]:
    """What of a finding can be compared."""
    return [each for each in finding.measurements if each.quantity in POWERS and each.derivation is None]


def refused(compared: Compared, finding: Finding, size: Measurement, reason: str) -> Change:
    """A size with the reason for which nothing is said of it."""
    return _change(compared, finding, size, Verdict.NOT_COMPARABLE, reason, after=size.value)


def sized(compared: Compared, finding: Finding, now: Measurement, then: Measurement, two: Two) -> Change:
    """One size then and now, with the verdict that the model's repeatability and the voxels allow."""
    found, power = compared.found, POWERS[now.quantity]
    shown = (_shown(found, two.now, now, is_now=True), _shown(found, two.before, then, is_now=False))
    voxels = [varies_within(each.quantity, each.value, one) for each, one in zip((now, then), shown, strict=True)]
    repeats = (now.repeats_within, then.repeats_within)
    why = two.why
    if not why and None not in repeats and _is_too_small((now.value, then.value), voxels, shown, power):
        why = TOO_FEW
    within = tuple(None if each is None or why else hypot(each, one) for each, one in zip(repeats, voxels, strict=True))
    ratio = ratio_of(now.value, then.value, (within[0], within[1]))
    if ratio.ratio is None:
        reason = f"{two.told}; there is no ratio of these sizes"
    elif why or ratio.low is None:
        reason = f"{two.told}; {why or NOT_MEASURED}"
    else:
        reason = f"{two.told}; {_limits(max(each or 0.0 for each in repeats), max(voxels), now)}"
    is_change = ratio.verdict in (Verdict.GROWN, Verdict.SHRUNK) and ratio.ratio is not None
    return replace(
        _change(compared, finding, now, ratio.verdict, reason, before=then.value, after=now.value),
        ratio=ratio.ratio,
        ratio_low=ratio.low,
        ratio_high=ratio.high,
        doubling_days=doubling_days(ratio.ratio or 1.0, compared.days, power) if is_change else None,
    )


def new(compared: Compared, place: int) -> Iterator[Change]:
    """Each size of a finding that the prior has nothing of, where it shows the place."""
    found, finding = compared.found, compared.now.findings[place]
    unseen = _unaligned(found) or ("the prior does not show the place" if place in found.unseen_now else "")
    missed = may_be_missed(found.sampled_now.get(place), found.before)
    for size in sizes(finding):
        reason = _why_not_alone(size, unseen, "nothing there in the prior, but", "is", is_missed=missed)
        verdict = Verdict.NOT_COMPARABLE if reason else Verdict.NEW
        told = reason or "the prior shows the place, and nothing there"
        yield _change(compared, finding, size, verdict, told, after=size.value)


def gone(compared: Compared, place: int) -> Iterator[Change]:
    """Each size of a finding of the prior that the current study has nothing of, where it shows the place."""
    found, was = compared.found, compared.before.findings[place]
    faint = found.faint_now.get(place)
    unseen = "the current images do not show the place" if place in found.unseen_before else ""
    unseen = _unaligned(found) or unseen
    missed = may_be_missed(found.sampled_before.get(place), found.now)
    for size in sizes(was):
        finding = replace(was, lesion_number=0)
        if faint is not None and size.quantity == VOLUME:
            two = Two(now=None, before=place, told="too small to be counted now")
            made = sized(compared, finding, replace(size, value=faint), size, two)
        else:
            reason = "it is too small to be counted now" if faint is not None else ""
            reason = reason or _why_not_alone(size, unseen, "nothing there now, but", "was", is_missed=missed)
            verdict = Verdict.NOT_COMPARABLE if reason else Verdict.RESOLVED
            told = reason or "the current images show the place, and nothing there"
            made = _change(compared, finding, size, verdict, told, before=size.value)
        yield replace(made, prior_lesion_number=was.lesion_number, prior_image=image(was))


def image(finding: Finding) -> str:
    """The image that shows a finding best; empty where that is not known."""
    return finding.key_images[0] if finding.key_images else ""


def _shown(found: Correspondence, place: int | None, size: Measurement, *, is_now: bool) -> Sampling | None:
    """How finely a finding is shown; of what was not counted, and of images that are gone, what is most like it."""
    sampled, made = (found.sampled_now, found.now) if is_now else (found.sampled_before, found.before)
    if made.slice_spacing_mm <= 0 or made.in_plane_spacing_mm <= 0:
        made = found.now
    known = None if place is None else sampled.get(place)
    return sampling_of(known, made, size.value if size.quantity == VOLUME else None)


def _is_too_small(
    values: tuple[float, float], voxels: list[float], shown: tuple[Sampling | None, Sampling | None], power: float
) -> bool:
    """Whether the voxels leave not even a volume that doubles apart from one that does not."""
    if any(map(is_too_small, shown)):
        return True
    if not all(each > 0 for each in values):
        return False
    relative = hypot(*(error / value for error, value in zip(voxels, values, strict=True))) / 2**0.5
    return relative * power >= log(2)


def _limits(repeats: float, voxels: float, size: Measurement) -> str:
    told = f"the model repeats within {repeats:.3g} {size.unit_name}".rstrip()
    if hypot(repeats, voxels) < 1.01 * repeats:
        return told
    return f"{told}, and voxels of this size within {voxels:.3g} {size.unit_name}".rstrip()


def _why_not_alone(size: Measurement, unseen: str, nothing: str, verb: str, *, is_missed: bool) -> str:
    """Why something is not told as new or gone; empty if it is."""
    if unseen:
        return unseen
    if size.repeats_within is None:
        return f"{nothing} {NOT_MEASURED}"
    if size.value <= size.repeats_within:
        return f"{nothing} it {verb} within the model's error"
    return f"{nothing} it {verb} so small that it may lie between voxels" if is_missed else ""


def _unaligned(found: Correspondence) -> str:
    return "" if found.alignment is not None else found.not_aligned or "the images were not aligned"


def _change(
    compared: Compared,
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
