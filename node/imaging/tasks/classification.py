"""From a classifier's logits to findings: one a target, and for scope "image" one a target of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.domain.finding import Finding
from node.domain.model_card import ModelCard, Scope
from node.domain.target import Target
from node.errors import Failed
from node.imaging.pipelines import Given, Reading
from node.imaging.tasks.numbers import number_of

#: Findings beyond these are no answer that anybody reads, nor one that fits a message.
MOST_FINDINGS = 1000
#: Images that are named for a finding, those with the highest numbers.
_MOST_KEY_IMAGES = 3

Scores = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows of the scores that are put together."""

    scores: Scores
    #: SOP Instance UID of each row; empty where one row speaks for all images.
    uids: tuple[str, ...]
    #: Added to a label to tell the parts apart.
    suffix: str = ""


def findings(card: ModelCard, given: Given, reading: Reading) -> tuple[Finding, ...]:
    """Return what the numbers come to, in the card's order; what is not there is a finding too.

    With the scope "image" each instance is judged for itself, the frames of one together; else all images are judged
    together. Several images become one number as the card's `aggregate` says, before any calibration (see `numbers`).

    Raises:
        Failed: the logits are missing, not finite, or not those of these images and targets.
    """
    uids = image_uids(given)
    scores = scores_of(card, reading.logits)
    if len(scores) not in (1, len(uids)):
        raise Failed(f"numbers of {len(scores)} images where {len(uids)} were given")
    per_image = tuple(uids) if len(scores) == len(uids) else ()
    parts = [_Part(scores, per_image)]
    if card.scope is Scope.IMAGE and per_image:
        each_once = list(dict.fromkeys(per_image))
        rows = {uid: [row for row, found in enumerate(per_image) if found == uid] for uid in each_once}
        parts = [
            _Part(scores[rows[uid]], (uid,) * len(rows[uid]), f", image {number}" if len(each_once) > 1 else "")
            for number, uid in enumerate(each_once, start=1)
        ]
    if len(parts) * len(card.targets) > MOST_FINDINGS:
        raise Failed(
            f"{len(parts)} images make {len(parts) * len(card.targets)} findings: too many to be told one by one"
        )
    return tuple(_finding(card, target, part, reading) for part in parts for target in card.targets)


def image_uids(given: Given) -> list[str]:
    """SOP Instance UID of each image that a row of numbers can be of: the images, or the slices of the volume."""
    if given.images:
        return [image.sop_instance_uid for image in given.images]
    return list(given.volume.sop_instance_uids)


def scores_of(card: ModelCard, logits: NDArray[np.float32] | None) -> Scores:
    """(image, channel) float64, 0–1: a softmax over all channels where the targets exclude each other, else sigmoids.

    Raises:
        Failed: as `findings`.
    """
    if logits is None or logits.ndim != 2 or not logits.size:
        raise Failed("the model gave no numbers")
    channels = logits.shape[1]
    beyond = [target.label for target in card.targets if target.index >= channels]
    if beyond:
        raise Failed(f"the model gives {channels} number(s), none of them for {beyond[0]}")
    if card.exclusive and channels < 2:
        raise Failed("the model gives one number, and targets that exclude each other need one each")
    if not np.isfinite(logits).all():
        raise Failed("the model's numbers are not all finite")
    exact = logits.astype(np.float64)
    if card.exclusive:
        powers = np.exp(exact - exact.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float64)
    return np.asarray(np.where(exact >= 0, 1, np.exp(np.minimum(exact, 0))) / (1 + np.exp(-np.abs(exact))), np.float64)


def _finding(card: ModelCard, target: Target, part: _Part, reading: Reading) -> Finding:
    scores = part.scores[:, target.index]
    number = number_of(target, float(scores.mean() if card.aggregate == "mean" else scores.max()))
    keys: Sequence[str] = ()
    if part.uids and (number.present is not False or len(set(part.uids)) == 1):
        by_score = [part.uids[row] for row in np.argsort(-scores, kind="stable")]
        keys = list(dict.fromkeys(by_score))[: _MOST_KEY_IMAGES if len(set(part.uids)) > 1 else 1]
    return Finding(
        code=target.code,
        site=target.site,
        probability=number.probability,
        score=number.score,
        present=number.present,
        operating_point=target.operating_point,
        uncertainty=reading.uncertainty.get(target.index),
        tracking_identifier=f"{target.label}{part.suffix}",
        key_images=tuple(keys),
    )
