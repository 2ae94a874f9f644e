"""What a card asks to be measured, checked for what types alone cannot see."""

from __future__ import annotations

from math import isfinite

from node.catalogue.toml_file import Complaint
from node.domain.measures import DISTANCES, FLAT, Lesions, Measure, MeasuredRepeatability, Midline, Quantity, Sided
from node.domain.model_card import ModelCard

#: Fewer patients say nothing of how far two measurements lie apart.
_LEAST_SUBJECTS = 10


def check_measures(card: ModelCard, complaint: Complaint) -> None:
    """Check `measures`, `lesions` and `sides` of a card.

    Raises:
        Misconfigured: the first entry that cannot be followed.
    """
    numbers = {segment.number for segment in card.segments}
    named = {
        "measures": [each.segment_number for each in card.measures],
        "lesions": [each.segment_number for each in card.lesions],
        "sides": [each.segment_number for each in card.sides],
        "repeatability": [each.segment_number for each in card.repeatability],
    }
    for table, given in named.items():
        for index, number in enumerate(given):
            if number not in numbers:
                key = f"{table}[{index}].segment_number"
                raise complaint(key, f"there is no segment {number}", "Name one above")
    for index, measure in enumerate(card.measures):
        _check_measure(card, measure, f"measures[{index}]", complaint)
    for index, lesion in enumerate(card.lesions):
        _check_lesions(card, lesion, f"lesions[{index}]", complaint)
    for index, figure in enumerate(card.repeatability):
        _check_repeatability(card, figure, f"repeatability[{index}]", complaint)
    for index, sided in enumerate(card.sides):
        _check_side(card, sided, f"sides[{index}]", complaint)


def _check_measure(card: ModelCard, measure: Measure, key: str, complaint: Complaint) -> None:
    has_lesions = any(each.segment_number == measure.segment_number for each in card.lesions)
    if (measure.per_lesion or measure.quantity is Quantity.LESION_COUNT) and not has_lesions:
        remedy = "Add a [[lesions]] table for the segment: what counts as one"
        raise complaint(key, f"segment {measure.segment_number} has no lesions", remedy)
    if measure.per_lesion and measure.quantity is Quantity.LESION_COUNT:
        raise complaint(f"{key}.per_lesion", "a lesion does not count itself", "Leave it out")
    if not card.needs_volume and measure.quantity not in FLAT:
        remedy = f"Choose one of {', '.join(sorted(FLAT))}"
        raise complaint(f"{key}.quantity", f"{measure.quantity} needs a volume, and the model reads images", remedy)
    _check_partner(card, measure.to_segment, measure.segment_number, f"{key}.to_segment", complaint)
    if (measure.to_segment is not None) != (measure.quantity in DISTANCES):
        raise complaint(f"{key}.to_segment", f"does not go with {measure.quantity}", "Distances have it, and need it")
    same = (measure.quantity, measure.segment_number, measure.per_lesion, measure.to_segment)
    if [(m.quantity, m.segment_number, m.per_lesion, m.to_segment) for m in card.measures].count(same) > 1:
        raise complaint(key, "is asked for twice", "Leave one out")
    is_volume = measure.quantity is Quantity.VOLUME and not measure.per_lesion
    if is_volume and any(each.segment_number == measure.segment_number for each in card.volumes):
        raise complaint(key, "is asked for in [[volumes]] too", "Leave one out")
    if measure.plausible and not measure.plausible[0] < measure.plausible[1]:
        raise complaint(f"{key}.plausible", "is not a range", "Give the least and the most, in the quantity's unit")
    if measure.repeatability is not None:
        given = [each for each in (measure.repeatability.absolute, measure.repeatability.percent) if each is not None]
        if len(given) != 1 or not (isfinite(given[0]) and given[0] > 0):
            remedy = "Give `absolute` (in the quantity's unit) or `percent`, more than nothing"
            raise complaint(f"{key}.repeatability", "is not one positive number", remedy)


def _check_repeatability(card: ModelCard, figure: MeasuredRepeatability, key: str, complaint: Complaint) -> None:
    given = [each for each in (figure.absolute, figure.percent) if each is not None]
    if len(given) != 1 or not (isfinite(given[0]) and given[0] > 0):
        raise complaint(key, "is not one positive number", "Give `absolute` (in the quantity's unit) or `percent`")
    if not figure.source.strip():
        raise complaint(f"{key}.source", "is empty", "Name the study, or the file, that says so")
    if figure.subjects < _LEAST_SUBJECTS:
        remedy = f"Measure {_LEAST_SUBJECTS} patients twice or more, or leave the figure out: then no change is told"
        raise complaint(f"{key}.subjects", f"is {figure.subjects}: that measures no repeatability", remedy)
    name = (figure.quantity, figure.segment_number, figure.per_lesion)
    asked = [each for each in card.measures if (each.quantity, each.segment_number, each.per_lesion) == name]
    is_volume = figure.quantity is Quantity.VOLUME and not figure.per_lesion
    if not asked and not (is_volume and any(each.segment_number == name[1] for each in card.volumes)):
        raise complaint(key, f"{figure.quantity} of segment {name[1]} is not measured", "Ask for it in [[measures]]")
    if [(f.quantity, f.segment_number, f.per_lesion) for f in card.repeatability].count(name) > 1:
        raise complaint(key, "is there twice", "Leave one out")
    if any(each.repeatability is not None for each in asked):
        raise complaint(key, "is given in [[measures]] too", "Leave that one out: it names no source")


def _check_lesions(card: ModelCard, lesion: Lesions, key: str, complaint: Complaint) -> None:
    if [each.segment_number for each in card.lesions].count(lesion.segment_number) > 1:
        raise complaint(key, f"segment {lesion.segment_number} is there twice", "Leave one out")
    if not (isfinite(lesion.least_ml) and lesion.least_ml >= 0):
        raise complaint(f"{key}.least_ml", "is no volume", "Give millilitres; 0 counts every voxel")
    if lesion.most < 1:
        raise complaint(f"{key}.most", "is less than one", "Give how many lesions get a finding of their own")


def _check_side(card: ModelCard, sided: Sided, key: str, complaint: Complaint) -> None:
    if [each.segment_number for each in card.sides].count(sided.segment_number) > 1:
        raise complaint(key, f"segment {sided.segment_number} is there twice", "Leave one out")
    _check_partner(card, sided.of_segment, sided.segment_number, f"{key}.of_segment", complaint)
    if (sided.of_segment is not None) != (sided.midline in (Midline.PAIR, Midline.SEGMENT)):
        raise complaint(f"{key}.of_segment", f"does not go with midline {sided.midline}", "Pair and segment need it")
    if (sided.body_above is not None) != (sided.midline is Midline.BODY):
        raise complaint(f"{key}.body_above", f"does not go with midline {sided.midline}", "The body alone needs it")


def _check_partner(card: ModelCard, other: int | None, number: int, key: str, complaint: Complaint) -> None:
    if other is not None and (other == number or other not in {segment.number for segment in card.segments}):
        raise complaint(key, f"there is no other segment {other}", "Name one of the card's segments")
