"""From predictions to an evaluation: the one way that a run, and a model on a new data set, are judged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from node.domain.model_card import Task
from node.errors import Failed, Misconfigured
from node.learn.evaluate import bootstrap, classifying, cohort, detection, failures, segmenting, subgroups
from node.learn.evaluate.bootstrap import Draws, Method, Statistic
from node.learn.evaluate.calibration import LEAST
from node.learn.evaluate.cohort import Cohort
from node.learn.evaluate.evaluation import ClassificationFigures, Evaluation, Subgroup
from node.learn.evaluate.settling import ClassOfSeed, Settled, settle
from node.learn.prediction import Prediction
from node.learn.recipe import Judging


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What an evaluation is of, and how it is made, beside what the recipe says."""

    model: str = ""
    dataset: str = ""
    #: Which predictions judge: "test", "validation" or "all".
    part: str = cohort.TEST
    #: What the model's card says already; `None`: calibration and operating point are fitted.
    settled: Settled | None = None
    replicates: int = bootstrap.REPLICATES
    seed: int = 0
    interval: Method = Method.BCA


def evaluate(
    predictions: Iterable[Prediction],
    judging: Judging,
    task: Task | None,
    classes: Sequence[str],
    *,
    together: Iterable[Prediction] = (),
    terms: Terms | None = None,
) -> Evaluation:
    """Judge predictions of one or several seeds and folds; `together` is what the networks of a model say as one.

    Raises:
        Failed: nothing of the part that is to judge was read, or the seeds read different tasks.
        Misconfigured: the positive class is none of the classes.
    """
    terms = terms or Terms()
    found = cohort.cohorts(predictions, terms.part)
    kind = task or _task_of(found[0].judged[0])
    if kind is Task.CLASSIFICATION:
        _refuse(found, classes)
    together = tuple(together)
    return replace(
        _judged(found, judging, kind, tuple(classes), terms),
        together=evaluate(together, judging, kind, classes, terms=terms) if together else None,
    )


def positive_of(judging: Judging, classes: Sequence[str]) -> int:
    """Index of the class whose sensitivity counts.

    Raises:
        Misconfigured: there is no such class.
    """
    if not judging.positive:
        return len(classes) - 1
    if judging.positive not in classes:
        problem = f'there is no class "{judging.positive}"'
        raise Misconfigured("recipe.toml", "evaluation.positive", problem, f"Choose one of {', '.join(classes)}")
    return list(classes).index(judging.positive)


def _judged(
    found: Sequence[Cohort], judging: Judging, task: Task, classes: tuple[str, ...], terms: Terms
) -> Evaluation:
    everyone = {each.key: each for one in found for each in one.judged}
    is_classifier = task is Task.CLASSIFICATION
    judged = list(everyone.values())
    strata = [each.truth for each in judged] if is_classifier else None
    draws = bootstrap.draw(cohort.groups_of(judged), strata, replicates=terms.replicates, seed=terms.seed)
    figures: dict[str, Any] = {}
    if is_classifier:
        positive = positive_of(judging, classes)
        figures["classification"] = classifying.classification(
            found, classes, positive, judging.sensitivity, draws, terms.settled, terms.interval
        )
    elif task is Task.SEGMENTATION:
        figures["segmentation"] = segmenting.segmentation(found, classes, judging.tolerance_mm, draws, terms.interval)
    else:
        figures["detection"] = detection.detection(found, classes, draws, terms.interval)
    return Evaluation(
        model=terms.model,
        dataset=terms.dataset,
        task=task,
        classes=classes,
        part=terms.part,
        method="out of fold" if any(len(_folds([one])) > 1 for one in found) else "held out",
        seeds=tuple(one.seed for one in found),
        folds=_folds(found),
        cases=len(everyone),
        groups=len(draws.groups),
        replicates=terms.replicates,
        bootstrap_seed=terms.seed,
        interval=terms.interval.value,
        subgroups=_subgroups(found, judging, task, classes, terms, draws),
        worst=failures.worst(found, task, classes),
        notes=(*_chosen(terms), *_notes(found, figures.get("classification"))),
        judging={name: _plain(value) for name, value in asdict(judging).items()},
        **figures,
    )


def _subgroups(
    found: Sequence[Cohort], judging: Judging, task: Task, classes: Sequence[str], terms: Terms, draws: Draws
) -> tuple[Subgroup, ...]:
    if task is not Task.CLASSIFICATION:

        def of_masks_or_boxes(mine: Sequence[Prediction], _: int) -> Statistic:
            if task is Task.SEGMENTATION:
                whole = segmenting.statistic_of(mine, range(1, len(classes) + 1))
                return subgroups.chosen(whole, {name: name for name in ("dice", "hd95_mm", "surface_dice")})
            whole = detection.statistic_of(mine, range(len(classes)))
            return subgroups.chosen(whole, {name: name for name in ("map_0.1", "map_0.5", "sensitivity_at_1")})

        return subgroups.subgroups(found, judging.subgroups, of_masks_or_boxes, draws, None)
    positive = positive_of(judging, classes)
    settled = [settle(each, positive, judging.sensitivity, terms.settled) for each in found]
    places = [{each.key: place for place, each in enumerate(one.judged)} for one in found]

    def of_answers(mine: Sequence[Prediction], place: int) -> Statistic:
        rows = [places[place][each.key] for each in mine]
        return classifying.statistic_of_some(mine, _of_rows(settled[place], rows), len(classes))

    return subgroups.subgroups(found, judging.subgroups, of_answers, draws, positive)


def _of_rows(one: ClassOfSeed, rows: Sequence[int]) -> ClassOfSeed:
    """The same of some cases alone."""
    chosen = list(rows)
    return replace(
        one,
        positive=one.positive[chosen],
        share=one.share[chosen],
        told=one.told[chosen],
        held_out=None if one.held_out is None else one.held_out[chosen],
        held_out_at=None if one.held_out_at is None else one.held_out_at[chosen],
    )


def _chosen(terms: Terms) -> Iterable[str]:
    if terms.part != cohort.TEST:
        yield "Cases that chose between weights judge here: these figures are better than those of others would be."


def _notes(found: Sequence[Cohort], figures: ClassificationFigures | None) -> Iterable[str]:
    keys = [{each.key for each in one.judged} for one in found]
    if any(each != keys[0] for each in keys):
        yield "The seeds did not read the same cases: their mean is of different cases."
    if len({each.seed for each in found}) < len(found):
        yield "The folds share one test part: each network is judged by itself, and a figure is their mean."
    if len(found) == 1:
        yield "One seed alone: how far another training would lie from it is not known."
    if figures is None:
        return
    for each in figures.classes:
        if each.calibration is not None and each.calibration.after is None:
            yield f"{each.name} is not calibrated: there are fewer than {LEAST} cases on a side to fit it on."
    if figures.operating is not None and figures.operating.chosen_on == "out of fold":
        yield "The operating point was chosen on the cases that judge it: what is held out is what others may expect."


def _refuse(found: Sequence[Cohort], classes: Sequence[str]) -> None:
    """Refuse what cannot be judged.

    Raises:
        Failed: names the case.
    """
    for one in found:
        for each in (*one.judged, *one.choosing):
            if each.truth is None or not 0 <= each.truth < len(classes) or len(each.logits) != len(classes):
                raise Failed(
                    f"{each.key}: {len(each.logits)} numbers and the true class {each.truth} where {len(classes)}"
                    " classes are"
                )


def _task_of(prediction: Prediction) -> Task:
    if prediction.logits:
        return Task.CLASSIFICATION
    return Task.SEGMENTATION if prediction.segments else Task.DETECTION


def _folds(found: Sequence[Cohort]) -> tuple[int, ...]:
    return tuple(sorted({each.fold for one in found for each in one.judged}))


def _plain(value: object) -> Any:
    return list(value) if isinstance(value, tuple) else value
