"""Work items `history`: what one FHIR server knows of the patient of a study, kept as facts with their source."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from node.config import FhirServer
from node.config.retrieve import hours_of
from node.domain.inquiry import UNBELIEVED, Inquiry, InquiryState
from node.domain.patient import Patient
from node.domain.priority import REQUESTED_FROM_FHIR, lane_of_requested_priority
from node.domain.report_state import ReportState
from node.domain.time import Clock
from node.domain.told import ToldOrder
from node.domain.work import WorkKind
from node.errors import Failed, Transient
from node.loop import Handling, Stop
from node.retrieve.fhir.exchange import AskedResource, FhirCall, HistoryAnswer, HistoryQuery, ResourceAnswer
from node.retrieve.inquiry import LEASE_S, handling_of
from node.store import events, inquiries, work_items
from node.store.database import Database
from node.store.studies import StudyRow
from node.store.work_items import WorkItem
from node.workflow import asking_history, expecting, order_facts, ordered, prefetch
from node.workflow.history import learn
from node.workflow.policy import Policy

_TRIES = 3
#: Until the second try; longer until the third.
_AGAIN_S = 10.0

#: Asks one server.
Ask = Callable[[HistoryQuery], HistoryAnswer]
_Due = Sequence[tuple[str, Inquiry | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Course:
    """For which study it is asked, whom the server means, and by which rules the study is ranked anew."""

    study: StudyRow
    patient: Patient
    policy: Policy


def call_of(server: FhirServer) -> dict[str, object]:
    """What every question to a server has in common; fields of `FhirCall`."""
    call = FhirCall(
        server=server.name,
        base=server.base,
        token_file=str(server.token_file or ""),
        connect_s=server.connect_s,
        answer_s=server.answer_s,
        longest_s=server.limit_s,
        most_bytes=server.most_bytes,
    )
    return call.model_dump()


class Histories:
    """Work items `history` of one server, one at a time."""

    def __init__(
        self, db: Database, clock: Clock, policy: Callable[[], Policy], server: FhirServer, ask: Ask, stop: Stop
    ) -> None:
        self._db = db
        self._clock = clock
        self._policy = policy
        self._server = server
        self._ask = ask
        self._stop = stop
        self._left_alone_until_s = 0.0

    def handling(self) -> Handling:
        """How the loop treats these items."""
        return handling_of(
            self._db,
            self._clock,
            WorkKind.HISTORY,
            self.handle,
            lambda item, error: self._finish(item, str(error)),
            subject_prefix=asking_history.subject_prefix(self._server.name),
        )

    def may_ask(self) -> bool:
        """Whether it is an hour in which the server is asked, and it did not ask to be left alone."""
        if time.monotonic() < self._left_alone_until_s:
            return False
        hours, zone = hours_of(self._server.between), self._policy().settings.night.zone
        return not prefetch.until_hours_s(self._clock.now(), hours, zone)

    def handle(self, item: WorkItem) -> None:
        """Ask for what is not known, and keep the answer to each question with the word that it was asked.

        Each in a transaction of its own, for there may be thousands of facts: whoever is killed in between has the
        rest asked for, and nothing twice.

        Raises:
            Failed: the study is such that nothing may be asked.
            Transient: the room ends.
        """
        study = expecting.study_of(self._db, item.study_instance_uid, self._policy().settings.night.zone)
        if study is None or study.report_state is ReportState.FINAL:
            raise Failed("nobody waits for it")
        patient = asking_history.meant_by(self._db, study)
        reason = asking_history.why_not(self._server, patient)
        if reason:
            raise Failed(reason)
        due = asking_history.due(self._db, self._clock.now(), self._server, study)
        if not due:
            raise Failed("what it knows was asked for a short while ago")
        try:
            answer = self._ask(self._query(study, patient, due))
        except (Failed, Transient) as error:
            if self._stop.is_set():
                raise
            answer = HistoryAnswer(state=InquiryState.FAILED, reason=str(error), again=isinstance(error, Transient))
        if answer.wait_s:
            self._left_alone_until_s = time.monotonic() + answer.wait_s
        course = _Course(study=study, patient=replace(patient, name="", **_identity(answer)), policy=self._policy())
        self._take(item, course, due, answer)

    def _query(self, study: StudyRow, patient: Patient, due: _Due) -> HistoryQuery:
        server, today = self._server, self._clock.now().wall.astimezone().date()
        since = today - timedelta(days=min(server.observations_within_days, today.toordinal() - 1))
        return HistoryQuery.model_validate(
            call_of(server)
            | {
                "system": server.identifiers[patient.issuer],
                "patient_id": patient.patient_id,
                "birth_date": patient.birth_date,
                "sex": patient.sex,
                "study_instance_uid": study.study_instance_uid,
                "accession_system": server.accession_system,
                "accession_number": study.order.accession_number,
                "accession_is_shared": order_facts.shares_accession_number(self._db, study),
                "asked": [
                    AskedResource(resource=name, etag=row.etag if row else "", digest=row.digest if row else "")
                    for name, row in due
                ],
                "categories": server.observation_categories,
                "since": since.isoformat(),
                "today": today.isoformat(),
                "post": server.search_by == "post",
                "page_size": server.page_size,
                "most_pages": server.most_pages,
            }
        )

    def _take(self, item: WorkItem, course: _Course, due: _Due, answer: HistoryAnswer) -> None:
        """Keep what came, and finish the item, or let it wait for what may still come."""
        known = dict(due)
        answers = answer.resources or tuple(
            ResourceAnswer(resource=name, state=answer.state, reason=answer.reason) for name, _ in due
        )
        for each in answers:
            if not work_items.heartbeat(self._db, self._clock.now(), item, LEASE_S):
                return
            with self._db.transaction():
                self._keep(course, each, known.get(each.resource))
        with self._db.transaction():
            self._end(item, answer, answers)

    def _end(self, item: WorkItem, answer: HistoryAnswer, answers: Sequence[ResourceAnswer]) -> None:
        now, told = self._clock.now(), _summary(answers)
        tries = work_items.passing_faults(self._db, item) + 1
        if tries < _TRIES and (answer.again or any(each.again for each in answers)):
            wait_s = max(answer.wait_s, _AGAIN_S * tries**2)
            work_items.give_back(self._db, now, item, told, wait_s=wait_s)
        else:
            work_items.finish(self._db, now, item, told)

    def _keep(self, course: _Course, answer: ResourceAnswer, before: Inquiry | None) -> None:
        """Learn what one resource tells, and keep that it was asked."""
        now, name, patient = self._clock.now(), self._server.name, course.patient
        uid = course.study.study_instance_uid
        is_of_study = answer.resource in asking_history.OF_A_STUDY
        if answer.state in UNBELIEVED or (answer.state is InquiryState.ANSWERED and not answer.unchanged):
            if is_of_study:
                self._take_order(course, answer)
            else:
                learn(self._db, now, course.policy, patient, answer.facts, origin=f"fhir {name} {answer.resource}")
        kept = Inquiry(
            server=name,
            resource=answer.resource,
            patient_id=patient.patient_id,
            issuer=patient.issuer,
            study_instance_uid=uid if is_of_study else "",
            state=answer.state,
            facts=before.facts if answer.unchanged and before else len(answer.facts),
            reason=before.reason if answer.unchanged and before else answer.reason,
            etag=answer.etag,
            digest=answer.digest,
            asked=now,
        )
        inquiries.record(self._db, kept)
        if kept.reason and (before is None or (before.state, before.reason) != (kept.state, kept.reason)):
            after = "left out" if kept.state is InquiryState.ANSWERED else kept.state
            subject = f"fhir {name} {answer.resource}"
            events.record(self._db, now, "history", subject, after=after, reason=kept.reason, study=uid)

    def _take_order(self, course: _Course, answer: ResourceAnswer) -> None:
        """Take what is said of the study's order or report, as the order's other tellers are taken."""
        is_order = answer.resource == "ServiceRequest"
        order = ToldOrder(
            study_instance_uid=course.study.study_instance_uid,
            facts=answer.facts if is_order else None,
            priority=self._raised(course.study, answer.priority) if is_order else None,
            report=answer.report_state,
        )
        if (order.facts, order.priority, order.report) != (None, None, None):
            now, told_by = self._clock.now(), f"fhir {self._server.name}"
            ordered.take(self._db, now, course.policy, course.patient, order, at="", told_by=told_by)

    def _raised(self, study: StudyRow, priority: str) -> str | None:
        """The order's priority where it is more urgent than what is known, and no RIS has told it by a message.

        What a server answers is what it holds, and not news: it lowers nothing.
        """
        wanted = REQUESTED_FROM_FHIR.get(priority)
        told = order_facts.of_studies(self._db, [study])[study.study_instance_uid]
        if wanted is None or any(each.priority_recorded_at and not each.told_by.startswith("fhir ") for each in told):
            return None
        known = order_facts.requested_priorities(self._db, [study])[study.study_instance_uid]
        return wanted if lane_of_requested_priority(wanted).order < lane_of_requested_priority(known).order else None

    def _finish(self, item: WorkItem, reason: str) -> None:
        work_items.finish(self._db, self._clock.now(), item, f"{reason}; nothing is asked")


def _identity(answer: HistoryAnswer) -> dict[str, str]:
    """Whom the server means, as it tells it."""
    return {"birth_date": answer.birth_date, "sex": answer.sex}


def _summary(answers: Sequence[ResourceAnswer]) -> str:
    """What came of it in one line: how many facts, and what did not answer."""
    facts = sum(len(each.facts) for each in answers)
    missing = [each for each in answers if each.state is not InquiryState.ANSWERED]
    told = [f"{facts} fact(s) of {len(answers) - len(missing)} resource(s)"]
    reasons: dict[str, list[str]] = {}
    for each in missing:
        reasons.setdefault(each.reason or each.state.value, []).append(each.resource)
    return "; ".join([*told, *(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())])
