"""Closing: a study that is complete belongs to one patient, is to be read, and gets its revision."""

from __future__ import annotations

from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.work import ResultState, WorkKind, WorkState
from node.store import instances, outbox, retrievals, studies, work_items
from node.store.database import Database
from node.store.studies import StudyRow
from node.triage.completeness import Complete, Ground, Verdict, judge
from node.workflow import (
    asking_history,
    assignment,
    comparing,
    content,
    early,
    ordered,
    prefetch,
    prior_reading,
    priors,
    procedure,
    ranking,
    reading,
)
from node.workflow.policy import Policy
from node.workflow.signals import Looks, signals_of


def close_due(db: Database, now: Instant, policy: Policy, looks: Looks | None = None) -> int:
    """Close every study that is due, and let models that read early begin; return how many were closed.

    `looks` is kept by the caller from one time to the next. Opens a transaction a study.
    """
    looks = Looks() if looks is None else looks
    closed = 0
    studies.reopen_asked_priors(db, now)
    waiting = studies.open_studies(db)
    looks.keep_only([study.study_instance_uid for study in waiting])
    for study in waiting:
        if procedure.names_wrong_entry(db, study.study_instance_uid):
            with db.transaction():
                procedure.hold(db, now, study.study_instance_uid)
        elif _verdict(db, now, policy, study, looks).complete is Complete.NO:
            early.read(db, now, policy, study, looks)
        else:
            closed += _close_if_due(db, now, policy, study.study_instance_uid, looks)
    return closed


def close(db: Database, now: Instant, policy: Policy, study: StudyRow, verdict: Verdict) -> None:
    """Fix the content of a study as a revision, hold it if patients conflict, assign models, rank."""
    uid = study.study_instance_uid
    held = instances.of_study(db, uid)
    difference = content.record(db, now, uid, held)
    prior_reading.ask(db, now, uid, held, again=bool(difference))
    if difference:
        reason = f"{difference}, then `matins release {uid}`"
        studies.move(db, now, uid, StudyState.HELD, reason)
        comparing.let_go(db, now, policy, uid)
        return
    prior = priors.why_prior(db, now, policy, study, held)
    missing = "" if study.force_requested else verdict.missing
    revision = max(1, assignment.assign(db, now, policy, study, held, incomplete=missing, prior=prior))
    studies.record_prior(db, uid, prior)
    reason = verdict.reason + (f"; {prior}" if prior else "")
    if study.early:
        reason += "; what was read early stands" if revision == study.revision else "; it replaces what was read early"
    elif revision == study.revision:
        reason += "; no model's input changed"
    studies.record_closing(db, now, uid, reason, revision=revision)
    if study.released:
        _queue_what_was_held(db, now, uid)
    if not prior:
        prefetch.ask_for_priors(db, now, policy, uid)
    asking_history.ask_for_history(db, now, policy, uid)
    ranking.rerank_with_patient(db, now, policy, uid, before=study.patient)
    comparing.let_go(db, now, policy, uid)
    ordered.arrived(db, now, policy, uid)
    reading.settle(db, now, uid)


def _queue_what_was_held(db: Database, now: Instant, study_instance_uid: str) -> None:
    """Let results of a released study try the gate again; it stops them if there is another reason."""
    for row in outbox.of_study(db, study_instance_uid):
        if row.state is ResultState.HELD:
            outbox.move(db, now, row, ResultState.QUEUED, "the study was released")


def _close_if_due(db: Database, now: Instant, policy: Policy, study_instance_uid: str, looks: Looks) -> bool:
    """Ask again inside the transaction, and close what is due still."""
    with db.transaction():
        study = studies.study(db, study_instance_uid)
        if study is None or not study.open:
            return False
        signals, limits = signals_of(db, now, policy, study, looks)
        verdict = judge(signals, limits)
        if verdict.complete is Complete.NO:
            return False
        # Past the time limit nobody is waited for, not even a retrieve room that does not run.
        may_wait = verdict.ground is Ground.QUIET and signals.since_first_s < limits.forced_s
        if may_wait and _waits_for_archive(db, now, policy, study):
            return False
        close(db, now, policy, study, verdict)
    return True


def _verdict(db: Database, now: Instant, policy: Policy, study: StudyRow, looks: Looks) -> Verdict:
    return judge(*signals_of(db, now, policy, study, looks))


def _waits_for_archive(db: Database, now: Instant, policy: Policy, study: StudyRow) -> bool:
    """Have the archive that sent the study asked how many instances it has, once for each count held here."""
    archives = {peer.name for peer in policy.settings.peers if "archive" in peer.roles}
    if not archives & set(instances.sources(db, study.study_instance_uid)):
        return False
    if retrievals.is_of_part(db, study.study_instance_uid):
        return False
    received = instances.tally(db, study.study_instance_uid).received
    subject = f"{study.study_instance_uid}/{received}"
    work_items.add(db, now, WorkKind.EXPECTED_COUNT, subject, study.study_instance_uid)
    return work_items.state(db, WorkKind.EXPECTED_COUNT, subject) in (WorkState.READY, WorkState.CLAIMED)
