"""Which series are taken for training, and what is true of each: by a reader's word, never by a model's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from node.domain.feedback import Verdict
from node.domain.finding import Finding
from node.domain.patient import Patient, conflict
from node.domain.prior_document import DocumentState
from node.domain.study import StudyState
from node.store import artifacts, findings, instances, outcomes, prior_documents, studies
from node.store.database import Database
from node.store.feedback import studies_with_feedback
from node.store.instances import HeldInstance
from node.store.outcomes import Outcome
from node.store.studies import StudyRow
from node.workflow.feedback import counting

#: (model, coding scheme, code) → label of the target.
Labels: TypeAlias = Mapping[tuple[str, str, str], str]

_SEG = "seg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The images of one study that one model has read, or one series, and what is true of them."""

    study: StudyRow
    images: tuple[HeldInstance, ...]
    model: str = ""
    #: Class of the study, where a reader has told one or agreed to one.
    label: str = ""
    #: Path of the Segmentation that is true, relative to the data folder; empty: there is none.
    segmentation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """What was asked for, and is not taken."""

    study_instance_uid: str
    reason: str


def choose(
    db: Database, *, named: Sequence[str] = (), model: str = "", since: str = "", labels: Labels | None = None
) -> Iterator[Chosen | LeftOut]:
    """The studies named, whether anybody has said anything of them or not; else those with feedback that stands.

    `labels`: what each model calls what it finds; without it the meaning of the code is the class.
    """
    for uid in named or studies_with_feedback(db, model=model, since=since):
        study = studies.study(db, uid)
        problem = _problem(study)
        if study is None or problem:
            yield LeftOut(study_instance_uid=uid, reason=problem)
            continue
        found = [
            each
            for outcome in _results(db, uid, model)
            if (each := _judged(db, study, outcome, labels or {})) is not None
        ]
        yield from found
        if named and not any(isinstance(each, Chosen) for each in found):
            yield from _plain(db, study)


def _problem(study: StudyRow | None) -> str:
    if study is None:
        return "no such study is held here"
    if study.state is StudyState.HELD:
        return "it is held: whose it is has to be settled first"
    return "" if study.patient.is_identified else "its patient has no ID: nobody knows what must not be torn apart"


def _results(db: Database, uid: str, model: str) -> list[Outcome]:
    return [each for each in outcomes.of_study(db, uid) if not model or each.model == model]


def _judged(db: Database, study: StudyRow, outcome: Outcome, labels: Labels) -> Chosen | LeftOut | None:
    """A result as a reader has judged it; `None`: nobody has."""
    said = counting(db, outcome.id, study.study_instance_uid)
    if said is None:
        return None
    images = instances.with_ids(db, outcomes.inputs(db, outcome.id))
    problem = _unusable(study, images)
    segmentation = label = ""
    if not problem and said.verdict is Verdict.CORRECTED:
        segmentation, problem = _correction(db, study, said.sop_instance_uid)
    elif not problem and said.verdict is Verdict.ACCEPT:
        made = [each for each in artifacts.of_outcome(db, outcome.id) if each.kind == _SEG and not each.freed_at]
        segmentation = made[0].path if made else ""
        label = "" if segmentation else _found(findings.of_outcome(db, outcome.id), outcome.model, labels)
        problem = (
            "" if segmentation or label else "what was accepted is neither a class nor a segmentation that is here"
        )
    elif not problem:
        label = said.label
        problem = "" if label else "it was rejected, and nobody has said what is right"
    if problem:
        return LeftOut(study_instance_uid=study.study_instance_uid, reason=f"{outcome.model}: {problem}")
    return Chosen(study=study, images=tuple(images), model=outcome.model, label=label, segmentation=segmentation)


def _found(found: Sequence[Finding], model: str, labels: Labels) -> str:
    """The class of a result: of those that exclude each other the likeliest."""
    judged = [(number, each) for each in found if (number := _number(each)) is not None]
    if not judged:
        return ""
    _, best = max(judged, key=lambda pair: pair[0])
    label = labels.get((model, best.code.scheme, best.code.value), best.code.meaning)
    return f"no {label}" if len(judged) == 1 and best.present is False else label


def _number(finding: Finding) -> float | None:
    return finding.probability if finding.probability is not None else finding.score


def _correction(db: Database, study: StudyRow, sop_instance_uid: str) -> tuple[str, str]:
    """Path of a correction, and why it cannot be used; looked at again, for things may have changed since it came."""
    row = prior_documents.document(db, sop_instance_uid)
    held = next(iter(instances.with_ids(db, [row.instance_id])), None) if row is not None else None
    if row is None or held is None or row.state is not DocumentState.READ:
        return "", "the correction is believed no more"
    return held.path, _unusable(study, [held])


def _unusable(study: StudyRow, held: Sequence[HeldInstance]) -> str:
    """Why these instances cannot be taken; empty: they can."""
    if not held:
        return "its images are not known"
    if any(each.freed_at for each in held):
        return "its files were freed; `matins fetch` has an archive send them again"
    if any(not each.current or each.rejected for each in held):
        return "it was read on images that are out of use by now"
    if any(each.study_instance_uid != study.study_instance_uid for each in held):
        return "its images belong to another study by now"
    if any(conflict(each.instance.patient if each.instance else Patient(), study.patient) for each in held):
        return "its images name another patient than its study"
    return ""


def _plain(db: Database, study: StudyRow) -> Iterator[Chosen | LeftOut]:
    """The images of a study, series by series."""
    series: dict[str, list[HeldInstance]] = {}
    for each in instances.of_study(db, study.study_instance_uid):
        if each.readable and each.instance is not None:
            series.setdefault(each.series_instance_uid, []).append(each)
    if not series:
        yield LeftOut(study_instance_uid=study.study_instance_uid, reason="it has no images that could be read")
    for images in series.values():
        problem = _unusable(study, images)
        if problem:
            yield LeftOut(study_instance_uid=study.study_instance_uid, reason=problem)
        else:
            yield Chosen(study=study, images=tuple(images))
