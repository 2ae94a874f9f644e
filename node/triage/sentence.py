"""One sentence a finding: what, where, how sure, compared with which prior; a negative says what was looked for.

Nothing of the patient and no free text of the source is said: sentences get printed and passed on. A number that the
model gives is a probability only where it was calibrated. Digits that the model's own test-retest error makes
meaningless are not shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from node.domain.finding import LEFT, RIGHT, RIGHT_AND_LEFT, Code, Finding, Measurement, lowered
from node.domain.model_card import ModelCard
from node.domain.study import Instance
from node.domain.target import Target
from node.triage.numbers import change, sizes

#: Slices from here on are called thick (mm).
_THICK_MM = 3.0
#: Transfer syntaxes that always lose information: JPEG baseline and extended, JPEG-LS near-lossless (PS3.5 §A.4).
_LOSSY = frozenset(f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 81))
_SIDES = {RIGHT.value: "on the right", LEFT.value: "on the left", RIGHT_AND_LEFT.value: "on both sides"}
#: LPS: the letter of a positive coordinate, then of a negative one.
_LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What the same model measured of the same finding in an earlier study of the patient."""

    #: ISO 8601.
    study_date: str
    measurements: tuple[Measurement, ...]


def sentence(finding: Finding, card: ModelCard, images: Sequence[Instance], prior: Prior | None = None) -> str:
    """Return the sentence on a finding of what a model read; `images` are those that bear its result."""
    parts = [*_sureness(finding, card)]
    if finding.present is False:
        looked = f"looked for in {_series(images)}"
        return _joined(f"No {lowered(_sought(finding, card))}", [looked, *parts, *_caveats(images)])
    numbers = sizes(finding.measurements)
    where = _where(finding, images)
    compared = [] if prior is None else list(change(finding.measurements, prior.measurements, prior.study_date))
    said = [*numbers, *parts, *([where] if where else []), *compared, f"read in {_series(images)}", *_caveats(images)]
    return _joined(" ".join(filter(None, (_subject(finding, card), _side(finding)))), said)


def _joined(subject: str, said: Sequence[str]) -> str:
    return f"{subject}: {'; '.join(said)}."


def _subject(finding: Finding, card: ModelCard) -> str:
    """What was found, and in what where that is not said by its name."""
    segment = next((each for each in card.segments if each.number == finding.segment_number), None)
    if segment is not None:
        name = f"{segment.label}, lesion {finding.lesion_number}" if finding.lesion_number else segment.label
        return _with_site(name, segment.site, segment.type)
    target = _target(finding, card)
    return finding.code.meaning if target is None else _with_site(target.label, target.site, target.code)


def _with_site(name: str, site: Code | None, code: Code) -> str:
    is_said = site is None or site == code or site.meaning.casefold() in name.casefold()
    return name if is_said or site is None else f"{name} ({lowered(site.meaning)})"


def _sought(finding: Finding, card: ModelCard) -> str:
    """What a negative denies; of lesions also how large one must be to count."""
    segment = next((each for each in card.segments if each.type == finding.code), None)
    lesions = next((each for each in card.lesions if segment and each.segment_number == segment.number), None)
    if segment is None or lesions is None or _target(finding, card) is not None:
        return _subject(finding, card)
    name = _with_site(segment.label, segment.site, segment.type)
    return f"{name} of {lesions.least_ml:g} mL or more" if lesions.least_ml else name


def _target(finding: Finding, card: ModelCard) -> Target | None:
    return next((each for each in card.targets if each.code == finding.code), None)


def _side(finding: Finding) -> str:
    return "" if finding.laterality is None else _SIDES.get(finding.laterality.value, "")


def _sureness(finding: Finding, card: ModelCard) -> Iterator[str]:
    """The model's number by its right name, its operating point, and its doubt."""
    target = _target(finding, card)
    is_calibrated = finding.probability is not None and target is not None and target.calibration is not None
    number = finding.probability if finding.probability is not None else finding.score
    point = finding.operating_point
    if number is not None:
        name = "probability" if is_calibrated else "score"
        counted = ""
        if point is not None:
            below = finding.present is False and number < point
            counted = f", below the operating point {point:g}" if below else f" (counts as present from {point:g})"
        yield f"{name} {_share(number, point)}{counted}"
    elif point is not None:
        yield f"operating point {point:g}"
    limit = None if card.uncertainty is None else card.uncertainty.doubtful_from
    if finding.uncertainty is not None and limit is not None and finding.uncertainty >= limit:
        yield f"doubtful: the model's own answers differ by {finding.uncertainty:.2g}"


def _share(number: float, point: float | None) -> str:
    """A number from 0 to 1 with two decimals, or more where these hide the decision; never as certain as 0 or 1."""
    if point is not None and number != point:
        digits = next((each for each in range(2, 7) if (round(number, each) < point) is (number < point)), 7)
        if digits > 2:
            return f"{number:.{digits}f}"
    if number < 0.01:
        return "below 0.01"
    return "above 0.99" if number > 0.99 else f"{number:.2f}"


def _where(finding: Finding, images: Sequence[Instance]) -> str:
    """The image that shows it best, by the number that a viewer shows, and where it lies in the patient."""
    shown = [each for each in images if finding.key_images and each.sop_instance_uid == finding.key_images[0]]
    # Of several frames of one image no one has said which it is.
    if len(shown) != 1 or shown[0].instance_number is None or len(images) < 2:
        return ""
    is_seen = finding.segment_number is not None or finding.regions
    return f"{'largest' if is_seen else 'highest'} on image {shown[0].instance_number}{_position(shown[0])}"


def _position(image: Instance) -> str:
    """Coordinate of the middle of a slice along the axis that it lies across most, as a viewer writes it."""
    if image.plane is None or image.pixels is None:
        return ""
    row, column = image.plane.orientation[:3], image.plane.orientation[3:]
    normal = [row[(k + 1) % 3] * column[(k + 2) % 3] - row[(k + 2) % 3] * column[(k + 1) % 3] for k in range(3)]
    axis = max(range(3), key=lambda k: abs(normal[k]))
    along, across = (image.pixels.columns - 1) / 2, (image.pixels.rows - 1) / 2
    middle = image.plane.position[axis] + row[axis] * along * image.plane.spacing[1]
    middle += column[axis] * across * image.plane.spacing[0]
    return f" ({_LETTERS[axis][middle < 0]} {abs(middle):.0f} mm)"


def _series(images: Sequence[Instance]) -> str:
    """The series by its number, what it is, and how much of it there is."""
    if not images:
        return "the images given"
    first = images[0]
    name = f"series {first.series_number}" if first.series_number is not None else "the series"
    what = f"{len(images)} {'image' if len(images) == 1 else 'images'}"
    return f"{name} ({', '.join(filter(None, (first.modality, what)))})"


def _caveats(images: Sequence[Instance]) -> Iterator[str]:
    """What makes every number rougher: thick slices, compression with loss."""
    thickness_mm = max((each.slice_thickness_mm or 0.0 for each in images), default=0.0)
    if thickness_mm > _THICK_MM and len(images) > 1:
        yield f"thick slices ({thickness_mm:.2g} mm)"
    if any(each.lossy_image_compression == "01" or each.transfer_syntax_uid in _LOSSY for each in images):
        yield "images compressed with loss"
