"""Training: what is asked for, and which kinds of model can be trained."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from node.errors import Failed


class Kind(StrEnum):
    """What a model is to do."""

    #: Label every voxel.
    SEGMENTATION = "segmentation"
    #: Put an image into one of several classes.
    CLASSIFICATION = "classification"
    #: Mark places with a box.
    DETECTION = "detection"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingPlan:
    """One training as asked for."""

    kind: Kind
    #: Images and labels.
    dataset: Path
    #: The model's folder, made by the training.
    model: Path
    epochs: int
    #: The same seed and data give the same model.
    seed: int


#: Kinds that this version can train.
TRAINABLE: frozenset[Kind] = frozenset()


def train(plan: TrainingPlan) -> None:
    """Train a model and write its folder.

    Raises:
        Failed: this version cannot train that kind, or the data set is not there; nothing was written.
    """
    if plan.kind not in TRAINABLE:
        able = ", ".join(sorted(TRAINABLE)) or "none yet"
        raise Failed(f"this version of Matins cannot train a {plan.kind} model (kinds it can train: {able})")
    if not plan.dataset.is_dir():
        raise Failed(f"the data set {plan.dataset} is not a folder")
