"""An evaluation: every figure of a model with its interval, as a frozen value and as `evaluation.json`.

The file holds the fields below, and those of `figures`, under their own names, one JSON object a dataclass. What is
not defined (the AUC of one class alone, a distance to an empty mask) is `null`; no number is NaN or infinite. Figures
are named:

- over all classes: accuracy, balanced_accuracy, precision_macro, precision_weighted, recall_macro, recall_weighted,
  specificity_macro, specificity_weighted, f1_macro, f1_weighted, auc_macro, average_precision_macro, brier, log_loss;
- of one class against the rest: precision, recall, specificity, f1, auc, average_precision, brier;
- of one segment: dice, hd95_mm, surface_dice, volume_error_ml (signed), volume_error_percent (without sign);
- of boxes: map_IOU and sensitivity_at_F (F false boxes an image), such as map_0.5 and sensitivity_at_1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn.evaluate.figures import Calibrated, Figure, OperatingPoint, Point

#: Name of the file in the folder of a run, and among a model's evidence.
FILE_NAME = "evaluation.json"
#: Of the schema; one that reads the file may refuse another.
VERSION = 1
_FORBID: Any = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """One class against the rest."""

    __pydantic_config__: ClassVar = _FORBID

    name: str
    cases: int
    figures: Mapping[str, Figure]
    #: x: 1 - specificity, y: sensitivity; of the first seed, thinned where there are many.
    roc: tuple[Point, ...] = ()
    #: x: sensitivity, y: precision; likewise.
    precision_recall: tuple[Point, ...] = ()
    calibration: Calibrated | None = None
    #: Standard error of the AUC of the first seed (DeLong 1988), cases taken as independent.
    auc_delong: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassificationFigures:
    """Of a classifier."""

    __pydantic_config__: ClassVar = _FORBID

    #: Index of the class whose sensitivity counts.
    positive: int
    figures: Mapping[str, Figure]
    classes: tuple[ClassFigures, ...]
    #: (truth, answer): cases, mean of the seeds.
    confusion: tuple[tuple[float, ...], ...]
    operating: OperatingPoint | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Differences of volumes, said less true (Bland and Altman 1986): mean, and mean -+ 1.96 standard deviations."""

    __pydantic_config__: ClassVar = _FORBID

    mean_ml: float
    low_ml: float
    high_ml: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentSummary:
    """One segment over all cases."""

    __pydantic_config__: ClassVar = _FORBID

    number: int
    name: str
    #: Cases in which it is, is falsely seen, and is wholly missed; of the first seed.
    present: int
    falsely_seen: int
    missed: int
    figures: Mapping[str, Figure]
    agreement: Agreement | None = None
    #: x: true volume, y: that of the model, mL; one a case of the first seed.
    volumes_ml: tuple[Point, ...] = ()
    #: Dice of each case of the first seed.
    dice: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentationFigures:
    """Of a segmentation."""

    __pydantic_config__: ClassVar = _FORBID

    tolerance_mm: float
    #: Mean of the segments: dice, hd95_mm, surface_dice.
    figures: Mapping[str, Figure]
    segments: tuple[SegmentSummary, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionFigures:
    """Of a detector."""

    __pydantic_config__: ClassVar = _FORBID

    figures: Mapping[str, Figure]
    #: Class → figures of it alone.
    classes: Mapping[str, Mapping[str, Figure]]
    #: x: false boxes an image, y: sensitivity, over all classes; of the first seed.
    froc: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subgroup:
    """The cases that have one attribute in common."""

    __pydantic_config__: ClassVar = _FORBID

    attribute: str
    value: str
    cases: int
    groups: int
    #: Of the positive class; 0 of a segmentation or detection.
    positives: int
    negatives: int
    figures: Mapping[str, Figure]
    #: Why its figures must not be leant on; empty: they may.
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A case that was read worst, for the gallery."""

    __pydantic_config__: ClassVar = _FORBID

    key: str
    seed: int
    fold: int
    #: A sentence: what is true, and what was said.
    why: str
    #: By which they are sorted, the worst first: log loss, 1 - Dice, or boxes missed and falsely seen.
    badness: float
    #: Names of the classes; empty for other tasks.
    truth: str = ""
    answer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All of it."""

    __pydantic_config__: ClassVar = _FORBID

    version: int = VERSION
    model: str
    dataset: str
    task: Task
    #: Names of the classes or segments.
    classes: tuple[str, ...]
    #: Which predictions judged: "test", "validation" or "all".
    part: str
    #: "out of fold": every case by the one training of each seed that did not see it; else "held out".
    method: str
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    #: Cases, and groups of them, that judged; keys of one group are one unit of the bootstrap.
    cases: int
    groups: int
    #: How often the groups were drawn anew, from which seed, and how the interval was made.
    replicates: int
    bootstrap_seed: int
    interval: str
    classification: ClassificationFigures | None = None
    segmentation: SegmentationFigures | None = None
    detection: DetectionFigures | None = None
    subgroups: tuple[Subgroup, ...] = ()
    worst: tuple[Failure, ...] = ()
    #: Sentences that a reader of the figures has to know.
    notes: tuple[str, ...] = ()
    #: Of the networks that became the model, asked together, where these are several: its calibration and operating
    #: point are the model's.
    together: Evaluation | None = None
    #: What was asked, as `recipe.Judging` has it.
    judging: Mapping[str, Any] = field(default_factory=dict)


_EVALUATION: TypeAdapter[Evaluation] = TypeAdapter(Evaluation)


def evaluation_text(evaluation: Evaluation) -> str:
    """Write an evaluation as JSON.

    Raises:
        ValueError: a number of it is not finite.
    """
    document = _EVALUATION.dump_python(evaluation, mode="json")
    return json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def write_evaluation(file: Path, evaluation: Evaluation) -> None:
    """Write `evaluation.json`, whole or not at all.

    Raises:
        ValueError: a number of it is not finite.
    """
    beside = file.with_name(f"{file.name}.part")
    beside.write_text(evaluation_text(evaluation), encoding="utf-8")
    beside.replace(file)


def read_evaluation(file: Path) -> Evaluation:
    """Read an evaluation.

    Raises:
        Misconfigured: it cannot be read, or is none.
    """
    try:
        return _EVALUATION.validate_json(file.read_bytes())
    except (OSError, ValueError) as error:
        problem = str(error).splitlines()[0]
        raise Misconfigured(file, "", f"is no evaluation: {problem}", "Make it anew: matins evaluate") from error
