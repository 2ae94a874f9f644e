"""Which series suits a model, and why each other does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from node.domain.model_card import GEOMETRY_FIELDS, Condition, ModelCard, Preference
from node.domain.patient import conflict
from node.domain.study import Instance, Series, is_image
from node.triage import series_values
from node.triage.series_values import Geometry

#: Attributes that one volume cannot have in two ways, and what a reader calls them.
_UNIFORM = (
    ("modality", "modalities"),
    ("sop_class_uid", "kinds of object"),
    ("image_type", "image types"),
    ("echo_time_ms", "echo times"),
    ("pixels.number_of_frames", "numbers of frames"),
    ("pixels.samples_per_pixel", "numbers of samples per pixel"),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The series that a model reads, if any, and the verdict on each, by Series Instance UID."""

    chosen: str | None
    #: Why this one, or why none.
    reason: str
    verdicts: tuple[Verdict, ...]


def judge(series: Series, card: ModelCard) -> Verdict:
    """Say whether `series` suits the model, with every reason against it; the order of arrival is no matter."""
    instances = sorted(series.instances, key=lambda instance: instance.sop_instance_uid)
    images = [instance for instance in instances if is_image(instance.sop_class_uid)]
    if not images:
        what = f" ({instances[0].modality})" if instances and instances[0].modality else ""
        reason = f"No images in this series{what}"
        return Verdict(series_instance_uid=series.series_instance_uid, suits=False, reason=reason)
    geometry = series_values.geometry_of(images, needs_volume=card.needs_volume)
    against = [
        *_failed_requirements(images, geometry, card.requires),
        *_unsound(images),
        *_undecodable(images),
        *([geometry.problem] if geometry.problem else []),
    ]
    if against:
        return Verdict(
            series_instance_uid=series.series_instance_uid,
            suits=False,
            reason=series_values.capitalised("; ".join(dict.fromkeys(against))),
            slice_count=geometry.slice_count,
        )
    points = sum(each.points for each in card.prefers if _holds(each, images, geometry))
    return Verdict(
        series_instance_uid=series.series_instance_uid,
        suits=True,
        reason=f"Suits {card.name}: {geometry.description}",
        points=points,
        slice_count=geometry.slice_count,
    )


def choose(series: Sequence[Series], card: ModelCard) -> Choice:
    """Judge every series and choose the one to read: most points, then most slices, then the lowest UID."""
    verdicts = [judge(each, card) for each in sorted(series, key=lambda each: each.series_instance_uid)]
    names = {each.series_instance_uid: _name(each) for each in series}
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
    return Verdict(
        series_instance_uid=verdict.series_instance_uid,
        suits=True,
        reason=f"{verdict.reason}; not read, because {name} {why}",
        points=verdict.points,
        slice_count=verdict.slice_count,
    )


def _name(series: Series) -> str:
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


def _unsound(images: Sequence[Instance]) -> list[str]:
    """What no model should be given as one series: several patients, or attributes in several ways."""
    against = []
    patients = sorted({image.patient for image in images}, key=repr)
    clash = next(filter(None, (conflict(one, other) for one, other in combinations(patients, 2))), None)
    if clash:
        against.append(f"instances of different patients in one series ({clash})")
    sizes = sorted({(image.pixels.rows, image.pixels.columns) for image in images if image.pixels})
    if len(sizes) > 1:
        shown = ", ".join(f"{rows} × {columns}" for rows, columns in sizes[:3])
        against.append(f"images of different sizes in one series ({shown})")
    for field, called in _UNIFORM:
        found = series_values.values(field, images, None)
        if field == "echo_time_ms":
            found = sorted({round(float(value), _ECHO_TIME_DIGITS) for value in found if not isinstance(value, tuple)})
        if len(found) > 1:
            against.append(f"several {called} in one series ({series_values.shown(field, found)})")
    return against


def _undecodable(images: Sequence[Instance]) -> list[str]:
    without = sum(image.pixels is None for image in images)
    against = [f"{without} of {len(images)} instances have no pixel data"] if without else []
    reasons = sorted({image.pixels.undecodable for image in images if image.pixels and image.pixels.undecodable})
    return against + [f"the pixels cannot be read here ({reason})" for reason in reasons[:2]]
