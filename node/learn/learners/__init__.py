"""Learners: what differs between training a classifier, a segmentation and a detector. One module each, by its task."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import torch
from torch import nn

from node.domain.model_card import Task
from node.errors import Failed
from node.learn.case import Case, Dataset
from node.learn.dataset.sheet import Sheet
from node.learn.fitting import Learner
from node.learn.prediction import Prediction
from node.learn.preparing import Prepared
from node.learn.recipe import Recipe
from node.learn.shelf import Shelved


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One case, prepared."""

    case: Case
    #: What it must not be told apart from (see `Prediction.group`).
    group: str
    prepared: Prepared | Shelved
    #: Length of a voxel along each axis of the prepared image, in mm; 1 where nothing is known.
    spacing_mm: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What one training has."""

    #: With everything derived.
    recipe: Recipe
    classes: tuple[str, ...]
    train: tuple[Example, ...]
    #: May be empty: then nothing chooses.
    validation: tuple[Example, ...]
    #: Folder of the recipe: weights that training begins from may lie beside it.
    beside: Path = Path()
    #: Images that were drawn for this training, and are of nobody (see `node.learn.synthetic`).
    drawn: tuple[Example, ...] = ()


class Teacher(Protocol):
    """What a module of this package offers."""

    def derived(self, recipe: Recipe, dataset: Dataset, sheet: Sheet) -> Recipe:
        """Fill in what the recipe leaves out: preparation, network, augmentation.

        Raises:
            Misconfigured: what it says does not fit the data set.
        """
        ...

    def learner(self, material: Material, seed: int) -> Learner:
        """Make the network and all that trains it; the same seed makes the same network.

        Raises:
            Misconfigured: the network cannot be made, or the weights that it starts from do not fit.
        """
        ...

    def predict(
        self, networks: Sequence[nn.Module], recipe: Recipe, examples: Sequence[Example], device: torch.device
    ) -> Iterator[Prediction]:
        """Read each example with the networks, their shares averaged; part, seed and fold are left for the caller."""
        ...


def names() -> list[str]:
    """The tasks that can be learnt."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def teacher(task: Task) -> Teacher:
    """Import what teaches a task.

    Raises:
        Failed: nobody does.
    """
    if task.value not in names():
        raise Failed(f"a {task.value} model cannot be trained here (what can: {', '.join(names())})")
    return cast("Teacher", importlib.import_module(f"{__name__}.{task.value}"))
