"""A data set, examined: opened, looked at, grouped, and everything that is wrong collected."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from node.domain.model_card import Task
from node.domain.preparation import Preparation
from node.errors import Misconfigured
from node.learn.dataset import list_dataset
from node.learn.dataset.duplicates import similarity_groups, with_patients
from node.learn.dataset.faults import faults
from node.learn.dataset.opened import Opened
from node.learn.dataset.patients import with_patients_of
from node.learn.dataset.problems import Problem, refuse
from node.learn.dataset.sheet import Sheet, make_sheet
from node.learn.dataset.survey import Progress, Survey, survey
from node.learn.recipe import Splitting


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """All that is known of a data set before a training."""

    dataset: Opened
    survey: Survey
    #: Key → group: patients, equal images and near-duplicates; a case alone is its own.
    groups: Mapping[str, str]
    problems: tuple[Problem, ...]
    sheet: Sheet

    def refuse(self) -> None:
        """Say all errors at once.

        Raises:
            Misconfigured: there is one; names the fault, the cases and the remedy.
        """
        refuse(self.dataset.source, self.problems)


def examine(
    path: Path,
    *,
    task: Task | None = None,
    classes: tuple[str, ...] = (),
    splitting: Splitting | None = None,
    preparation: Preparation | None = None,
    patients: Path | None = None,
    progress: Progress | None = None,
) -> Examination:
    """Open a data set and decode all of it once. Its problems are collected; `refuse` of what comes back raises them.

    Args:
        path: folder or file.
        task: what its labels are for; nothing: what the layout says.
        classes: names of the classes or labels in order; empty: as the data set has them.
        splitting: how it will be parted, and what counts as a near-duplicate.
        preparation: how its cases will be prepared, if that is said already.
        patients: a CSV file that says whose images they are, where the data set does not.
        progress: called with (done, of so many) after each case.

    Raises:
        Misconfigured: no layout fits, or several do, or there is no case; or the table of patients is none.
    """
    splitting = splitting or Splitting()
    dataset = list_dataset(path, task, classes)
    if patients is not None:
        dataset = with_patients_of(dataset, patients)
    seen = survey(dataset, thumbnail=splitting.thumbnail, progress=progress)
    alone = {case.key: case.key for case in seen.cases}
    found: list[Problem] = list(dataset.problems)
    similar: Mapping[str, str] = alone
    groups: Mapping[str, str] = alone
    try:
        similar = similarity_groups(seen, splitting.near_duplicate)
        groups = with_patients(seen, similar)
    except Misconfigured as error:
        fault = f"{error.key}: {error.problem}" if error.key else error.problem
        found.append(Problem(fault=fault, names=(), remedy=error.remedy))
    problems = (*found, *faults(seen, similar, splitting, preparation))
    made = make_sheet(seen, layout=dataset.layout, similar=similar, groups=groups, problems=problems)
    return Examination(dataset=dataset, survey=seen, groups=groups, problems=problems, sheet=made)
