"""Studies that are scheduled: what is gathered for them before they come, so that it is here when they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, tzinfo

from node.config import Peer, Settings
from node.domain.history import Fact
from node.domain.patient import Patient
from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.domain.scheduled import Scheduled
from node.domain.study import Order, StudyState
from node.domain.time import Instant
from node.domain.told import ToldOrder
from node.domain.work import WorkHours, WorkKind
from node.store import expected_studies, studies, work_items
from node.store.database import Database
from node.store.studies import StudyRow
from node.triage.nights import moment_of
from node.workflow import asking_history, order_facts, ordered
from node.workflow.policy import Policy

ROLE = "modality_worklist"
#: How the subjects of the work items begin that look for priors of a study before it comes.
BEFORE_IT_COMES = "expected/"


def worklists(settings: Settings) -> list[Peer]:
    """The peers that say who is scheduled."""
    return [peer for peer in settings.peers if ROLE in peer.roles]


def subject_of(peer: str, day: date) -> str:
    """The subject of the work item that asks a worklist for a day."""
    return f"{peer}/{day.isoformat()}"


def meant_by(subject: str) -> tuple[str, date]:
    """The peer and the day of such a subject."""
    peer, _, day = subject.rpartition("/")
    return peer, date.fromisoformat(day)


def take(db: Database, now: Instant, policy: Policy, told: Sequence[Scheduled]) -> int:
    """Keep who is scheduled, and have priors and history asked for, in the caller's transaction; return for how many.

    For a patient who is not identified nothing is asked, and nothing for a study that is here already.
    """
    asked = 0
    for each in told:
        expected_studies.record(db, now, each)
        if each.patient.is_identified and studies.study(db, each.study_instance_uid) is None:
            _take_order(db, now, policy, each)
            _ask(db, now, policy, each)
            asked += 1
    return asked


def study_of(db: Database, study_instance_uid: str, zone: tzinfo | None) -> StudyRow | None:
    """The study, or what is known of it before it comes."""
    study = studies.study(db, study_instance_uid)
    if study is not None:
        return study
    told = expected_studies.of_study(db, study_instance_uid)
    return None if told is None else _awaited(told, zone)


def moment(day: str, clock: str, zone: tzinfo | None) -> datetime | None:
    """When a step begins that is told as YYYYMMDD and HHMMSS by a local clock, UTC; without a time, with its day."""
    try:
        on = datetime.strptime(day, "%Y%m%d").date()  # noqa: DTZ007  a calendar day, of no time zone
    except ValueError:
        return None
    digits = clock.partition(".")[0].ljust(6, "0")
    try:
        at = datetime.strptime(digits, "%H%M%S").time()  # noqa: DTZ007
    except ValueError:
        at = time()
    return moment_of(on, at, zone)


def _take_order(db: Database, now: Instant, policy: Policy, told: Scheduled) -> None:
    """Let the order count as one that a RIS tells of, beside what it has said by messages, which are news."""
    row = _awaited(told, policy.settings.night.zone)
    known = order_facts.of_studies(db, [row])[row.study_instance_uid]
    by_message = any(each.priority_recorded_at and not each.told_by.startswith("mwl ") for each in known)
    reason = Fact(code="reason_for_request", value=told.reason, source=f"mwl {told.peer}")
    order = ToldOrder(
        accession_number=told.accession_number,
        study_instance_uid=told.study_instance_uid,
        priority=told.requested_priority if told.requested_priority and not by_message else None,
        facts=(reason,) if told.reason else None,
    )
    if (order.priority, order.facts) != (None, None):
        ordered.take(db, now, policy, told.patient, order, at="", told_by=f"mwl {told.peer}")


def _ask(db: Database, now: Instant, policy: Policy, told: Scheduled) -> None:
    """In spare time: whoever has come already is looked after first."""
    uid, settings = told.study_instance_uid, policy.settings
    wanted: list[tuple[WorkKind, str]] = []
    if settings.retrieve.selectors and any("archive" in peer.roles for peer in settings.peers):
        wanted.append((WorkKind.PRIORS, f"{BEFORE_IT_COMES}{uid}"))
    wanted += [
        (WorkKind.HISTORY, asking_history.subject_prefix(server.name) + uid)
        for server in settings.fhir
        if not asking_history.why_not(server, told.patient)
    ]
    for kind, subject in wanted:
        work_items.renew(db, now, kind, subject, uid)
        work_items.put_off(db, kind, subject, WorkHours.SPARE)


def _awaited(told: Scheduled, zone: tzinfo | None) -> StudyRow:
    """A study as it will be, as far as that is known; nothing of it is here."""
    local = told.scheduled_at.astimezone(zone)
    never = Instant(told.scheduled_at.astimezone(UTC), 0.0, "")
    return StudyRow(
        study_instance_uid=told.study_instance_uid,
        state=StudyState.RECEIVING,
        reason="scheduled",
        open=True,
        patient=told.patient,
        order=Order(
            study_date=f"{local:%Y%m%d}",
            study_time=f"{local:%H%M%S}",
            study_description=told.description,
            accession_number=told.accession_number,
        ),
        modality=told.modalities[0] if told.modalities else "",
        first_received=never,
        opened=never,
        last_received=never,
        expected_count=None,
        force_requested=False,
        revision=0,
        lane=Lane.ROUTINE,
        score=0.0,
        sort_key=0.0,
        reasons=(),
        prior="",
        asked=False,
        released=False,
        believed=False,
        early=False,
        report_state=ReportState.UNREAD,
        report_told_by="",
    )


def with_issuer(patient: Patient, peer: Peer) -> Patient:
    """The patient with the issuer that counts where the worklist tells none."""
    return patient if patient.issuer else replace(patient, issuer=peer.issuer)
