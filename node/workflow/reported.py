"""How far the radiologist is with a study, told by whoever knows: then it is neither ranked nor flagged any more."""

from __future__ import annotations

from node.domain.report_state import ReportState
from node.domain.time import Instant
from node.store import events, orders, reading_list, studies
from node.store.database import Database
from node.workflow import acknowledging, order_facts, ranking, reading_steps
from node.workflow.policy import Policy


def record(
    db: Database, now: Instant, policy: Policy, study_instance_uid: str, state: ReportState, *, told_by: str
) -> bool:
    """Keep how far the report of a study is, in the caller's transaction; return whether that is new.

    `told_by`: "hl7 RIS", "ups", "fhir HOSPITAL-A", or the login of a person. A final report is not taken back by a
    lesser one: an addendum, or a message that comes late, does not put a study back into the worklist. A person does
    (`take_back`).
    """
    study = studies.study(db, study_instance_uid)
    if study is None or state is study.report_state or study.report_state is ReportState.FINAL:
        return False
    reading_list.record_report_state(db, now, study_instance_uid, state, told_by=told_by)
    events.record(
        db, now, "report_state", told_by, before=study.report_state, after=state, reason=f"told by {told_by}",
        study=study_instance_uid,
    )  # fmt: skip
    if state is not ReportState.FINAL:
        ranking.rerank(db, now, policy, study_instance_uid)
    else:
        acknowledging.reported(db, policy, study_instance_uid)
        reading_steps.schedule(db, now, policy, study_instance_uid)
    return True


def take_back(db: Database, now: Instant, policy: Policy, study_instance_uid: str, *, told_by: str) -> bool:
    """A person says that a study which was told to be read is not: it waits again; `False` where nobody had said so.

    In the caller's transaction. Whatever systems have told of its report until now counts no more; what they say again
    is believed again.
    """
    study = studies.study(db, study_instance_uid)
    if study is None or study.report_state is not ReportState.FINAL:
        return False
    for order in order_facts.of_studies(db, [study])[study_instance_uid]:
        orders.forget_report(db, order.id)
    reading_list.record_report_state(db, now, study_instance_uid, ReportState.UNREAD, told_by=told_by)
    reason = f"taken back: it was told by {study.report_told_by} and is not read"
    events.record(
        db, now, "report_state", told_by, before=study.report_state, after=ReportState.UNREAD, reason=reason,
        study=study_instance_uid,
    )  # fmt: skip
    ranking.rerank(db, now, policy, study_instance_uid)
    return True
