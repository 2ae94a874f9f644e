"""A data set as a layout found it: its cases, how they are read, and what is wrong with it already."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from node.domain.model_card import Task
from node.learn.case import Case, HasRegions, Pixels
from node.learn.dataset.problems import Problem


class Reader(Protocol):
    """Reads the pixels and the truth of a case; a value, so that it can be handed to other processes."""

    def read(self, case: Case) -> Pixels:
        """Read one case.

        Raises:
            Misconfigured: a file of it is damaged; names the file and the remedy.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A `Dataset`. What `problems` holds of errors makes it unfit; `open_dataset` raises them."""

    name: str
    task: Task
    classes: tuple[str, ...]
    #: Sorted by key.
    cases: tuple[Case, ...]
    source: Path
    reader: Reader
    #: Name of the layout.
    layout: str
    #: What the layout saw without decoding anything.
    problems: tuple[Problem, ...] = ()

    def read(self, case: Case) -> Pixels:
        """Read the pixels and the truth of one case.

        Raises:
            Misconfigured: a file of it is damaged; names the file and the remedy.
        """
        return self.reader.read(case)

    def region(self, case: Case) -> NDArray[np.bool_] | None:
        """See `HasRegions`.

        Raises:
            Misconfigured: a mask is damaged, or is not as large as its picture; names the file and the remedy.
        """
        return self.reader.region(case) if case.masks and isinstance(self.reader, HasRegions) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is asked of a data set; what is left empty, the data set decides."""

    task: Task | None = None
    #: Names of the classes or labels, in the order of the network's outputs.
    classes: tuple[str, ...] = ()
