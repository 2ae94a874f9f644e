"""The sections of a report, in their order."""

from __future__ import annotations

from collections.abc import Iterator

from node.learn.evaluate.evaluation import Evaluation
from node.learn.report.classified import classified
from node.learn.report.compared import compared, subgroups
from node.learn.report.content import Block, Report, Section, Text
from node.learn.report.courses import courses
from node.learn.report.explanations import explanations
from node.learn.report.material import asked, learnt_from, parted
from node.learn.report.segmented import detected, segmented
from node.learn.report.told import Told


def composed(told: Told, failures: Section | None = None) -> Report:
    """All that is told, as a report; `failures` is the gallery."""
    judged = told.evaluation
    sections = [*_figures(told)]
    sections += [failures] if failures else []
    if told.explanations is not None:
        sections.append(explanations(told.explanations, out_of_fold=told.recipe is not None))
    sections += _origins(told)
    about = f" on {judged.dataset}" if judged.dataset else ""
    return Report(title=judged.model or "a model", subtitle=f"{_subject(judged)}{about}.", sections=tuple(sections))


def _figures(told: Told) -> Iterator[Section]:
    judged = told.evaluation
    yield Section(name="figures", title="How well it reads", blocks=(*_terms(judged, told), *_of(judged)))
    if judged.together is not None:
        note = "Those of several networks, asked together; this is what the model says."
        blocks = (Text(text=note), *_terms(judged.together, told), *_of(judged.together))
        yield Section(name="together", title="How well they read together", blocks=blocks)
    if judged.subgroups:
        yield subgroups(judged)
    if told.comparisons:
        yield compared(told.comparisons)


def _origins(told: Told) -> Iterator[Section]:
    if told.histories:
        yield courses(told.histories)
    if told.split is not None:
        yield parted(told, told.split)
    if told.sheet is not None:
        yield learnt_from(told, told.sheet)
    if told.recipe is not None:
        yield asked(told.recipe)


def _subject(judged: Evaluation) -> str:
    return f"A model for {judged.task.value}, judged by {judged.cases} cases in {judged.groups} groups"


def _terms(judged: Evaluation, told: Told) -> list[Block]:
    """What a reader has to know of the figures."""
    seeds = f"The mean of {len(judged.seeds)} seeds" if len(judged.seeds) > 1 else "One seed"
    fold = f", {judged.method}, of {len(judged.folds)} folds" if len(judged.folds) > 1 else f", {judged.method}"
    how = {
        "out of fold": "Every case was read by the one training of each seed that did not see it.",
        "held out": "No case that judges was trained on.",
    }
    text = (
        f"{seeds}{fold}, on the part {judged.part}. {how.get(judged.method, '')} Intervals of 95 % by bootstrap "
        f"({judged.interval}) of {judged.groups} groups, {judged.replicates} times drawn."
    )
    # What stands behind may be names of cases.
    notes = (note.partition(", the first is ")[0].partition(": ")[0] if told.private else note for note in judged.notes)
    return [Text(text=text), *(Text(text=note, warns=True) for note in notes)]


def _of(judged: Evaluation) -> list[Block]:
    if judged.classification is not None:
        return classified(judged, judged.classification)
    if judged.segmentation is not None:
        return segmented(judged, judged.segmentation)
    return detected(judged, judged.detection) if judged.detection is not None else []
