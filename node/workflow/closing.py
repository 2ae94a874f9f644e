"""Closing: a study that has gone quiet is complete, belongs to one patient, and gets its revision."""

from __future__ import annotations

from collections.abc import Sequence

from node.domain.priority import lane_of_requested_priority
from node.domain.study import Instance, Order, StudyState
from node.domain.time import Instant, elapsed_s
from node.domain.work import WorkKind, WorkState
from node.store import history, instances, studies, work_items
from node.store.database import Database
from node.store.instances import HeldInstance
from node.store.studies import StudyRow
from node.triage.completeness import Complete, Signals, Verdict, judge
from node.workflow import assignment, identity, ranking, reading
from node.workflow.policy import Policy


def close_due(db: Database, now: Instant, policy: Policy) -> int:
    """Close every study that is due; return how many were. Opens a transaction a study."""
    closed = 0
    for study in studies.open_studies(db):
        if _verdict(db, now, policy, study).complete is Complete.NO:
            continue
        with db.transaction():
            fresh = studies.study(db, study.study_instance_uid)
            if fresh is None or not fresh.open:
                continue
            verdict = _verdict(db, now, policy, fresh)
            if verdict.complete is Complete.NO:
                continue
            if verdict.complete is Complete.YES and _waits_for_archive(db, now, policy, fresh):
                continue
            close(db, now, policy, fresh, verdict)
            closed += 1
    return closed


def close(db: Database, now: Instant, policy: Policy, study: StudyRow, verdict: Verdict) -> None:
    """Fix the content of a study as a revision, hold it if patients conflict, assign models, rank."""
    uid = study.study_instance_uid
    held = instances.of_study(db, uid)
    described = [each.instance for each in held if each.instance is not None]
    patient, difference = identity.agreed_patient(described)
    studies.record_identity(db, uid, patient, _order(described), _modality(held))
    if difference:
        reason = f"{difference}. Correct it where it came from and send it again, then `matins release {uid}`"
        studies.move(db, now, uid, StudyState.HELD, reason)
        return
    facts = [fact for instance in described for fact in instance.order.facts]
    history.record(db, now, patient, list(dict.fromkeys(facts)), study=uid)
    opened = assignment.assign(db, now, policy, study, held, incomplete=_what_is_missing(study, held, verdict))
    revision = study.revision + 1 if opened or study.revision == 0 else study.revision
    reason = verdict.reason if revision > study.revision else f"{verdict.reason}; no model's input changed"
    studies.record_closing(db, now, uid, reason, revision=revision)
    ranking.rerank(db, now, policy, uid)
    reading.settle(db, now, uid)


def _verdict(db: Database, now: Instant, policy: Policy, study: StudyRow) -> Verdict:
    tally = instances.tally(db, study.study_instance_uid)
    limits = [policy.settings.completeness_of(name) for name in tally.modalities or ("",)]
    signals = Signals(
        since_first_s=elapsed_s(study.opened, now),
        since_last_s=elapsed_s(study.last_received, now),
        received=tally.received,
        undescribed=tally.undescribed,
        expected=study.expected_count,
        force_requested=study.force_requested,
    )
    return judge(
        signals,
        quiet_s=max(limit.quiet_s for limit in limits),
        forced_s=max(limit.forced_s for limit in limits),
    )


def _waits_for_archive(db: Database, now: Instant, policy: Policy, study: StudyRow) -> bool:
    """Have the archive that sent the study asked how many instances it has, once for each count held here."""
    archives = {peer.name for peer in policy.settings.peers if "archive" in peer.roles}
    if not archives & set(instances.sources(db, study.study_instance_uid)):
        return False
    received = instances.tally(db, study.study_instance_uid).received
    subject = f"{study.study_instance_uid}/{received}"
    work_items.add(db, now, WorkKind.EXPECTED_COUNT, subject, study.study_instance_uid)
    return work_items.state(db, WorkKind.EXPECTED_COUNT, subject) in (WorkState.READY, WorkState.CLAIMED)


def _what_is_missing(study: StudyRow, held: Sequence[HeldInstance], verdict: Verdict) -> str:
    """Say what a study lacks that is closed by its time limit; a person's order to close it lacks nothing."""
    if study.force_requested or verdict.complete is not Complete.FORCED or study.expected_count is None:
        return ""
    if len(held) >= study.expected_count:
        return ""
    return f"{len(held)} of {study.expected_count} instances came before the time limit"


def _modality(held: Sequence[HeldInstance]) -> str:
    names = [each.instance.modality for each in held if each.readable and each.instance is not None]
    return max(sorted(set(names)), key=names.count) if names else ""


def _order(described: Sequence[Instance]) -> Order:
    """What the study says of itself; the most urgent priority of any instance counts."""
    orders = [instance.order for instance in described]
    if not orders:
        return Order()
    texts = {
        name: next((getattr(order, name) for order in orders if getattr(order, name)), "")
        for name in ("study_date", "study_time", "study_description", "study_id", "accession_number")
    }
    priorities = [order.requested_priority for order in orders if order.requested_priority]
    return Order(
        **texts,
        requested_priority=min(priorities, key=lambda text: lane_of_requested_priority(text).order, default=""),
        patient_age_years=next((o.patient_age_years for o in orders if o.patient_age_years is not None), None),
        facts=tuple(dict.fromkeys(fact for order in orders for fact in order.facts)),
    )
