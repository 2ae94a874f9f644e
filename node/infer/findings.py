"""From what a model answered to what is kept of it: findings and files, by the task of its card."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from node.domain.finding import Finding
from node.domain.model_card import ModelCard, Task
from node.errors import Failed, Transient
from node.imaging import mask, measure
from node.imaging.pipelines import STILL, Given, Pulse, Reading, Runner
from node.imaging.tasks import classification, detection, outlines
from node.infer.messages import MASK, ReplyFile, file_of
from node.store.files import write_durably
from node.triage.sentence import sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """A file that is to be kept."""

    #: The kind of artifact that it is: "mask", "saliency".
    kind: str
    #: Makes the file's content; called once, in another thread, while the next study is read.
    encode: Callable[[], bytes]
    #: Which of several files of its kind it is, and how it was made (`ReplyFile`).
    profile: str = ""
    account: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What is kept of one reading."""

    findings: tuple[Finding, ...] = ()
    files: tuple[Content, ...] = ()
    #: Sentences, after those of the reading itself.
    notes: tuple[str, ...] = ()


def written(stem: str, content: Content) -> ReplyFile:
    """Put a file of a study durably where it belongs; `stem` as in `Job`.

    Raises:
        Transient: the disk is full or failing.
        Failed: it cannot be made.
    """
    path = file_of(stem, content.kind, content.profile)
    encoded = content.encode()
    try:
        write_durably(path, encoded)
    except OSError as error:
        raise Transient(f"the {content.kind} cannot be written: {error.strerror}") from error
    return ReplyFile(
        kind=content.kind,
        path=str(path),
        size=len(encoded),
        digest=hashlib.sha256(encoded).hexdigest(),
        profile=content.profile,
        account=content.account,
    )


def conclude(card: ModelCard, given: Given, reading: Reading, runner: Runner, pulse: Pulse = STILL) -> Conclusion:
    """Return the findings and files that a reading comes to; `runner` and `pulse` serve what asks the model again.

    Every finding is said in one sentence.

    Raises:
        Failed: the reading cannot be right, with the reason.
    """
    concluded = _concluded(card, given, reading)
    concluded = replace(concluded, findings=tuple(_doubted(each, reading) for each in concluded.findings))
    said = (replace(each, sentence=sentence(each, card, given.instances)) for each in concluded.findings)
    concluded = replace(concluded, findings=tuple(said))
    if not card.explanation.methods:
        return concluded
    # Captum takes a second to load: only where it is asked for.
    from node.infer.explaining import explained

    return explained(concluded, card, given, reading, runner, pulse)


def _doubted(finding: Finding, reading: Reading) -> Finding:
    """The finding with how far the model's answers on its segment lie apart."""
    if finding.segment_number is None or finding.segment_number not in reading.uncertainty:
        return finding
    return replace(finding, uncertainty=reading.uncertainty[finding.segment_number])


def _concluded(card: ModelCard, given: Given, reading: Reading) -> Conclusion:
    if card.task is Task.CLASSIFICATION:
        return Conclusion(findings=classification.findings(card, given, reading))
    if card.task is Task.DETECTION:
        found = detection.detected(card, given, reading)
        return Conclusion(findings=found.findings, notes=found.notes)
    if reading.labels is None:
        raise Failed("the model made no mask")
    return _segmented(card, given, reading.labels) if given.volumes else _outlined(card, given, reading.labels)


def _outlined(card: ModelCard, given: Given, labels: NDArray[np.uint8]) -> Conclusion:
    """Labels on images that lie nowhere in space; where there are none, that is what is kept."""
    made = outlines.mask_on(given.images, labels)
    _check_labels(labels, labels.shape, card)
    if not labels.any():
        return Conclusion(findings=outlines.findings(card, made))
    found = measure.measured_on_images(card, labels, given.images, given.instances)
    files = (Content(kind=MASK, encode=partial(mask.to_bytes, made)),)
    return Conclusion(findings=found.findings, files=files, notes=found.notes)


def _segmented(card: ModelCard, given: Given, labels: NDArray[np.uint8]) -> Conclusion:
    volume = given.volume
    _check_labels(labels, volume.grid.shape, card)
    modality = given.instances[0].modality if given.instances else ""
    found = measure.measured(card, labels, volume.grid, volume, modality=modality)
    if found.findings and not labels.any():  # lesions were looked for, and there are none: nothing to outline
        return Conclusion(findings=found.findings, notes=found.notes)
    if not labels.any():
        raise Failed("the mask is empty: nothing was segmented")
    if labels.min() == labels.max():
        raise Failed(f"the mask is {int(labels.max())} everywhere: nothing was told apart")
    made = mask.Mask(labels, volume.grid, volume.sop_instance_uids, volume.frame_numbers)
    files = (Content(kind=MASK, encode=partial(mask.to_bytes, made)),)
    return Conclusion(findings=found.findings, files=files, notes=found.notes)


def _check_labels(labels: NDArray[np.uint8], shape: tuple[int, ...], card: ModelCard) -> None:
    """A pipeline's mask must lie on the volume and speak of the card's segments alone."""
    if labels.shape != shape or labels.dtype != np.uint8:
        raise Failed(f"the mask is {labels.dtype} {labels.shape}, the volume {shape}")
    undeclared = int(labels.max()) not in {0, *(segment.number for segment in card.segments)}
    if undeclared:
        raise Failed(f"the mask holds {int(labels.max())}, which is no segment of the card")
