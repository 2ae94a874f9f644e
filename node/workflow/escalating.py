"""What nobody has seen to in time is marked, and told further, step by step, each step once."""

from __future__ import annotations

from collections.abc import Sequence

from node.config.acknowledge import EscalationStep
from node.domain.notice import NoticeKind
from node.domain.time import Instant
from node.store import acknowledgements, events, studies, waiting
from node.store.acknowledgements import Acknowledgement
from node.store.database import Database
from node.workflow.acknowledging import ABOUT, DISCREPANCY, is_live, limit_min
from node.workflow.alerting import alert
from node.workflow.policy import Policy


def escalate(db: Database, now: Instant, policy: Policy) -> int:
    """Mark what is overdue and take every step that is due, once; return how many routes were told.

    Time is counted on the scale of `store.waiting`: no clock step and no restart takes a step twice or early. Reported
    studies (but for discrepancies), held ones, priors and models that are not live are quiet. Opens a transaction a
    study.
    """
    rows = acknowledgements.waiting(db)
    if not rows:
        return 0
    reached_s = waiting.reached_s(db, now)
    due = {row.study_instance_uid for row in rows if _is_due(db, policy, row, reached_s)}
    told = 0
    for uid in sorted(due):
        with db.transaction():
            told += _escalate_study(db, now, policy, uid, reached_s)
    return told


def _is_due(db: Database, policy: Policy, row: Acknowledgement, reached_s: float) -> bool:
    return _is_newly_overdue(policy, row, reached_s) or bool(_steps_due(db, policy, row, reached_s))


def _is_newly_overdue(policy: Policy, row: Acknowledgement, reached_s: float) -> bool:
    limit = limit_min(policy, row)
    return (
        bool(limit) and not row.overdue and reached_s - row.asked_s >= limit * 60.0 and is_live(policy, row.key.model)
    )


def _steps_due(db: Database, policy: Policy, row: Acknowledgement, reached_s: float) -> list[EscalationStep]:
    section = policy.settings.acknowledge
    steps = section.discrepancy_escalation if row.after_report else section.escalation
    waited_min = (reached_s - row.asked_s) / 60.0
    reached = [step for step in steps if step.after_min <= waited_min]
    if not reached or not is_live(policy, row.key.model):
        return []
    taken = acknowledgements.steps_taken(db, row)
    return [step for step in reached if (step.after_min, step.route) not in taken]


def _escalate_study(db: Database, now: Instant, policy: Policy, uid: str, reached_s: float) -> int:
    """Looked at again under the write lock: somebody may just have come."""
    told = 0
    for after_report in (False, True):
        rows = [row for row in acknowledgements.waiting(db, uid) if row.after_report is after_report]
        about = DISCREPANCY if after_report else ABOUT
        for row in rows:
            if _is_newly_overdue(policy, row, reached_s):
                acknowledgements.mark_overdue(db, row.id)
                limit = limit_min(policy, row)
                events.record(
                    db, now, about, f"{row.key.model} {row.code.meaning}", before="due", after="overdue",
                    reason=f"nobody has seen to it within {limit:g} min", study=uid,
                )  # fmt: skip
        due = {row.id: _steps_due(db, policy, row, reached_s) for row in rows}
        for step in dict.fromkeys(step for steps in due.values() for step in steps):
            told += _take(db, now, policy, step, [row for row in rows if step in due[row.id]])
    return told


def _take(db: Database, now: Instant, policy: Policy, step: EscalationStep, rows: Sequence[Acknowledgement]) -> int:
    """Tell one route of all that waits of one study, and keep that it was told."""
    uid, after_report = rows[0].study_instance_uid, rows[0].after_report
    kind = NoticeKind.DISCREPANCY if after_report else NoticeKind.ESCALATION
    what = ", ".join(dict.fromkeys(f"{row.code.meaning} [{row.key.model}]" for row in rows))
    because = (
        f"found after the report, and not seen to for {step.after_min:g} min: {what}"
        if after_report
        else f"not acknowledged for {step.after_min:g} min: {what}"
    )
    study = studies.study(db, uid)
    problem = "the study has gone" if study is None else alert(db, now, policy, study, step.route, kind, because)
    for row in rows:
        acknowledgements.record_step(db, now, row, step.after_min, step.route)
    about, after = DISCREPANCY if after_report else ABOUT, "not told" if problem else "told further"
    reason = f"{step.route} after {step.after_min:g} min" + (f": {problem}" if problem else "")
    events.record(db, now, about, what, after=after, reason=reason, study=uid)
    return 0 if problem else 1
