"""What was measured of explanations, case by case, and the file in which it is kept.

Figures of a map are named:

- forwards: what it cost, in forwards of the same input, by measured time;
- pointing_game, pointing_near, mass_inside: where it lies in, or near, the region that was drawn; not of a case
  without one;
- deletion_auc, insertion_auc, infidelity, max_sensitivity, randomisation_rank_correlation: as
  `node.imaging.explain.faithfulness` has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from node.errors import Misconfigured
from node.learn.checkpoint import write_whole

#: Name of the file beside evaluation.json.
FILE_NAME = "explanations.json"
_FORBID: Any = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseExplained:
    """One answer, and what was measured of its maps."""

    __pydantic_config__: ClassVar = _FORBID

    key: str
    #: What must not be counted twice.
    group: str
    #: The network that was asked.
    seed: int
    fold: int
    truth: int
    answer: int
    #: Share of what the network is shown that the drawn region takes, and whether its middle lies within; the same of
    #: the region with what is near it; `None`: nobody has drawn one.
    region: float | None = None
    centre: float | None = None
    region_near: float | None = None
    centre_near: float | None = None
    #: Method → figures of its map.
    maps: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanations:
    """All that was measured."""

    __pydantic_config__: ClassVar = _FORBID

    #: Of what was to be measured: another one where cases, answers, masks or methods are others.
    digest: str
    #: Names of the classes.
    classes: tuple[str, ...]
    #: Method → samples taken, and what it says that it costs, in forwards.
    samples: Mapping[str, int]
    told_forwards: Mapping[str, float]
    #: In the order in which they were measured, the classes in turn.
    cases: tuple[CaseExplained, ...]
    #: Whether every map that can be made was measured, and the minutes that it was given.
    is_complete: bool
    minutes: float
    seconds: float
    #: By what time was measured: "CPU seconds" or "seconds".
    clock: str
    #: Sentences on what could not be explained.
    notes: tuple[str, ...] = ()


_EXPLANATIONS: TypeAdapter[Explanations] = TypeAdapter(Explanations)


def write_explanations(file: Path, explanations: Explanations) -> None:
    """Write them as JSON, whole or not at all.

    Raises:
        Failed: the disk is full, or cannot be written to.
        ValueError: a number is not finite.
    """
    document = _EXPLANATIONS.dump_python(explanations, mode="json")
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    write_whole(file, lambda path: path.write_text(text, encoding="utf-8"))


def read_explanations(file: Path) -> Explanations | None:
    """Read them; `None` where there is no file.

    Raises:
        Misconfigured: it cannot be read, or is none.
    """
    if not file.exists():
        return None
    try:
        return _EXPLANATIONS.validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        problem = str(error).splitlines()[0]
        raise Misconfigured(file, "", f"tells of no explanations: {problem}", "Remove it: it is made anew") from error
