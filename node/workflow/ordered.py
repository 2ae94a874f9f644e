"""What a RIS says of an order: laid over the study that is here, or kept until it comes."""

from __future__ import annotations

from datetime import datetime

from node.domain.patient import Patient
from node.domain.report_state import ReportState
from node.domain.time import Instant
from node.domain.told import ToldOrder
from node.store import events, identities, orders, studies
from node.store.database import Database
from node.store.studies import StudyRow
from node.workflow import order_facts, ranking, reported
from node.workflow.history import learn
from node.workflow.policy import Policy


def take(
    db: Database, now: Instant, policy: Policy, patient: Patient, order: ToldOrder, *, at: str, told_by: str
) -> list[str]:
    """Take what is said of an order of an identified patient, in the caller's transaction.

    `at`: when the source said so (ISO 8601 UTC), empty where that is not known. `told_by`: "hl7 RIS". Returns the
    studies that it is about; of one that is still to come, everything is kept.
    """
    if not patient.is_identified or not order.is_known_by_something:
        return []
    row = orders.keep(db, now, patient, order, at=at, told_by=told_by)
    meant = _studies_meant(db, patient, order)
    if order.facts is not None or order.cancelled:
        learn(db, now, policy, patient, order.facts or (), origin=f"{told_by} order {row.id}")
    if order.impression:
        learn(db, now, policy, patient, order.impression, origin=f"{told_by} report {row.id}")
    for study in meant:
        uid = study.study_instance_uid
        if order.priority is not None or order.cancelled:
            after = "cancelled" if order.cancelled else "updated"
            events.record(db, now, "order", told_by, after=after, reason=order.priority or "", study=uid)
            ranking.rerank(db, now, policy, uid)
        if order.report is not None and _was_made_before(study, at or now.iso):
            _take_report(db, now, policy, study, order.study_instance_uid, order.report, told_by=told_by)
    return [study.study_instance_uid for study in meant]


def arrived(db: Database, now: Instant, policy: Policy, study_instance_uid: str) -> None:
    """A study has closed: what was said of its report before it came is so. In the caller's transaction."""
    study = studies.study(db, study_instance_uid)
    told = order_facts.of_studies(db, [study])[study_instance_uid] if study is not None else []
    # The latest word last: of several orders it is the one that stands.
    for row in sorted(told, key=lambda each: each.report_at):
        if study is not None and row.report_state is not None and _was_made_before(study, row.report_at):
            _take_report(db, now, policy, study, row.study_instance_uid, row.report_state, told_by=row.told_by)


def _take_report(
    db: Database,
    now: Instant,
    policy: Policy,
    study: StudyRow,
    named: str,
    state: ReportState,
    *,
    told_by: str,
) -> None:
    """Keep how far the report of a study is, if it is this study's: `named` is the UID that the source tells, if any.

    An accession number that several studies bear does not say which of them was read: none leaves the list by it.
    """
    uid = study.study_instance_uid
    if order_facts.names_another_study(study, named):
        return
    if state is ReportState.FINAL and not named and order_facts.shares_accession_number(db, study):
        reason = "several studies bear the accession number that is told to be read; `matins read` says which"
        events.record(db, now, "report_state", told_by, before=study.report_state, after="not taken", reason=reason,
                      study=uid)  # fmt: skip
        return
    reported.record(db, now, policy, uid, state, told_by=told_by)


def _was_made_before(study: StudyRow, at: str) -> bool:
    """Whether a study was made before then: another one under the same accession number has been read by nobody.

    Of a study without a sound date nobody can say that.
    """
    try:
        made = datetime.strptime(study.order.study_date + study.order.study_time[:6].ljust(6, "0"), "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        return False
    return made <= datetime.fromisoformat(at).astimezone().replace(tzinfo=None)


def _studies_meant(db: Database, patient: Patient, order: ToldOrder) -> list[StudyRow]:
    ids = identities.identifiers(db, patient)
    found = studies.some(db, orders.studies_meant(db, patient, ids, order))
    corrections = identities.settled(db, patient, ids) if found else {}
    return [study for study in found if not identities.why_not(study.patient, patient, corrections)]
