"""Feedback of readers: said by name, or drawn anew in a Segmentation that comes back from a workstation.

A correction counts only where study, patient, frame of reference and every image it names are those of our result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from node.domain.feedback import Feedback, Verdict
from node.domain.model_card import ModelCard, Task
from node.domain.patient import conflict
from node.domain.prior_document import PriorDocument
from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.work import OutcomeState
from node.errors import Failed
from node.store import events, feedback, instances, outcomes, studies
from node.store.database import Database
from node.store.instances import HeldInstance
from node.store.outcomes import Outcome
from node.store.studies import StudyRow
from node.workflow.policy import Policy

ABOUT = "feedback"
_LONGEST_REASON = 200


def give(
    db: Database,
    now: Instant,
    policy: Callable[[], Policy],
    study_instance_uid: str,
    *,
    model: str,
    verdict: Verdict,
    by: str,
    label: str = "",
    because: str = "",
) -> None:
    """Keep what a reader says of the result of a model, beside what was said before. Opens its own transaction.

    `policy` is asked only where a class is named.

    Raises:
        Failed: no such study, it is held, the model has no result of it, or there is no such class.
    """
    said = "".join(letter for letter in " ".join(because.split()) if letter.isprintable())[:_LONGEST_REASON]
    with db.transaction():
        study = studies.study(db, study_instance_uid)
        if study is None:
            raise Failed(f"no study {study_instance_uid} is held here")
        if study.state is StudyState.HELD:
            raise Failed("the study is held: whose it is has to be settled first")
        outcome = _result(db, study_instance_uid, model)
        if label:
            label = _class(policy(), model, label)
        if verdict is Verdict.ACCEPT and label:
            raise Failed("what is accepted is right as it is: a class goes with `reject`")
        feedback.add(
            db,
            now,
            study=study_instance_uid,
            outcome_id=outcome.id,
            model=model,
            verdict=verdict,
            given_by=by,
            label=label,
            because=said,
        )
        _record(db, now, outcome, verdict, f"by {by}" + (f": {label}" if label else ""))


def correct(
    db: Database,
    now: Instant,
    policy: Policy,
    held: HeldInstance,
    study: StudyRow,
    document: PriorDocument | None,
    *,
    lies_on_images: bool,
) -> None:
    """Keep a Segmentation as the correction of each result it corrects, in the caller's transaction.

    Without a document, or where it corrects nothing, it is believed no more as one. `lies_on_images`: its mask was
    read on the images it names.
    """
    corrected: Sequence[Outcome] = ()
    if document is not None and lies_on_images and _may_correct(held, study, document):
        corrected = [
            each for each in _results(db, study.study_instance_uid) if _corrects(db, policy, each, held, document)
        ]
    kept = {each.id for each in corrected}
    for row in feedback.let_fall(db, held.sop_instance_uid):
        if row.outcome_id not in kept:
            reason = "it is believed no more"
            subject = f"{row.model}:{row.outcome_id}"
            events.record(
                db, now, ABOUT, subject, before=row.verdict, after="fallen", reason=reason, study=row.study_instance_uid
            )
    for outcome in corrected:
        is_new = feedback.add(
            db,
            now,
            study=study.study_instance_uid,
            outcome_id=outcome.id,
            model=outcome.model,
            verdict=Verdict.CORRECTED,
            given_by=held.source,
            sop_instance_uid=held.sop_instance_uid,
        )
        if is_new:
            _record(db, now, outcome, Verdict.CORRECTED, f"by {held.sop_instance_uid} of {held.source}")


def feedback_told(db: Database, study_instance_uid: str) -> list[dict[str, Any]]:
    """What was said of the results of a study as plain values, oldest first."""
    return [_told(each) for each in feedback.of_study(db, study_instance_uid)]


def counting(db: Database, outcome_id: int, study_instance_uid: str) -> Feedback | None:
    """What counts of all that was said of one result: the last that stands."""
    said = [each for each in feedback.of_study(db, study_instance_uid) if each.outcome_id == outcome_id]
    return next((each for each in reversed(said) if each.standing), None)


def _may_correct(held: HeldInstance, study: StudyRow, document: PriorDocument) -> bool:
    """Whether a person stands for it, and it is this patient's."""
    is_drawn = bool(document.findings) and document.drawn and not document.left_out and not held.ours
    if not is_drawn or held.rejected or held.instance is None or not study.patient.is_identified:
        return False
    whose = held.instance.patient
    return (
        held.study_instance_uid == held.instance.study_instance_uid == study.study_instance_uid
        and study.state is not StudyState.HELD
        and whose.issuer == study.patient.issuer
        and conflict(whose, study.patient) is None
    )


def _corrects(db: Database, policy: Policy, outcome: Outcome, held: HeldInstance, document: PriorDocument) -> bool:
    """Whether it is drawn on the images of this result alone, and shows nothing but what its model shows."""
    model = policy.model(outcome.model)
    known = {(each.type.scheme, each.type.value) for each in model.card.segments} if model is not None else set()
    shown = {(each.finding.code.scheme, each.finding.code.value) for each in document.findings}
    if not shown <= known or held.instance is None:
        return False
    inputs = [each.instance for each in instances.with_ids(db, outcomes.inputs(db, outcome.id))]
    described = [each for each in inputs if each is not None]
    frames = {each.frame_of_reference_uid for each in described}
    frame = held.instance.frame_of_reference_uid
    named = set(document.made_of)
    return (
        len(described) == len(inputs)
        and bool(named)
        and named <= {each.sop_instance_uid for each in described}
        and bool(frame)
        and frames == {frame}
    )


def _results(db: Database, study_instance_uid: str) -> list[Outcome]:
    every = [*outcomes.current(db, study_instance_uid), *outcomes.asides(db, study_instance_uid)]
    return [each for each in every if each.state is OutcomeState.RESULT]


def _result(db: Database, study_instance_uid: str, model: str) -> Outcome:
    every = outcomes.current(db, study_instance_uid)
    found = next((each for each in every if each.model == model), None)
    if found is not None and found.state is OutcomeState.RESULT:
        return found
    if found is not None:
        raise Failed(f"{model} has no result of it: {found.state}{f', {found.reason}' if found.reason else ''}")
    named = ", ".join(each.model for each in every if each.state is OutcomeState.RESULT)
    raise Failed(f"{model or 'no model'} has not read it; {f'there are results of {named}' if named else 'none has'}")


def _class(policy: Policy, model: str, label: str) -> str:
    """The label of the card's target that is meant, by its label or code."""
    found = policy.model(model)
    targets = found.card.targets if found is not None and _is_classifier(found.card) else ()
    for target in targets:
        names = {target.label, target.code.meaning, target.code.value, f"{target.code.scheme}:{target.code.value}"}
        if label.casefold() in {name.casefold() for name in names}:
            return target.label
    named = ", ".join(target.label for target in targets)
    raise Failed(f"{model} has no class {label!r}; {f'it has {named}' if named else 'it tells none apart'}")


def _is_classifier(card: ModelCard) -> bool:
    return card.task is Task.CLASSIFICATION


def _record(db: Database, now: Instant, outcome: Outcome, verdict: Verdict, reason: str) -> None:
    subject = f"{outcome.model}:{outcome.id}"
    events.record(db, now, ABOUT, subject, after=verdict, reason=reason, study=outcome.study_instance_uid)


def _told(row: Feedback) -> dict[str, Any]:
    return {
        "model": row.model,
        "verdict": row.verdict.value,
        "label": row.label,
        "because": row.because,
        "given_by": row.given_by,
        "given_at": row.given_at,
        "sop_instance_uid": row.sop_instance_uid,
        "stands": row.standing,
    }
