"""The two-stage path beside a network: the same split, judged the same way, in one table.

Everything that is learnt, from the medians of the scaling to the choice of features, is learnt from the training part
of a fold alone.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from node.domain.model_card import Task
from node.errors import Misconfigured
from node.learn import comparison
from node.learn.case import Case, Dataset
from node.learn.comparison import Comparison, Row
from node.learn.evaluate.cohort import TEST, VALIDATION
from node.learn.evaluate.evaluating import Terms, evaluate
from node.learn.evaluate.evaluation import FILE_NAME as EVALUATION
from node.learn.evaluate.evaluation import Evaluation, write_evaluation
from node.learn.evaluate.figures import Figure
from node.learn.prediction import Prediction, write_predictions
from node.learn.radiomics.classifying import fitted
from node.learn.radiomics.measuring import Measured, measure, write_table
from node.learn.radiomics.regions import regions
from node.learn.radiomics.selecting import Selection, select
from node.learn.radiomics.table import Radiomics
from node.learn.recipe import Recipe
from node.learn.split import Split

#: Folder in that of a run.
FOLDER = "radiomics"
TITLE = "A network beside measured features"
FEATURES, PREDICTIONS, SELECTED = "features.csv", "predictions.jsonl", "selected.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoStage:
    """What the path came to."""

    evaluation: Evaluation
    predictions: tuple[Prediction, ...]
    #: Feature → share of the trainings that chose it.
    chosen: dict[str, float]
    #: Why features were dropped, of each training.
    dropped: tuple[dict[str, int], ...]
    measured: Measured


def two_stage(dataset: Dataset, recipe: Recipe, split: Split, beside: Path) -> TwoStage:
    """Measure, choose, classify and judge.

    Raises:
        Misconfigured: the data set has no classes, a case has no region, or the classifier needs an extra.
    """
    said = recipe.radiomics or Radiomics()
    if dataset.task is not Task.CLASSIFICATION:
        problem = f"tells classes apart, and {dataset.name} is for {dataset.task.value}"
        raise Misconfigured("recipe.toml", "radiomics", problem, "Leave the table out")
    wanted = {key for fold in split.folds for part in (fold.train, fold.validation, fold.test) for key in part}
    cases = [case for case in dataset.cases if case.key in wanted]
    measured = measure(cases, regions(dataset, said, beside), said.bins)
    found: list[Prediction] = []
    selections: list[Selection] = []
    by_key = {case.key: case for case in cases}
    labels = np.array([case.label if case.label is not None else -1 for case in cases], np.intp)
    for seed in recipe.training.seeds:
        for number, fold in enumerate(split.folds):
            train = measured.rows(fold.train)
            truth = labels[train]
            selection = select(measured.values[train], measured.disturbed[train], truth, said)
            selections.append(selection)
            classify = fitted(selection.applied(measured.values[train]), truth, len(dataset.classes), said, seed)
            for part, keys in ((VALIDATION, fold.validation), (TEST, fold.test)):
                if keys:
                    logits = classify(selection.applied(measured.values[measured.rows(keys)]))
                    found += _said([by_key[key] for key in keys], logits.tolist(), split, part, seed, number)
    terms = Terms(part=TEST if any(fold.test for fold in split.folds) else VALIDATION)
    counts = Counter(measured.names[column] for each in selections for column in each.columns)
    return TwoStage(
        evaluation=evaluate(found, recipe.evaluation, Task.CLASSIFICATION, dataset.classes, terms=terms),
        predictions=tuple(found),
        chosen={name: count / len(selections) for name, count in counts.most_common()},
        dropped=tuple(each.dropped for each in selections),
        measured=measured,
    )


def beside_network(
    dataset: Dataset,
    recipe: Recipe,
    split: Split,
    beside: Path,
    run: Path,
    network: Evaluation,
    say: Callable[[str], object],
) -> TwoStage:
    """Go the two-stage path, write it into the folder of a run, and put it beside the network's figures.

    Raises:
        Misconfigured: as `two_stage`.
    """
    say("measuring regions for the two-stage path")
    done = two_stage(dataset, recipe, split, beside)
    folder = run / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    write_table(folder / FEATURES, done.measured)
    write_predictions(folder / PREDICTIONS, done.predictions)
    write_evaluation(folder / EVALUATION, done.evaluation)
    told = {"chosen": done.chosen, "dropped": done.dropped, "measured_whole": done.measured.whole}
    (folder / SELECTED).write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    comparison.put_comparison(run / comparison.FILE_NAME, _compared(recipe, network, done))
    steady = ", ".join(f"{name} ({share:.0%})" for name, share in list(done.chosen.items())[:5])
    say(f"two-stage path: {len(done.measured.names)} features, chosen most often {steady}")
    return done


def _said(
    cases: Sequence[Case], logits: Sequence[Sequence[float]], split: Split, part: str, seed: int, fold: int
) -> list[Prediction]:
    return [
        Prediction(
            key=case.key,
            group=split.groups.get(case.key, case.group or case.key),
            part=part,
            seed=seed,
            fold=fold,
            attributes=case.attributes,
            truth=case.label,
            logits=tuple(float(each) for each in row),
        )
        for case, row in zip(cases, logits, strict=True)
    ]


def _compared(recipe: Recipe, network: Evaluation, done: TwoStage) -> Comparison:
    said = recipe.radiomics or Radiomics()
    drawn = "drawn by a trained segmentation" if said.model else "drawn by hand, which no study brings with it"
    steady = [name for name, share in done.chosen.items() if share >= 0.5]
    text = (
        f"Both on the same {done.evaluation.cases} cases and split. {len(done.measured.names)} features of regions "
        f"{drawn}; scaling, choice and {said.classifier} classifier learnt in each training part alone. Chosen in at "
        f"least half of the trainings: {', '.join(steady) or 'none'}."
    )
    if done.measured.whole:
        text += f" In {len(done.measured.whole)} cases nothing was found, and the whole image was measured."
    rows = (
        Row(name="network", figures=_figures(network), is_chosen=True),
        Row(
            name="measured features",
            changes={"radiomics.classifier": said.classifier},
            figures=_figures(done.evaluation),
        ),
    )
    return Comparison(title=TITLE, text=text, rows=rows)


def _figures(evaluation: Evaluation) -> dict[str, Figure]:
    return dict(evaluation.classification.figures) if evaluation.classification is not None else {}
