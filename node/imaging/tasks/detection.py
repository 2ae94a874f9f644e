"""From a detector's boxes to findings, each with a rectangle on every image that it lies on; none is a negative."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite

from node.domain.finding import Finding, Region
from node.domain.model_card import ModelCard
from node.domain.target import Target
from node.errors import Failed
from node.imaging.pipelines import Box, Given, Reading
from node.imaging.tasks.boxes import Edges, clipped, kept, linked, slices_crossed
from node.imaging.tasks.numbers import Number, number_of

#: Images that are named for a finding.
_MOST_KEY_IMAGES = 3
#: Boxes of one target that are looked at, those with the highest numbers: a network at its start sees thousands.
_MOST_BOXES = 5000
#: Rectangles of one finding, and of all that there may be: what lies on more images is told on the middle ones.
_MOST_REGIONS, _MOST_REGIONS_OF_ALL = 100, 4000


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """What boxes come to."""

    findings: tuple[Finding, ...]
    #: Sentences on what was left out.
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Seen:
    """A box within its image or volume."""

    edges: Edges
    number: Number
    image: int


def findings(card: ModelCard, given: Given, reading: Reading) -> tuple[Finding, ...]:
    """Return the findings of `detected` alone.

    Raises:
        Failed: as `detected`.
    """
    return detected(card, given, reading).findings


def detected(card: ModelCard, given: Given, reading: Reading) -> Detected:
    """Return the boxes that count as findings, target by target in the card's order, the highest number first.

    Boxes below the operating point are left out, where there is one; of those that overlap the lower goes.
    A target of which no box is left is a finding that is absent, with the highest number that was seen of it.

    Raises:
        Failed: a box is not finite, lies on no image that was given, or is of a target that the card does not declare.
    """
    found: list[Finding] = []
    notes: list[str] = []
    by_target = _by_target(card, reading.boxes)
    for target in card.targets:
        seen = [
            _Seen(edges, number_of(target, box.score), box.image)
            for box in by_target.get(target.index, ())
            if (edges := clipped(box.edges, _shape(given, box))) is not None
        ]
        groups = _groups(card, target, seen)
        if len(groups) > card.detection.most:
            left_out = len(groups) - card.detection.most
            notes.append(f"{left_out} more boxes of {target.label} have lower scores and are left out.")
        for ordinal, group in enumerate(groups[: card.detection.most], start=1):
            regions = [region for each in group for region in _regions(given, each)]
            found.append(_finding(target, group, _middle(card, regions), reading, f"{target.label} {ordinal}"))
        if not groups:
            found.append(_absent(target, seen, reading))
    return Detected(findings=tuple(found), notes=tuple(notes))


def _by_target(card: ModelCard, boxes: Iterable[Box]) -> dict[int, list[Box]]:
    """Target index → its boxes, the highest scores first.

    Raises:
        Failed: a box cannot be meant.
    """
    declared = {target.index for target in card.targets}
    by_target: dict[int, list[Box]] = {}
    for box in boxes:
        if box.target not in declared:
            raise Failed(f"a box is of target {box.target}, which the card does not declare")
        numbers = [box.score, *(edge for pair in box.edges for edge in pair)]
        if not all(map(isfinite, numbers)) or not 0 <= box.score <= 1:
            raise Failed("a box or its score is not finite, or the score not from 0 to 1")
        by_target.setdefault(box.target, []).append(box)
    return {target: sorted(each, key=lambda box: -box.score)[:_MOST_BOXES] for target, each in by_target.items()}


def _shape(given: Given, box: Box) -> tuple[int, ...]:
    """The shape of what a box lies in.

    Raises:
        Failed: it is not there, or has other axes.
    """
    if given.images:
        if not 0 <= box.image < len(given.images) or len(box.edges) != 2:
            raise Failed(f"a box lies on image {box.image}, and {len(given.images)} were given")
        return given.images[box.image].array.shape[:2]
    if box.image or len(box.edges) != 3:
        raise Failed(f"a box with {len(box.edges)} axes in a volume")
    return given.volume.grid.shape


def _groups(card: ModelCard, target: Target, seen: Sequence[_Seen]) -> list[list[_Seen]]:
    """What is left of the boxes, each with those on neighbouring images that are one with it; the highest first."""
    left = [each for each in seen if target.operating_point is None or each.number.present]
    standing: list[_Seen] = []
    for image in sorted({each.image for each in left}):
        here = [each for each in left if each.image == image]
        numbers = [each.number.value for each in here]
        chosen = kept([each.edges for each in here], numbers, card.detection.suppressed_from)
        standing += [here[index] for index in chosen]
    together = [[each] for each in standing]
    if card.detection.linked_from is not None:
        places = [each.image for each in standing], [each.edges for each in standing]
        together = [[standing[index] for index in group] for group in linked(*places, card.detection.linked_from)]
    return sorted(together, key=lambda group: -max(each.number.value for each in group))


def _middle(card: ModelCard, regions: Sequence[Region]) -> list[Region]:
    """As many of the regions as can be told, from the middle."""
    most = max(1, min(_MOST_REGIONS, _MOST_REGIONS_OF_ALL // (len(card.targets) * card.detection.most)))
    first = max(0, len(regions) - most) // 2
    return list(regions[first : first + most])


def _finding(target: Target, group: Sequence[_Seen], regions: Sequence[Region], reading: Reading, name: str) -> Finding:
    best = max(group, key=lambda each: each.number.value)
    area = {region: (region.edges[2] - region.edges[0]) * (region.edges[3] - region.edges[1]) for region in regions}
    # Of a box in a volume all are alike: its middle shows it best.
    middle = (len(regions) - 1) / 2
    by_area = sorted(range(len(regions)), key=lambda index: (-area[regions[index]], abs(index - middle)))
    keys = dict.fromkeys(regions[index].sop_instance_uid for index in by_area)
    return Finding(
        code=target.code,
        site=target.site,
        probability=best.number.probability,
        score=best.number.score,
        present=best.number.present,
        operating_point=target.operating_point,
        uncertainty=reading.uncertainty.get(target.index),
        tracking_identifier=name,
        regions=tuple(regions),
        key_images=tuple(keys)[:_MOST_KEY_IMAGES],
    )


def _absent(target: Target, seen: Sequence[_Seen], reading: Reading) -> Finding:
    highest = max(seen, key=lambda each: each.number.value, default=None)
    return Finding(
        code=target.code,
        site=target.site,
        probability=highest.number.probability if highest else None,
        score=highest.number.score if highest else None,
        present=False,
        operating_point=target.operating_point,
        uncertainty=reading.uncertainty.get(target.index),
        tracking_identifier=target.label,
    )


def _regions(given: Given, seen: _Seen) -> list[Region]:
    """The rectangles of one box on images: one, or one on each slice of the volume that it crosses."""
    (top, bottom), (left, right) = seen.edges[-2:]
    edges = (top, left, bottom, right)
    if given.images:
        image = given.images[seen.image]
        return [Region(sop_instance_uid=image.sop_instance_uid, frame_number=image.frame_number, edges=edges)]
    volume = given.volume
    frames = volume.frame_numbers or (0,) * volume.grid.shape[0]
    return [
        Region(sop_instance_uid=volume.sop_instance_uids[index], frame_number=frames[index], edges=edges)
        for index in slices_crossed(*seen.edges[0], volume.grid.shape[0])
    ]
