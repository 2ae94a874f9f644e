"""Which series suits a model, and why each other does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from node.domain.colour import Colour
from node.domain.frames import each_slice
from node.domain.model_card import GEOMETRY_FIELDS, Condition, ModelCard, Preference
from node.domain.patient import conflict
from node.domain.study import Instance, Series, is_current_standard, is_image
from node.errors import Unsuitable
from node.triage import series_values, stacks
from node.triage.series_values import Geometry

#: Attributes that images read together cannot have in two ways, and what a reader calls them.
_UNIFORM = (
    ("modality", "modalities"),
    ("sop_class_uid", "kinds of object"),
)
#: Photometric interpretations without colour.
_GREYS = frozenset({"MONOCHROME1", "MONOCHROME2"})
#: SOP Classes of clips, which stand in one series with single images of the same kind (PS3.4 Table B.5-1).
_SINGLE_OF_CLIP = {
    "1.2.840.10008.5.1.4.1.1.3.1": "1.2.840.10008.5.1.4.1.1.6.1",  # ultrasound
    "1.2.840.10008.5.1.4.1.1.7.1": "1.2.840.10008.5.1.4.1.1.7",  # secondary capture: bits, bytes, words, colour
    "1.2.840.10008.5.1.4.1.1.7.2": "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.7.3": "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.7.4": "1.2.840.10008.5.1.4.1.1.7",
}
#: The same of slices that form a volume.
_UNIFORM_IN_VOLUME = (
    ("pixels.samples_per_pixel", "numbers of samples per pixel"),
    ("image_type", "image types"),
    ("echo_time_ms", "echo times"),
    ("diffusion_b_value", "b-values"),
    ("pixels.number_of_frames", "numbers of frames"),
)
#: Echo times within this are the same: scanners write them with few digits.
_ECHO_TIME_DIGITS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one model makes of one series."""

    series_instance_uid: str
    suits: bool
    #: All that speaks against it, or what it is.
    reason: str
    #: Sum of the card's preferences; 0 unless it suits.
    points: float = 0.0
    slice_count: int = 0
    #: What the model would be given if it suits: images, or single frames of one, sorted by UID and number.
    slices: tuple[Instance, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The series that a model reads, if any, and the verdict on each, by Series Instance UID."""

    chosen: str | None
    #: Why this one, or why none.
    reason: str
    verdicts: tuple[Verdict, ...]
    #: SOP Instance UIDs of the images to read: all of the series, or those of one of the volumes that share it.
    sop_instance_uids: frozenset[str] = frozenset()
    #: Series Instance UID → role, where several series are read together (see `triage.roles`); else empty.
    roles: Mapping[str, str] = field(default_factory=dict)


def judge(series: Series, card: ModelCard) -> Verdict:
    """Say whether `series` suits the model, with every reason against it; the order of arrival is no matter."""
    instances = sorted(series.instances, key=lambda instance: instance.sop_instance_uid)
    images = [instance for instance in instances if is_image(instance.sop_class_uid)]
    if not images:
        what = f" ({instances[0].modality})" if instances and instances[0].modality else ""
        reason = f"No images in this series{what}"
        return Verdict(series_instance_uid=series.series_instance_uid, suits=False, reason=reason)
    slices = each_slice(images) if card.needs_volume else images
    whole = _judged(series, slices, card)
    if whole.suits or not card.needs_volume or _of_different_patients(images):
        return whole
    return _one_of_several(series, slices, card, whole)


def slices_of(instances: Sequence[Instance], card: ModelCard) -> tuple[Instance, ...]:
    """What the model is given of the instances that were chosen for it: single images as they are, or single frames.

    Raises:
        Unsuitable: they do not suit the model; the reason says why.
    """
    if all(instance.frames is None for instance in instances):
        return tuple(instances)
    verdict = judge(Series(series_instance_uid=instances[0].series_instance_uid, instances=tuple(instances)), card)
    if not verdict.suits:
        raise Unsuitable(verdict.reason)
    return verdict.slices


def _judged(series: Series, slices: Sequence[Instance], card: ModelCard) -> Verdict:
    geometry = series_values.geometry_of(slices, needs_volume=card.needs_volume)
    against = [
        *_failed_requirements(slices, geometry, card.requires),
        *_unsound(slices, needs_volume=card.needs_volume),
        *_undecodable(slices),
        *_coloured(slices, card),
        *([geometry.problem] if geometry.problem else []),
    ]
    if against:
        return Verdict(
            series_instance_uid=series.series_instance_uid,
            suits=False,
            reason=series_values.capitalised("; ".join(dict.fromkeys(against))),
            slice_count=geometry.slice_count,
        )
    points = sum(each.points for each in card.prefers if _holds(each, slices, geometry))
    return Verdict(
        series_instance_uid=series.series_instance_uid,
        suits=True,
        reason=f"Suits {card.name}: {geometry.description}",
        points=points,
        slice_count=geometry.slice_count,
        slices=tuple(slices),
    )


def _one_of_several(series: Series, slices: Sequence[Instance], card: ModelCard, whole: Verdict) -> Verdict:
    """The verdict on the one volume of several in a series that suits, if there is one; else on the `whole`."""
    differs = ""
    for way in stacks.ways_apart(slices):
        differs = differs or stacks.what_differs(way)
        judged = {name: _judged(series, members, card) for name, members in way.items()}
        suitable = {name: verdict for name, verdict in judged.items() if verdict.suits}
        best = max((verdict.points for verdict in suitable.values()), default=0.0)
        names = sorted(name for name, verdict in suitable.items() if verdict.points == best)
        if len(names) > 1:
            shown = "; ".join(names[:3]) + (" …" if len(names) > 3 else "")
            reason = f"{len(names)} volumes in one series suit, and nothing says which to read ({shown})"
            return replace(whole, reason=series_values.capitalised(reason))
        if names and not stacks.reaches_beyond(slices, suitable[names[0]].slices):
            found = suitable[names[0]]
            return replace(found, reason=f"{found.reason}, of {len(way)} volumes that with {names[0]}")
    return replace(whole, reason=f"{whole.reason}; images differ in {differs}") if differs else whole


def choose(series: Sequence[Series], card: ModelCard) -> Choice:
    """Judge every series and choose the one to read: most points, then most slices, then the lowest UID.

    For a card without roles; one with roles goes through `triage.roles.choose`.
    """
    verdicts = [judge(each, card) for each in sorted(series, key=lambda each: each.series_instance_uid)]
    names = {each.series_instance_uid: name_of(each) for each in series}
    suitable = [verdict for verdict in verdicts if verdict.suits]
    if not suitable:
        because = "; ".join(f"{names[verdict.series_instance_uid]}: {verdict.reason}" for verdict in verdicts)
        reason = f"No series suits {card.name}. {because}" if because else "The study holds no described series"
        return Choice(chosen=None, reason=reason, verdicts=tuple(verdicts))
    best = max(suitable, key=lambda verdict: (verdict.points, verdict.slice_count))  # the first of equals
    chosen = best.series_instance_uid
    return Choice(
        chosen=chosen,
        reason=f"{names[chosen]}: {best.reason}",
        verdicts=tuple(_beaten(verdict, best, names[chosen]) for verdict in verdicts),
        sop_instance_uids=frozenset(each.sop_instance_uid for each in best.slices),
    )


def _beaten(verdict: Verdict, best: Verdict, name: str) -> Verdict:
    """The verdict as shown: a series that suits but is not read says which one is, and why."""
    if not verdict.suits or verdict is best:
        return verdict
    if verdict.points < best.points:
        why = "suits better"
    elif verdict.slice_count < best.slice_count:
        why = "has more slices"
    else:
        why = "suits as well and comes first"
    return replace(verdict, reason=f"{verdict.reason}; not read, because {name} {why}")


def name_of(series: Series) -> str:
    """What a reader calls a series."""
    described = sorted({each.series_description for each in series.instances if each.series_description})
    return f"“{described[0]}”" if described else f"series {series.series_instance_uid}"


def _failed_requirements(images: Sequence[Instance], geometry: Geometry, requires: Sequence[Condition]) -> list[str]:
    failed = []
    for condition in requires:
        found = series_values.values(condition.field, images, geometry)
        if not found:
            # What geometry cannot say of slices that form no volume is said by the geometry's own problem.
            if condition.when_missing == "refuse" and not (condition.field in GEOMETRY_FIELDS and geometry.problem):
                failed.append(f"{series_values.label(condition.field)} is not given")
            continue
        wrong = [value for value in found if not series_values.complies(condition, value)]
        if wrong:
            failed.append(series_values.complaint(condition, wrong))
    return failed


def _holds(preference: Preference, images: Sequence[Instance], geometry: Geometry) -> bool:
    found = series_values.values(preference.field, images, geometry)
    return bool(found) and all(series_values.complies(preference, value) for value in found)


def _of_different_patients(images: Sequence[Instance]) -> str:
    patients = sorted({image.patient for image in images}, key=repr)
    return next(filter(None, (conflict(one, other) for one, other in combinations(patients, 2))), None) or ""


def _unsound(images: Sequence[Instance], *, needs_volume: bool) -> list[str]:
    """What no model should be given as one series: several patients, or attributes in several ways."""
    against = []
    clash = _of_different_patients(images)
    if clash:
        against.append(f"instances of different patients in one series ({clash})")
    foreign = sorted({image.sop_class_uid for image in images if not is_current_standard(image.sop_class_uid)})
    if foreign:
        against.append(f"objects of a vendor's own or a retired kind ({', '.join(foreign)})")
    uniform = (*_UNIFORM, *_UNIFORM_IN_VOLUME) if needs_volume else _UNIFORM
    if needs_volume:
        against += _in_several_ways(images)
    for field_name, called in uniform:
        found = series_values.values(field_name, images, None)
        if field_name == "echo_time_ms":
            found = sorted({round(float(value), _ECHO_TIME_DIGITS) for value in found if not isinstance(value, tuple)})
        if field_name == "sop_class_uid" and not needs_volume:
            found = sorted({_SINGLE_OF_CLIP.get(str(value), str(value)) for value in found})
        if len(found) > 1:
            against.append(f"several {called} in one series ({series_values.shown(field_name, found)})")
    return against


def _in_several_ways(slices: Sequence[Instance]) -> list[str]:
    """What keeps slices from being one array."""
    against = []
    sizes = sorted({(each.pixels.rows, each.pixels.columns) for each in slices if each.pixels})
    if len(sizes) > 1:
        shown = ", ".join(f"{rows} × {columns}" for rows, columns in sizes[:3])
        against.append(f"images of different sizes in one series ({shown})")
    objects = {each.sop_instance_uid for each in slices}
    if len(objects) > 1 and any(each.frame for each in slices):
        against.append(f"frames of {len(objects)} objects in one series")
    if len({each.frame_of_reference_uid for each in slices}) > 1:
        against.append("several frames of reference in one series")
    return against


def _coloured(images: Sequence[Instance], card: ModelCard) -> list[str]:
    """Whether single images are in colour, and the card does not say what to make of that; a volume never is."""
    if card.needs_volume or card.colour is not Colour.REFUSED:
        return []
    kinds = {image.pixels.photometric_interpretation for image in images if image.pixels} - _GREYS
    return [f"images in colour ({', '.join(sorted(kinds))}), which this model does not read"] if kinds else []


def _undecodable(images: Sequence[Instance]) -> list[str]:
    without = sum(image.pixels is None for image in images)
    against = [f"{without} of {len(images)} instances have no pixel data"] if without else []
    reasons = sorted({image.pixels.undecodable for image in images if image.pixels and image.pixels.undecodable})
    return against + [f"the pixels cannot be read here ({reason})" for reason in reasons[:2]]
