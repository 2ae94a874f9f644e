"""Tables of a recipe on other ways to make its model: those that are searched, and those that are compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import Field

_FORBID: Any = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a key of the recipe may become: one of `choices`, or a number from `low` to `high`."""

    __pydantic_config__: ClassVar = _FORBID

    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    #: Drawn by its logarithm.
    log: bool = False
    #: Whole numbers alone.
    whole: bool = False

    def __post_init__(self) -> None:
        """Check what hangs together.

        Raises:
            ValueError: it is neither a choice nor a range.
        """
        if self.choices:
            if self.low is not None or self.high is not None or self.log or self.whole:
                raise ValueError("give choices, or low and high, not both")
        elif self.low is None or self.high is None or not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("give choices, or low and high (above 0 where log = true)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Searching:
    """The `[search]` table: trainings that look for a better recipe; none of them sees the test part."""

    __pydantic_config__: ClassVar = _FORBID

    trials: Annotated[int, Field(ge=1)] = 20
    #: No trial begins after so many minutes of trials; 0: no end.
    minutes: Annotated[float, Field(ge=0)] = 0.0
    #: Of each trial; 0: as many as the recipe has.
    epochs: Annotated[int, Field(ge=0)] = 0
    seed: int = 0
    #: "table.key" → what it may become; empty: learning rate, weight decay, strength of the augmentation and, of a
    #: classifier, filters, balance and size of the network.
    space: dict[str, Room] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One other way."""

    __pydantic_config__: ClassVar = _FORBID

    #: What it is called in the report, such as "without CLAHE".
    name: Annotated[str, Field(min_length=1)]
    #: "table.key", or a whole table, → its other value.
    changes: Annotated[dict[str, Any], Field(min_length=1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """The `[ablation]` table: the same training with something changed, one way after the other."""

    __pydantic_config__: ClassVar = _FORBID

    ways: Annotated[tuple[Way, ...], Field(min_length=1)]
    #: Of each way, and of the recipe as it is, once more; 0: half as many as the recipe has.
    epochs: Annotated[int, Field(ge=0)] = 0
    #: Of classifiers: what all of them say together, their shares averaged, is one way more, as of several networks.
    together: bool = False

    def __post_init__(self) -> None:
        """Check what hangs together.

        Raises:
            ValueError: two ways have one name.
        """
        names = [way.name.casefold() for way in self.ways]
        if len(set(names)) < len(names):
            raise ValueError("two ways have one name")
