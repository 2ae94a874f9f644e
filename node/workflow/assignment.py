"""Assignment: which series suits which model, and why not; one outcome a model, whatever happens."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from node.catalogue import Model
from node.domain.model_card import Mode
from node.domain.patient import conflict
from node.domain.rejection import RejectionTitle
from node.domain.study import Series
from node.domain.time import Instant
from node.domain.work import OutcomeState, ResultState, WorkKind
from node.errors import Failed
from node.store import instances, outbox, outcomes, versions, work_items
from node.store.database import Database
from node.store.instances import HeldInstance
from node.store.outcomes import Outcome
from node.store.studies import StudyRow
from node.triage.roles import choose
from node.triage.suitability import Choice
from node.workflow import reportable
from node.workflow.policy import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a model would do with a study as it is now."""

    model: Model
    series_instance_uid: str
    content_digest: str
    inputs: tuple[int, ...]
    #: [{series_instance_uid, suits, reason}]
    series: tuple[dict[str, object], ...]
    state: OutcomeState
    reason: str


def assign(
    db: Database,
    now: Instant,
    policy: Policy,
    study: StudyRow,
    held: Sequence[HeldInstance],
    *,
    incomplete: str,
    prior: str = "",
) -> int:
    """Write the outcomes that this content calls for; return the revision that they make of the study.

    An outcome whose inputs have not changed in set or content stands, and if all do, so does the revision; one that
    was opened early goes on with outcomes of further models. `incomplete` says what the study lacks, `prior` why it is
    not read although a model could, and then no model runs on it.
    """
    current = {outcome.model: outcome for outcome in outcomes.current(db, study.study_instance_uid)}
    wanted: list[tuple[_Plan, Outcome | None]] = []
    for model in policy.active_models:
        plan = _plan(model, held, incomplete, prior)
        standing = current.get(model.card.name)
        if (
            standing is not None
            and _still_holds(standing, plan, prior)
            and not _was_prior_only(study, standing, prior)
            and not _is_of_another_patient(db, standing, plan, held)
        ):
            outcomes.keep(db, standing.id, plan.inputs, plan.series)
        else:
            wanted.append((plan, standing))
    goes_on = study.early and all(standing is None for _, standing in wanted)
    revision = study.revision if goes_on or not wanted else study.revision + 1
    for plan, standing in wanted:
        if standing is not None:
            supersede(db, now, standing, "its input changed")
        written = outcomes.outcome(db, _write(db, now, study, plan, revision=revision))
        if written is not None and not prior:
            reportable.begin(db, now, policy, written)
    return revision


def assign_early(
    db: Database, now: Instant, model: Model, study: StudyRow, held: Sequence[HeldInstance], *, revision: int
) -> bool:
    """Let one model read what is here before the study is complete; `False` if it would not run on it."""
    plan = _plan(model, held, "", "")
    if plan.state is not OutcomeState.PENDING:
        return False
    _write(db, now, study, plan, revision=revision)
    return True


def run_again(db: Database, now: Instant, policy: Policy, study: StudyRow) -> list[str]:
    """Run each model once more on what it has read, with the next run number, in the same revision.

    Raises:
        Failed: files that one of them would read were freed; what it found stands until they are here again.
    """
    done: list[str] = []
    for outcome in outcomes.current(db, study.study_instance_uid):
        model = policy.model(outcome.model)
        if model is None or not outcome.series_instance_uid:
            continue
        inputs = tuple(outcomes.inputs(db, outcome.id))
        _, freed = _readable(instances.with_ids(db, inputs))
        if freed:
            raise Failed(freed)
        supersede(db, now, outcome, "forced to run again")
        plan = _Plan(
            model=model,
            series_instance_uid=outcome.series_instance_uid,
            content_digest=outcome.content_digest,
            inputs=inputs,
            series=outcome.series,
            state=OutcomeState.FAILED if model.problem else OutcomeState.PENDING,
            reason=model.problem,
        )
        _write(db, now, study, plan, revision=study.revision)
        done.append(f"{outcome.model} runs again")
    return done


def supersede(db: Database, now: Instant, outcome: Outcome, reason: str) -> None:
    """Take an outcome out of use: its work is cancelled, and what has not been sent stays here."""
    outcomes.move(db, now, outcome.id, OutcomeState.SUPERSEDED, reason)
    for kind in (WorkKind.INFER, WorkKind.REPORT):
        work_items.cancel(db, now, kind, outcome.id, reason)
    for row in outbox.unsent_of_outcome(db, outcome.id):
        outbox.move(db, now, row, ResultState.SUPERSEDED, reason)


def content_digest(chosen: Sequence[HeldInstance], roles: Mapping[str, str]) -> str:
    """SHA-256 over the SOP Instance UIDs and content digests of a model's inputs, in whatever order they came.

    `roles` (Series Instance UID → role) enters it: the same series in other roles are another input.
    """

    def line(each: HeldInstance) -> str:
        return " ".join(filter(None, (each.sop_instance_uid, each.content_digest, roles.get(each.series_instance_uid))))

    lines = sorted(map(line, chosen))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _plan(model: Model, held: Sequence[HeldInstance], incomplete: str, prior: str) -> _Plan:
    by_series: dict[str, list[HeldInstance]] = {}
    for each in held:
        if each.readable and each.instance is not None:
            by_series.setdefault(each.series_instance_uid, []).append(each)
    series = [
        Series(series_instance_uid=uid, instances=tuple(each.instance for each in members if each.instance is not None))
        for uid, members in by_series.items()
    ]
    choice = choose(series, model.card)
    verdicts: list[dict[str, object]] = [
        {
            "series_instance_uid": each.series_instance_uid,
            "suits": each.suits,
            "reason": each.reason,
            **({"role": role} if (role := choice.roles.get(each.series_instance_uid)) else {}),
        }
        for each in choice.verdicts
    ]
    unread = [each for each in held if each.instance is None]
    undescribed = f"{len(unread)} instance(s) could not be described: {unread[0].reason}" if unread else ""
    left_out = [sentence for sentence in (_what_is_rejected(held), undescribed) if sentence]
    verdicts += [{"series_instance_uid": "", "suits": False, "reason": sentence} for sentence in left_out]
    read = choice.roles or ((choice.chosen,) if choice.chosen else ())
    chosen = [each for uid in read for each in by_series[uid] if each.sop_instance_uid in choice.sop_instance_uids]
    state, reason = _first_state(model, choice, left_out, incomplete, prior)
    if state is OutcomeState.PENDING:
        state, reason = _readable(chosen)
    return _Plan(
        model=model,
        series_instance_uid=choice.chosen or "",
        content_digest=content_digest(chosen, choice.roles) if chosen else "",
        inputs=tuple(each.id for each in chosen),
        series=tuple(verdicts),
        state=state,
        reason=reason,
    )


def _what_is_rejected(held: Sequence[HeldInstance]) -> str:
    titles = [RejectionTitle(each.rejected).meaning for each in held if each.rejected]
    if not titles:
        return ""
    return f"{len(titles)} instance(s) taken out of use: {', '.join(sorted(set(titles)))}"


def _first_state(
    model: Model, choice: Choice, left_out: Sequence[str], incomplete: str, prior: str
) -> tuple[OutcomeState, str]:
    if choice.chosen is None:
        # What is missing might have suited, or closed a gap.
        state = OutcomeState.INCOMPLETE if incomplete else OutcomeState.NOT_APPLICABLE
        return state, "; ".join(part for part in (incomplete, choice.reason, *left_out) if part)
    if prior:
        return OutcomeState.NOT_APPLICABLE, prior
    if incomplete:
        return OutcomeState.INCOMPLETE, incomplete
    if model.problem:
        return OutcomeState.FAILED, model.problem
    return OutcomeState.PENDING, ""


def _readable(chosen: Sequence[HeldInstance]) -> tuple[OutcomeState, str]:
    """Whether the files that a model would read are here: they may have been freed."""
    freed = sum(bool(each.freed_at) for each in chosen)
    if not freed:
        return OutcomeState.PENDING, ""
    remedy = "Have them sent again or `matins fetch` them, then `matins force`"
    return OutcomeState.FAILED, f"the files of {freed} of its images were freed, and an archive holds them. {remedy}"


def _still_holds(standing: Outcome, plan: _Plan, prior: str) -> bool:
    """Whether an outcome rests on exactly what the plan would read, with the same model in the same mode.

    What was read of a prior in the shadow, to be compared with, stands whatever the model's own mode is.
    """
    in_shadow = bool(prior) and plan.reason == prior and standing.mode is Mode.SHADOW
    same = (
        standing.series_instance_uid == plan.series_instance_uid
        and standing.content_digest == plan.content_digest
        and standing.model_digest == plan.model.model_digest
        and standing.card_digest == plan.model.card_digest
        and (standing.mode is plan.model.mode or in_shadow)
    )
    settled = OutcomeState.INCOMPLETE in (standing.state, plan.state)
    return same and (not settled or standing.state is plan.state)


def _is_of_another_patient(db: Database, standing: Outcome, plan: _Plan, held: Sequence[HeldInstance]) -> bool:
    """Whether what an outcome rests on contradicts the plan about the patient; what one of them leaves out does not."""
    if set(outcomes.inputs(db, standing.id)) == set(plan.inputs):
        return False
    inputs = set(plan.inputs)
    now = {each.instance.patient for each in held if each.instance is not None and each.id in inputs}
    before = versions.input_patients(db, standing.id)
    return any(conflict(one, other) is not None for one in before for other in now)


def _was_prior_only(study: StudyRow, standing: Outcome, prior: str) -> bool:
    """Whether an outcome says only that the study was a prior, which it is no longer: somebody has asked for it."""
    return bool(study.prior) and not prior and standing.reason == study.prior


def _write(db: Database, now: Instant, study: StudyRow, plan: _Plan, *, revision: int) -> int:
    uid, model = study.study_instance_uid, plan.model
    run_number = outcomes.next_run_number(
        db,
        uid,
        revision=revision,
        model=model.card.name,
        model_digest=model.model_digest,
        card_digest=model.card_digest,
        content_digest=plan.content_digest,
    )
    outcome_id = outcomes.add(
        db,
        now,
        study=uid,
        revision=revision,
        run_number=run_number,
        model=model.card.name,
        mode=model.mode,
        model_digest=model.model_digest,
        card_digest=model.card_digest,
        series_instance_uid=plan.series_instance_uid,
        content_digest=plan.content_digest,
        series=plan.series,
        state=plan.state,
        reason=plan.reason,
        inputs=plan.inputs,
    )
    if plan.state is OutcomeState.PENDING:
        work_items.add(db, now, WorkKind.INFER, outcome_id, uid)
    return outcome_id
