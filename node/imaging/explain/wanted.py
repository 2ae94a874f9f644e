"""Which answers of a reading are explained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from node.domain.finding import Finding
from node.domain.model_card import ModelCard, Task
from node.imaging.pipelines import Given, Reading

#: Answers that are explained of one reading at most.
MOST = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer of a reading."""

    #: Segment or target number.
    number: int
    label: str
    #: Which of the given images, or slices of a volume; 0 for a volume as a whole.
    image: int = 0


def answers(
    card: ModelCard, given: Given, reading: Reading, findings: Sequence[Finding], *, flat: bool = False
) -> tuple[tuple[Answer, ...], tuple[str, ...]]:
    """Return the answers to explain, most telling first, and sentences on those that are not.

    flat: see `Explainable`.
    """
    count = len(given.volume.array) if flat and given.volumes else 0 if given.volumes else len(given.images)
    if card.task is Task.DETECTION:
        return (), ("nothing is explained: the methods explain numbers and regions, not boxes",)
    found = _seen(card, reading, count) if card.task is Task.SEGMENTATION else _said(card, reading, findings, count)
    if len(found) > MOST:
        left = f"{len(found) - MOST} of {len(found)} answers are not explained; `matins explain` does on request"
        return found[:MOST], (left,)
    return found, () if found else ("nothing is explained: the model found nothing",)


def _seen(card: ModelCard, reading: Reading, count: int) -> tuple[Answer, ...]:
    """Every segment that the mask holds, the largest first; of images, that on which it is largest."""
    if reading.labels is None:
        return ()
    counts = np.stack([np.bincount(each.ravel(), minlength=256) for each in reading.labels])
    held = [segment for segment in card.segments if counts[:, segment.number].any()]
    held.sort(key=lambda segment: -int(counts[:, segment.number].sum()))
    return tuple(
        Answer(
            number=segment.number,
            label=segment.label,
            image=int(counts[:, segment.number].argmax()) if count else 0,
        )
        for segment in held
    )


def _said(card: ModelCard, reading: Reading, findings: Sequence[Finding], count: int) -> tuple[Answer, ...]:
    """Every target that counts as present, else the one with the highest number."""
    logits = reading.logits
    if logits is None or not card.targets:
        return ()
    present = {finding.code for finding in findings if finding.present}
    known = [target for target in card.targets if target.index < logits.shape[1]]
    by_number = sorted(known, key=lambda target: -float(logits[:, target.index].max()))
    chosen = [target for target in by_number if target.code in present] or by_number[:1]
    each_image = len(logits) == count > 0
    return tuple(
        Answer(
            number=target.index,
            label=target.label,
            image=int(logits[:, target.index].argmax()) if each_image else count // 2,
        )
        for target in chosen
    )
