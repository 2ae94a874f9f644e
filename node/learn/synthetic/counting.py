"""How many images were drawn for a training, and how many of them were copies: kept, and told of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pydantic import TypeAdapter

from node.errors import Misconfigured
from node.learn.checkpoint import write_whole
from node.learn.evaluate.evaluation import Evaluation
from node.learn.evaluate.figures import Figure
from node.learn.run import Run

#: Folder in that of a training, and the file in it.
FOLDER, FILE_NAME = "synthetic", "drawn.json"
_FORBID: Any = {"extra": "forbid"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The images of one class."""

    __pydantic_config__: ClassVar = _FORBID

    name: str
    wanted: int
    #: Again and again, where some were dropped.
    drawn: int
    #: Dropped: too like an image that was trained on.
    copies: int
    kept: int


_COUNTS: TypeAdapter[tuple[Counts, ...]] = TypeAdapter(tuple[Counts, ...])


def write_counts(folder: Path, counts: Sequence[Counts]) -> None:
    """Write them into the folder of what was drawn."""
    document = _COUNTS.dump_json(tuple(counts), indent=1) + b"\n"
    write_whole(folder / FILE_NAME, lambda path: path.write_bytes(document))


def read_counts(training: Path) -> tuple[Counts, ...]:
    """Read those of the training in a folder; none where nothing was drawn.

    Raises:
        Misconfigured: the file is damaged.
    """
    file = training / FOLDER / FILE_NAME
    try:
        return _COUNTS.validate_json(file.read_bytes())
    except FileNotFoundError:
        return ()
    except ValueError as error:
        raise Misconfigured(file, "", "is damaged", "Remove its folder: the images are drawn anew") from error


def figures(training: Path) -> Mapping[str, Figure]:
    """Return what was drawn for a training as figures; none where nothing was."""
    counts = read_counts(training)
    if not counts:
        return {}
    return {
        "synthetic_images": Figure(value=float(sum(each.kept for each in counts))),
        "copies_dropped": Figure(value=float(sum(each.copies for each in counts))),
    }


def noted(evaluation: Evaluation, run: Run) -> Evaluation:
    """Return an evaluation with a note on what was drawn for the trainings that it judges; as it is, where nothing."""
    kinds = range(1 + len(list(run.folder.glob("network-*"))))
    places = [(seed, fold, kind) for kind in kinds for seed in evaluation.seeds for fold in evaluation.folds]
    folders = [run.member(*place).folder for place in places]
    counts = [each for folder in folders for each in read_counts(folder)]
    if not counts:
        return evaluation
    drawn, copies, kept = (sum(getattr(each, name) for each in counts) for name in ("drawn", "copies", "kept"))
    note = (
        f"Trained with synthetic images besides, {kept} in {len(folders)} training(s), drawn by generative models that"
        f" saw the training part alone; {copies} of {drawn} drawn were dropped as near-copies of training images."
    )
    return replace(evaluation, notes=(*evaluation.notes, note))
