"""One case of a data set: what is read, what is true of it, and to whom it belongs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from node.domain.model_card import Task
from node.imaging.volume import Volume


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One case, its pixels not read yet."""

    #: Its name in the data set, the same on every machine: a path relative to the data set, or "train/17" of an array.
    key: str
    #: Classification: index into the classes of the data set; else `None`.
    label: int | None = None
    #: Patient, or what else must not be torn apart; empty: not known.
    group: str = ""
    #: The part that the data set itself puts it in ("train", "validation", "test"); empty: it says nothing.
    part: str = ""
    #: What subgroups are made of, as far as it is known: "sex", "age", "scanner", "site".
    attributes: Mapping[str, str] = field(default_factory=dict)
    #: Classification: masks of what its class is seen by, paths relative to the data set. No network is given them:
    #: explanations are held against them.
    masks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A true box of a detection case: a class, and (low, high) along each axis in index units, as `pipelines.Box`."""

    label: int
    edges: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """What a case holds, read: a volume, or a single image."""

    volume: Volume | None = None
    #: (row, column) or (row, column, 3): uint8, int16 or float32, as a picture file holds it.
    image: NDArray[np.uint8] | NDArray[np.int16] | NDArray[np.float32] | None = None
    #: Of a segmentation: uint8 labels on the grid of the volume or image, 0 is background.
    labels: NDArray[np.uint8] | None = None
    #: Of a detection.
    boxes: tuple[Box, ...] = ()


class Dataset(Protocol):
    """A data set on disk, looked through and sound: every file is there, and every case has what its task needs."""

    @property
    def name(self) -> str:
        """What it is called: the name of its folder or file."""
        ...

    @property
    def task(self) -> Task:
        """What its labels are for."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of `Case.label`; of the labels 1, 2, … of a segmentation."""
        ...

    @property
    def cases(self) -> tuple[Case, ...]:
        """All cases, sorted by key."""
        ...

    @property
    def source(self) -> Path:
        """Where it lies."""
        ...

    def read(self, case: Case) -> Pixels:
        """Read the pixels and the truth of one case.

        Raises:
            Misconfigured: a file of it is damaged; names the file and the remedy.
        """
        ...


@runtime_checkable
class HasRegions(Protocol):
    """A data set for classification that knows where in a picture its class is seen."""

    def region(self, case: Case) -> NDArray[np.bool_] | None:
        """Read where the class of a case is seen: all of its masks together, on the grid of its picture.

        `None`: nobody has drawn it, or there is nothing in the masks.

        Raises:
            Misconfigured: a mask is damaged, or is not as large as its picture; names the file and the remedy.
        """
        ...


def region_of(dataset: Dataset, case: Case) -> NDArray[np.bool_] | None:
    """Read where the class of a case is seen; `None` where its data set does not know.

    Raises:
        Misconfigured: as `HasRegions.region`.
    """
    return dataset.region(case) if case.masks and isinstance(dataset, HasRegions) else None
