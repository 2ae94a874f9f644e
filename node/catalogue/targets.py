"""What a card says of targets, boxes and numbers, checked for what types alone cannot see."""

from __future__ import annotations

from math import isfinite

from node.catalogue.toml_file import Complaint
from node.domain.model_card import ModelCard, Scope, Task
from node.domain.target import Target

_AGGREGATES = ("max", "mean")
#: Answers of one study go over to the node as one message: findings of one target beyond these would not fit.
MOST_FINDINGS = 200


def check_targets(card: ModelCard, complaint: Complaint) -> None:
    """Complain about targets that cannot be meant.

    Raises:
        Misconfigured: with the key and the remedy.
    """
    if card.task is not Task.SEGMENTATION and not card.targets:
        raise complaint("targets", f"a {card.task.value} looks for nothing", "Say what the model looks for")
    indices = [target.index for target in card.targets]
    if len(set(indices)) < len(indices) or any(index < 0 for index in indices):
        raise complaint("targets", f"indices are {indices}", "Give each channel or label its own, from 0 on")
    for number, target in enumerate(card.targets):
        _check_target(target, f"targets[{number}]", complaint)
    if card.aggregate not in _AGGREGATES:
        raise complaint("aggregate", f'is "{card.aggregate}"', f"Choose one of {', '.join(_AGGREGATES)}")
    if card.task is Task.DETECTION and card.scope is not Scope.SERIES:
        raise complaint("scope", "boxes lie on images, whatever they are put together over", "Leave it out")
    _check_detection(card, complaint)


def _check_target(target: Target, key: str, complaint: Complaint) -> None:
    if not target.label.strip():
        raise complaint(f"{key}.label", "is empty", "Name what is looked for")
    if target.operating_point is not None and not 0 <= target.operating_point <= 1:
        raise complaint(f"{key}.operating_point", "is not a number from 0 to 1", "Give the number from which it counts")
    fitted = target.calibration
    if fitted is None:
        return
    if not (isfinite(fitted.temperature) and fitted.temperature > 0 and isfinite(fitted.bias)):
        problem = "a temperature above 0 and a bias make a probability, these do not"
        raise complaint(f"{key}.calibration", problem, "Give what the fit gave")
    if fitted.cases < 1:
        raise complaint(f"{key}.calibration.cases", "nobody was asked", "Give the number of cases of the fit")


def _check_detection(card: ModelCard, complaint: Complaint) -> None:
    overlaps = {"suppressed_from": card.detection.suppressed_from, "linked_from": card.detection.linked_from}
    for key, overlap in overlaps.items():
        if overlap is not None and not 0 < overlap <= 1:
            raise complaint(f"detection.{key}", "is no overlap", "Give intersection over union, above 0 and up to 1")
    if not 1 <= card.detection.most <= MOST_FINDINGS:
        remedy = f"Give a number from 1 to {MOST_FINDINGS}"
        raise complaint("detection.most", f"is {card.detection.most}", remedy)
