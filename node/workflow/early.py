"""The early trigger: a model need not wait for series that it does not read."""

from __future__ import annotations

from node.catalogue import Model
from node.domain.time import Instant
from node.store import instances, outcomes, procedure_steps, studies
from node.store.database import Database
from node.store.studies import StudyRow
from node.workflow import assignment, content, identity, priors, ranking, reading
from node.workflow.policy import Policy
from node.workflow.signals import Looks, limits_of, required_of, series_since_last_s


def read(db: Database, now: Instant, policy: Policy, study: StudyRow, looks: Looks) -> None:
    """Let each model that reads early begin, once, on a series that suits it, is quiet and looks whole.

    Only before the first closing: what comes later is late. Opens a transaction for each model that begins.
    """
    if not policy.early_models or (study.revision > 0 and not study.early):
        return
    uid = study.study_instance_uid
    tally = instances.tally(db, uid)
    look = looks.at(db, policy, uid, tally, required_of(policy, tally))
    if not look.early:
        return
    quiet_s = limits_of(policy, tally).series_quiet_s
    since_s = series_since_last_s(db, now, study)
    begun = {outcome.model for outcome in outcomes.current(db, uid)}
    for model in policy.early_models:
        series, doubt = look.early.get(model.card.name, ("", ""))
        if not series or model.card.name in begun or since_s.get(series, 0.0) < quiet_s:
            continue
        why = _why_whole(db, study, tally.received, series, doubt)
        if why:
            with db.transaction():
                _begin(db, now, policy, model, uid, f"{why}, quiet for {quiet_s:g} s")


def _why_whole(db: Database, study: StudyRow, received: int, series_instance_uid: str, doubt: str) -> str:
    """Say why no more instances of a series are expected, or nothing where they are."""
    if study.expected_count is not None and received >= study.expected_count:
        return f"all {study.expected_count} expected instances are here"
    listed = procedure_steps.listed_series(db, study.study_instance_uid)
    told = next((each for each in listed if each.series_instance_uid == series_instance_uid), None)
    if told is not None:
        return (
            f"all {told.listed} instances that the modality lists (MPPS) are here" if told.here >= told.listed else ""
        )
    return "" if doubt else "its slices lie at regular distances without a gap"


def _begin(db: Database, now: Instant, policy: Policy, model: Model, study_instance_uid: str, why: str) -> None:
    """Open the first revision for one model, or go on with it, unless a closing would hold the study or not read it."""
    study = studies.study(db, study_instance_uid)
    if study is None or not study.open:
        return
    held = instances.of_study(db, study_instance_uid)
    if identity.patient_of(db, study, held)[1] or priors.why_prior(db, now, policy, study, held):
        return
    content.record(db, now, study_instance_uid, held)
    if not assignment.assign_early(db, now, model, study, held, revision=1):
        return
    reason = f"{model.card.name} reads before the study is complete: its series is here, {why}"
    studies.open_early(db, now, study_instance_uid, reason)
    ranking.rerank_with_patient(db, now, policy, study_instance_uid, before=study.patient)
    reading.settle(db, now, study_instance_uid)
