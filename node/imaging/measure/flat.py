"""Numbers of a mask on single images: areas and axes in the plane, where their pixels have a size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from node.domain.finding import LEFT, RIGHT, Code, Finding, Measurement, Segment
from node.domain.measures import Quantity
from node.domain.model_card import ModelCard
from node.domain.study import Instance
from node.imaging.images import Image
from node.imaging.mask import tally
from node.imaging.measure.axes import flat_axes
from node.imaging.measure.numbers import written
from node.imaging.measure.result import Measured

#: Projections: what is known there is the size of a pixel on the detector, and what lies nearer the tube looks larger.
_PROJECTIONS = frozenset({"CR", "DX", "MG", "RF", "XA", "PX", "IO", "RG"})
#: Image Laterality (0020,0062); an image of both sides (B) or of what is unpaired (U) does not say which.
_LATERALITIES = {"R": RIGHT, "L": LEFT}


def measured_on_images(
    card: ModelCard, labels: NDArray[np.uint8], images: Sequence[Image], instances: Sequence[Instance] = ()
) -> Measured:
    """Return one finding a segment that the mask shows, measured on the image where it is largest, and notes.

    labels: (image, row, column), on the pixels of `images`; `instances` are what their headers say, in any order.

    Raises:
        Failed: a value is outside what the card holds plausible.
    """
    counts = tally(labels).counts
    described = {each.sop_instance_uid: each for each in instances}
    found: list[Finding] = []
    notes: dict[str, None] = {}
    for segment in card.segments:
        if not counts[:, segment.number].any():
            continue
        best = int(counts[:, segment.number].argmax())
        image, plane = images[best], labels[best] == segment.number
        instance = described.get(image.sop_instance_uid)
        numbers, said = _numbers(card, segment, plane, image, instance)
        notes |= dict.fromkeys(said)
        is_sided = any(each.segment_number == segment.number for each in card.sides)
        side = side_on_image(plane, instance) if is_sided and instance is not None else None
        found.append(
            Finding(
                code=segment.type,
                segment_number=segment.number,
                measurements=tuple(numbers),
                laterality=side,
                key_images=(image.sop_instance_uid,),
            )
        )
    return Measured(findings=tuple(found), notes=tuple(notes))


def side_on_image(plane: NDArray[np.bool_], instance: Instance) -> Code | None:
    """The side of (row, column) `plane` in the patient: what the image says it shows, else from its orientation.

    `None` where the header says neither: no side is guessed from where something lies on the picture.
    """
    shows = instance.image_laterality.strip().upper()
    if shows in _LATERALITIES:
        return _LATERALITIES[shows]
    for axis, letters in ((1, instance.patient_orientation[:1]), (0, instance.patient_orientation[1:2])):
        letter = letters[0][:1].upper() if letters and letters[0] else ""
        if letter in {"L", "R"}:
            along = np.flatnonzero(plane.any(axis=1 - axis))
            counts = np.count_nonzero(plane, axis=1 - axis)[along]
            middle = float((along * counts).sum() / counts.sum())
            is_ahead = middle > (plane.shape[axis] - 1) / 2
            return LEFT if (letter == "L") is is_ahead else RIGHT
    return None


def _numbers(
    card: ModelCard, segment: Segment, plane: NDArray[np.bool_], image: Image, instance: Instance | None
) -> tuple[list[Measurement], list[str]]:
    """What the card asks for of one segment, and why some of it cannot be said."""
    asked = [each for each in card.measures if each.segment_number == segment.number and not each.per_lesion]
    if not asked:
        return [], []
    if image.spacing_mm is None:
        return [], [f"Nothing of {segment.label} was measured: the image does not say how large its pixels are."]
    notes = []
    if instance is not None and instance.plane is None and instance.modality in _PROJECTIONS:
        notes.append(f"Sizes of {segment.label} are those on the detector, not corrected for magnification.")
    rows, columns = image.spacing_mm
    axes = flat_axes(np.argwhere(plane).astype(np.float64), (rows, columns))
    values = {
        Quantity.AREA: float(np.count_nonzero(plane)) * rows * columns,
        Quantity.LONG_AXIS: axes.long_mm,
        Quantity.SHORT_AXIS: axes.short_mm,
    }
    numbers = [written(each, values[each.quantity], segment.label) for each in asked if each.quantity in values]
    return numbers, notes
