"""What a training hands over to become a model: networks, figures, and how it was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from node.learn.case import Pixels
from node.learn.evaluate.evaluation import Evaluation
from node.learn.recipe import Recipe
from node.learn.run import Member
from node.learn.split import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How a model was made, so that it can be made again."""

    #: As it was typed, without folders of this machine.
    command: str
    made_on: date
    #: "cpu", or the GPU's name.
    device: str
    #: Of wall time, all networks together.
    seconds: float
    #: Program or library → version.
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """A run that has come to its end."""

    #: With everything derived.
    recipe: Recipe
    #: Folder of the recipe: the hand-written part of the card lies beside it.
    beside: Path
    #: Name of the data set.
    dataset: str
    #: The networks that become the model; of several the shares are averaged.
    members: tuple[Member, ...]
    split: Split
    making: Making
    evaluation: Evaluation | None = None
    #: The data sheet as JSON; empty: there is none.
    sheet: str = ""
    #: Further files that go among the evidence, such as report.html: name → file.
    evidence: Mapping[str, Path] = field(default_factory=dict)
    #: A few cases on which what is exported is compared with what was trained.
    cases: tuple[Pixels, ...] = ()
    #: Key → SHA-256 of the pixels of every case; empty: nobody looked.
    pixels: Mapping[str, str] = field(default_factory=dict)
    #: Keys and groups of the cases may name patients: the evidence has other names for them.
    private: bool = False

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, or of the labels 1, 2, …."""
        return self.recipe.classes
