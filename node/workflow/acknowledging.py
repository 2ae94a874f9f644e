"""Urgent findings wait for a named person of the reading list, each once, and are told further while nobody comes.

Asked for is what a rule raises above routine work, and what a route with `acknowledge` is told of. The reading list
itself acknowledges; whoever ordered the study never does. After the report nothing is asked for: an urgent finding that
comes then is a discrepancy, with an owner (`workflow.discrepancies`).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from node.domain.account import SYSTEMS
from node.domain.acknowledgement import FindingKey, UrgentFinding, key_of
from node.domain.finding import Finding
from node.domain.model_card import Mode
from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.domain.study import StudyState
from node.domain.time import Instant
from node.errors import Failed
from node.store import acknowledgements, events, findings, notices, studies, waiting
from node.store.acknowledgements import Acknowledgement
from node.store.database import Database
from node.store.studies import StudyRow
from node.triage.urgency import urgent_findings
from node.workflow import listing
from node.workflow.policy import Policy
from node.workflow.rank_facts import facts_of

ABOUT, DISCREPANCY = "acknowledgement", "discrepancy"


def note(db: Database, now: Instant, policy: Policy, study_instance_uid: str) -> None:
    """Ask for what has to be acknowledged by what is known of a study now, in the caller's transaction.

    A finding that was asked for keeps what was said of it, whichever result shows it. Of priors and held studies
    nothing new is asked.
    """
    study = studies.study(db, study_instance_uid)
    if study is None or study.prior or not study.revision or study.state is StudyState.HELD:
        return
    known = {row.key: row for row in acknowledgements.of_study(db, study_instance_uid)}
    found = _found(db, policy, study_instance_uid)
    wanted = _wanted(db, policy, study, found) if found else {}
    is_reported = study.report_state is ReportState.FINAL
    for key, urgent in wanted.items():
        row = known.get(key)
        if is_reported and row is not None and row.at_report:
            continue
        if row is None or not row.lane or row.after_report is not is_reported:
            _ask(db, now, policy, study, urgent)
        elif not row.standing or row.lane is not urgent.lane:
            acknowledgements.stand(db, row.id, urgent.lane, urgent.asked_by, _due_at(policy, row, urgent.lane))
            _record(db, now, row, "standing", f"{urgent.lane}, {urgent.asked_by}")
    for key, row in known.items():
        if row.standing and key not in wanted and row.after_report is is_reported:
            acknowledgements.fall(db, row.id)
            _record(db, now, row, "fallen", "it is not found, or not urgent, any more")


def reported(db: Database, policy: Policy, study_instance_uid: str) -> None:
    """Keep what was found while the study is reported, in the caller's transaction; later is a discrepancy."""
    for key, finding in _found(db, policy, study_instance_uid).items():
        acknowledgements.record_report(db, study_instance_uid, key, finding.code)


def acknowledge(
    db: Database, now: Instant, study_instance_uid: str, *, by: str, code: str = ""
) -> list[Acknowledgement]:
    """Keep that somebody has seen the findings of a study, or those of one code; return them, as they were.

    `code`: a code value, "SCT:50960005", or the meaning. Opens its own transaction. Raises:
        Failed: no such study, nothing of it waits, or somebody was first.
    """
    with db.transaction():
        if studies.study(db, study_instance_uid) is None:
            raise Failed(f"no study {study_instance_uid} is held here")
        rows = [row for row in acknowledgements.standing_of(db, [study_instance_uid])[study_instance_uid] if row.lane]
        meant = [row for row in rows if _is_meant(row, code)]
        taken = [row for row in meant if acknowledgements.acknowledge(db, now, row.id, by)]
        if not taken:
            raise Failed(_why_nothing(rows, meant, code))
        for row in taken:
            _record(db, now, row, "acknowledged", f"by {by}", before="overdue" if row.overdue else "due")
    return taken


def _found(db: Database, policy: Policy, study_instance_uid: str) -> dict[FindingKey, Finding]:
    """Findings of results of live models that are not denied."""
    results = findings.results_of(db, [study_instance_uid])[study_instance_uid].values()
    return {
        key_of(model, finding): finding
        for model, mode, found in results
        if mode == Mode.LIVE and is_live(policy, model)
        for finding in found
        if finding.present is not False
    }


def is_live(policy: Policy, model: str) -> bool:
    """Whether a model speaks at all by the settings."""
    settings = policy.settings.models.get(model)
    return settings is not None and settings.mode is Mode.LIVE


def _wanted(
    db: Database, policy: Policy, study: StudyRow, found: dict[FindingKey, Finding]
) -> dict[FindingKey, UrgentFinding]:
    facts = facts_of(db, [study])[study.study_instance_uid] if any(each.by_model for each in policy.rules) else None
    by_rules = urgent_findings(policy.rules, facts) if facts is not None else {}
    wanted = {key: urgent for key, urgent in by_rules.items() if key in found}
    for route in _routes_that_told(db, policy, study):
        for key, finding in found.items():
            if finding.present and key not in wanted:
                asked_by = f"route {route}"
                wanted[key] = UrgentFinding(key=key, code=finding.code, lane=study.lane, asked_by=asked_by)
    return wanted


def _routes_that_told(db: Database, policy: Policy, study: StudyRow) -> Sequence[str]:
    asking = [route.name for route in policy.settings.routes if route.acknowledge]
    if not asking:
        return ()
    line = listing.line_of(db, study)[0].study_instance_uid
    told = {each.route for each in notices.of_study(db, line) if study.study_instance_uid in each.flag.told_of}
    return [name for name in asking if name in told]


def _ask(db: Database, now: Instant, policy: Policy, study: StudyRow, urgent: UrgentFinding) -> None:
    is_discrepancy = study.report_state is ReportState.FINAL
    asked_s = waiting.joined_s(db, now, now)
    owner = owner_of(policy, study.report_told_by) if is_discrepancy else ""
    limit_min = policy.settings.acknowledge.discrepancy_min if is_discrepancy else _within_min(policy, urgent.lane)
    acknowledgements.ask(
        db,
        now,
        study.study_instance_uid,
        urgent.key,
        urgent.code,
        lane=urgent.lane,
        asked_by=urgent.asked_by,
        asked_s=asked_s,
        due_at=_after(now, limit_min),
        after_report=is_discrepancy,
        owner=owner,
    )
    reason = f"{urgent.lane}, {urgent.asked_by}" + (f"; its owner is {owner or 'nobody'}" if is_discrepancy else "")
    subject = f"{urgent.key.model} {urgent.code.meaning}"
    about = DISCREPANCY if is_discrepancy else ABOUT
    events.record(db, now, about, subject, after="due", reason=reason, study=study.study_instance_uid)


def owner_of(policy: Policy, told_by: str) -> str:
    """Who sees to what came after a report: the person who told it, else whom the settings name, else its source."""
    is_person = told_by and told_by.split(maxsplit=1)[0] not in SYSTEMS
    return told_by if is_person else policy.settings.acknowledge.owner or told_by


def _within_min(policy: Policy, lane: Lane) -> float:
    return float(getattr(policy.settings.acknowledge.within_min, lane.value))


def limit_min(policy: Policy, row: Acknowledgement) -> float:
    """Within how many minutes somebody should have seen to it; 0 where no time is set."""
    if row.after_report:
        return policy.settings.acknowledge.discrepancy_min
    return _within_min(policy, row.lane) if row.lane else 0.0


def _due_at(policy: Policy, row: Acknowledgement, lane: Lane) -> str:
    return row.due_at if row.after_report else _after_iso(row.asked_at, _within_min(policy, lane))


def _after(now: Instant, minutes: float) -> str:
    return _after_iso(now.iso, minutes)


def _after_iso(iso: str, minutes: float) -> str:
    return (datetime.fromisoformat(iso) + timedelta(minutes=minutes)).isoformat(timespec="seconds") if minutes else ""


def _is_meant(row: Acknowledgement, code: str) -> bool:
    names = {row.code.value, f"{row.code.scheme}:{row.code.value}", row.code.meaning}
    return not code or code.lower() in {each.lower() for each in names}


def _why_nothing(rows: Sequence[Acknowledgement], meant: Collection[Acknowledgement], code: str) -> str:
    first = next(iter(meant), None)
    if first is not None:
        return f"{first.acknowledged_by} has acknowledged it already, at {first.acknowledged_at[:16]} UTC"
    if rows:
        named = ", ".join(sorted({f"{row.code.scheme}:{row.code.value} ({row.code.meaning})" for row in rows}))
        return f"no finding {code!r} of it waits for anybody; there are {named}"
    return "no finding of it waits for anybody: no rule and no route asks for it"


def _record(db: Database, now: Instant, row: Acknowledgement, after: str, reason: str, *, before: str = "") -> None:
    about = DISCREPANCY if row.after_report else ABOUT
    subject = f"{row.key.model} {row.code.meaning}"
    events.record(db, now, about, subject, before=before, after=after, reason=reason, study=row.study_instance_uid)
