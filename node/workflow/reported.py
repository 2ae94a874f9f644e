"""How far the radiologist is with a study, told by whoever knows: then it is neither ranked nor flagged any more."""

from __future__ import annotations

from node.domain.report_state import ReportState
from node.domain.time import Instant
from node.store import events, reading_list, studies
from node.store.database import Database
from node.workflow import acknowledging, ranking, reading_steps
from node.workflow.policy import Policy


def record(
    db: Database, now: Instant, policy: Policy, study_instance_uid: str, state: ReportState, *, told_by: str
) -> bool:
    """Keep how far the report of a study is, in the caller's transaction; return whether that is new.

    `told_by`: "hl7 RIS", "ups", "fhir HOSPITAL-A", or the login of a person. A final report is not taken back by a
    lesser one: an addendum, or a message that comes late, does not put a study back into the worklist.
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
