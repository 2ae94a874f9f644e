"""What a report is made of: the files of a run, or what a model said of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from node.errors import Misconfigured
from node.learn import checkpoint
from node.learn.comparison import FILE_NAME as COMPARISON
from node.learn.comparison import Comparison, read_comparisons
from node.learn.dataset.sheet import Sheet, read_sheet
from node.learn.evaluate.evaluation import Evaluation
from node.learn.explained.explanations import Explanations, read_explanations
from node.learn.recipe import Recipe, read_recipe
from node.learn.run import Run, part_folders
from node.learn.split import Split, read_split

#: Layouts of data sets whose cases are named after patients.
PRIVATE = frozenset({"dicom", "pascal-voc"})
#: Letters of the names that cases have where their own may be a patient's.
_LETTERS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Everything that is told; what is `None` or empty has no section."""

    evaluation: Evaluation
    recipe: Recipe | None = None
    sheet: Sheet | None = None
    split: Split | None = None
    #: Training, in words → what was told of each of its epochs.
    histories: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    comparisons: tuple[Comparison, ...] = ()
    #: What was measured of its explanations.
    explanations: Explanations | None = None
    #: Whether names of cases may be those of patients: they are told by other names then.
    private: bool = False

    def name_of(self, key: str) -> str:
        """What a case is called, the same as among a model's evidence."""
        if not self.private:
            return key
        digest = self.split.dataset_digest if self.split else ""
        return sha256(f"{digest}\0{key}".encode()).hexdigest()[:_LETTERS]


def told_of(run: Run, evaluation: Evaluation, *, private: bool = False) -> Told:
    """Read what a run left. It is `private` in any case where its data set names cases after patients.

    Raises:
        Misconfigured: a file of it cannot be read.
    """
    recipe, sheet = read_recipe(run.recipe), _sheet(run)
    named = replace(evaluation, model=evaluation.model or recipe.name)
    return Told(
        evaluation=named,
        recipe=recipe,
        sheet=sheet,
        split=read_split(run.split),
        histories=_histories(run),
        comparisons=read_comparisons(run.folder / COMPARISON),
        explanations=read_explanations(run.explanations),
        private=private or (sheet is not None and sheet.layout in PRIVATE),
    )


def _sheet(run: Run) -> Sheet | None:
    try:
        return read_sheet(run.sheet.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        problem = str(error).splitlines()[0]
        raise Misconfigured(run.sheet, "", f"is no data sheet: {problem}", "Train again, it is made anew") from error


def _histories(run: Run) -> dict[str, Sequence[Mapping[str, Any]]]:
    """Of every training whose epochs were told, by network, seed and fold."""
    found: dict[str, Sequence[Mapping[str, Any]]] = {}
    for beneath in (run.folder, *sorted(run.folder.glob("network-*"), key=lambda path: _number(path.name))):
        kind = "" if beneath == run.folder else f"network {_number(beneath.name)}, "
        folders = beneath.glob("seed-*/*")
        for folder in sorted(folders, key=lambda path: (_number(path.parent.name), _number(path.name))):
            which = "all cases" if folder.name == "whole" else f"fold {_number(folder.name) + 1}"
            name = f"{kind}seed {_number(folder.parent.name)}, {which}"
            parts = enumerate(part_folders(folder), 1)
            told = {name: folder} | {f"{name}, part {number}": part for number, part in parts}
            found |= {each: epochs for each, path in told.items() if (epochs := checkpoint.history(path))}
    return found


def _number(name: str) -> int:
    digits = name.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 1 << 30
