"""From the store to what two versions of a model have said of the same studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from node.catalogue import Model
from node.domain.feedback import Feedback, Verdict
from node.domain.finding import VOLUME, Finding
from node.domain.model_card import ModelCard
from node.errors import Failed
from node.imaging.mask import read_mask
from node.learn.agreement.figures import Compared, Said, Study, compared
from node.store import artifacts, feedback, findings, paired
from node.store.database import Database
from node.store.paired import Pair

_MASK = "mask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What came of laying two versions beside each other."""

    in_place: str
    beside: str
    #: Versions, as their cards say, and digests: only what these very files have said is compared.
    versions: tuple[str, str]
    digests: tuple[str, str]
    studies: int
    patients: int
    #: (state in place, state beside) → studies: where one has a result and the other has none is told too.
    states: Mapping[tuple[str, str], int]
    compared: tuple[Compared, ...]


def agreement(db: Database, in_place: Model, beside: Model) -> Agreement:
    """Lay the results of two models beside each other, of all studies of which both have one on the same images."""
    names = in_place.card.name, beside.card.name
    found = paired.pairs(db, *names, model_digest=in_place.model_digest, beside_digest=beside.model_digest)
    studies = [_study(db, pair, in_place.card, beside.card) for pair in found]
    return Agreement(
        in_place=names[0],
        beside=names[1],
        versions=(in_place.card.version, beside.card.version),
        digests=(in_place.model_digest, beside.model_digest),
        studies=len(studies),
        patients=len({each.patient for each in studies}),
        states=paired.states(db, *names),
        compared=compared(studies),
    )


def _study(db: Database, pair: Pair, one: ModelCard, other: ModelCard) -> Study:
    sides = [
        _said(card, findings.of_outcome(db, outcome)) for card, outcome in ((one, pair.outcome), (other, pair.beside))
    ]
    labels = [label for label in sides[0] if label in sides[1]]
    patient = pair.patient.strip("\x1f")
    said = {label: (sides[0][label], sides[1][label]) for label in labels}
    return Study(
        patient=pair.patient if patient else pair.study_instance_uid,
        said=said,
        dice=_dices(db, pair, one),
        truth=_truth(feedback.of_study(db, pair.study_instance_uid), pair, said),
    )


def _said(card: ModelCard, found: Sequence[Finding]) -> dict[str, Said]:
    """Label → what the findings say; lesions, of which there may be any number, are told by their segment alone."""
    labels = {segment.number: segment.label for segment in card.segments}
    said: dict[str, Said] = {}
    for each in found:
        if each.lesion_number:
            continue
        name = labels.get(each.segment_number or 0) or each.tracking_identifier.removeprefix(f"{card.name} ")
        number = each.score if each.probability is None else each.probability
        volumes = [measured.value for measured in each.measurements if measured.quantity.value == VOLUME.value]
        said[name] = Said(present=each.present, number=number, volume_ml=volumes[0] if volumes else None)
    return said


def _dices(db: Database, pair: Pair, card: ModelCard) -> dict[str, float]:
    """Segment → Dice of both masks, where both files are here still and lie on the same voxels."""
    if not card.segments:
        return {}
    masks = [_labels(db, outcome) for outcome in (pair.outcome, pair.beside)]
    one, other = masks
    if one is None or other is None or one.shape != other.shape:
        return {}
    found = {}
    for segment in card.segments:
        mine, theirs = one == segment.number, other == segment.number
        size = int(np.count_nonzero(mine)) + int(np.count_nonzero(theirs))
        if size:
            found[segment.label] = 2 * int(np.count_nonzero(mine & theirs)) / size
    return found


def _labels(db: Database, outcome: int) -> NDArray[np.uint8] | None:
    files = [each for each in artifacts.of_outcome(db, outcome) if each.kind == _MASK and not each.freed_at]
    if not files:
        return None
    try:
        return read_mask(db.folder / files[-1].path).labels
    except Failed:
        return None  # gone or damaged: the report room tells of that


def _truth(told: Sequence[Feedback], pair: Pair, said: Mapping[str, tuple[Said, Said]]) -> dict[str, bool]:
    """Target → whether it is there, by the last that stands of what readers have said of either result."""
    place = {pair.outcome: 0, pair.beside: 1}
    standing = [each for each in told if each.standing and each.outcome_id in place]
    if not standing:
        return {}
    last = standing[-1]
    if last.label:
        return {label: label.casefold() == last.label.casefold() for label in said}
    mine = {label: each[place[last.outcome_id]].present for label, each in said.items()}
    if last.verdict is Verdict.ACCEPT:
        return {label: present for label, present in mine.items() if present is not None}
    if last.verdict is Verdict.REJECT and len(mine) == 1:
        # It is wrong, and there is only one thing that it can be wrong about.
        return {label: not present for label, present in mine.items() if present is not None}
    return {}
