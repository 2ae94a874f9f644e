"""What a model said of a case that it was not trained on, beside what is true: all that evaluation needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from node.errors import Misconfigured

_FORBID: Any = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFigures:
    """How one segment of a mask lies to the true one. A distance to nothing is `None`."""

    __pydantic_config__: ClassVar = _FORBID

    #: 0–1; `None`: neither mask has it.
    dice: float | None
    #: 95th percentile of the distances between the surfaces, both ways.
    hd95_mm: float | None
    #: Share of both surfaces that lies within the tolerance of the other.
    surface_dice: float | None
    volume_ml: float
    true_volume_ml: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenBox:
    """A box that a detector gave, or a true one (score 1): class, and (low, high) along each axis in index units."""

    __pydantic_config__: ClassVar = _FORBID

    label: int
    score: float
    edges: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One case, read by one network."""

    __pydantic_config__: ClassVar = _FORBID

    key: str
    #: What must not be counted twice: patient or near-duplicates; the key itself where nothing is known.
    group: str
    #: "validation" or "test": a case chooses weights and operating points, or it judges.
    part: str
    seed: int = 0
    fold: int = 0
    attributes: Mapping[str, str] = field(default_factory=dict)
    #: Classification: index of the true class, and a logit for each class.
    truth: int | None = None
    logits: tuple[float, ...] = ()
    #: The number of each class that the node calibrates; empty: the softmax of the logits.
    shares: tuple[float, ...] = ()
    #: Segmentation: label number → figures.
    segments: Mapping[int, SegmentFigures] = field(default_factory=dict)
    #: Detection.
    boxes: tuple[SeenBox, ...] = ()
    true_boxes: tuple[SeenBox, ...] = ()


_PREDICTION: TypeAdapter[Prediction] = TypeAdapter(Prediction)


def write_predictions(file: Path, predictions: Iterable[Prediction]) -> None:
    """Write one prediction a line, as JSON."""
    lines = [_PREDICTION.dump_json(each).decode() for each in predictions]
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def read_predictions(file: Path) -> tuple[Prediction, ...]:
    """Read what `write_predictions` wrote.

    Raises:
        Misconfigured: it cannot be read, or a line of it is none.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        return tuple(_PREDICTION.validate_json(line) for line in lines)
    except (OSError, ValueError) as error:
        problem = str(error).splitlines()[0]
        raise Misconfigured(file, "", f"holds no predictions: {problem}", "Make them anew: matins train") from error
