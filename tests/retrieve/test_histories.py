from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from node.config import FhirServer, Settings, load_settings
from node.config.sections import CatalogueSettings
from node.domain.history import Standing
from node.domain.inquiry import InquiryState
from node.domain.patient import Patient
from node.domain.report_state import ReportState
from node.domain.study import Order
from node.domain.told import ToldOrder
from node.domain.work import WorkKind, WorkState
from node.errors import Transient
from node.loop import Stop, work_step
from node.retrieve import histories
from node.retrieve.fhir.exchange import HistoryAnswer, HistoryQuery
from node.retrieve.fhir.inquiry import history_of
from node.retrieve.histories import Histories
from node.retrieve.inquiry import OWNER
from node.store import events, history, inquiries, studies, work_items
from node.store.database import Database
from node.workflow import asking_history, history_story, merging, order_facts, ordered, recovery, reported
from node.workflow.closing import close_due
from node.workflow.policy import Policy, load_policy
from tests.fakes import PATIENT, STUDY, FakeClock, arrive, slice_of
from tests.retrieve import records
from tests.retrieve.records import (
    ACCESSIONS,
    SCT,
    SYSTEM,
    Records,
    about,
    coded_status,
    concept,
    condition,
    observation,
    outcome,
    serving,
)
from tests.site import ROOT, wait_until

ORDER = Order(study_date="20260101", accession_number="A1")
SUBJECT = f"RECORDS/{STUDY}"


@pytest.fixture
def server() -> Iterator[Records]:
    with serving() as running:
        yield running


class Room:
    """The part of the retrieve room that asks one server; it asks in this process."""

    def __init__(self, db: Database, clock: FakeClock, server: Records, **changes: Any) -> None:
        self.db, self.clock = db, clock
        self.config = FhirServer.model_validate(
            {
                "name": "RECORDS",
                "base": server.base,
                "identifiers": {"A": SYSTEM},
                "accession_system": ACCESSIONS,
                "resources": ["Condition", "Observation"],
                "cache_minutes": 60,
                **changes,
            }
        )
        self.settings = Settings.model_validate(
            {"data": {"folder": db.folder}, "completeness": {"default": {"max_age_days": 0}}}
        ).model_copy(update={"fhir": (self.config,)})
        self.policy = Policy(self.settings, (), ())
        self.stop = Stop()
        self.error: Exception | None = None
        self.queries: list[HistoryQuery] = []
        self.histories = Histories(db, clock, lambda: self.policy, self.config, self._ask, self.stop)
        self._step = work_step(db, clock, self.histories.handling())

    def _ask(self, query: HistoryQuery) -> HistoryAnswer:
        self.queries.append(query)
        if self.error is not None:
            raise self.error
        return history_of(query)

    def close(self, study: str = STUDY, patient: Patient = PATIENT, order: Order = ORDER) -> None:
        arrive(self.db, self.clock.now(), slice_of(1, study=study, series=f"{study}.1", patient=patient, order=order))
        with self.db.transaction():
            studies.request_closing(self.db, study)
        close_due(self.db, self.clock.forward(1), self.policy)

    def work(self) -> int:
        """Do what waits, however long; return how many items were handled."""
        done = 0
        while self._step():
            done += 1
            self.clock.forward(120)
        return done

    def state(self) -> WorkState | None:
        return work_items.state(self.db, WorkKind.HISTORY, SUBJECT)

    def known(self, patient: Patient = PATIENT) -> list[str]:
        return [fact.coded for fact in history.facts(self.db, patient, study=STUDY)]

    def told(self) -> dict[str, tuple[InquiryState, int]]:
        return {each.resource: (each.state, each.facts) for each in inquiries.of_study(self.db, PATIENT, STUDY)}


@pytest.fixture
def room(db: Database, clock: FakeClock, server: Records) -> Room:
    return Room(db, clock, server)


def test_a_study_that_closes_has_its_patients_history_asked(room: Room, server: Records) -> None:
    server.put(condition(), observation())
    room.close()
    assert room.work() == 1
    assert room.known() == ["SCT:363358000", "LN:48065-7"]
    assert room.state() is WorkState.FINISHED
    told = [each for each in events.of_study(room.db, STUDY) if each.about == "history"]
    assert [each.subject for each in told] == ["fhir RECORDS Condition", "fhir RECORDS Observation"]


def test_an_empty_answer_is_told_from_no_answer(room: Room, server: Records) -> None:
    server.wrong["Observation"] = lambda _path: (404, {}, outcome("not-supported"))
    room.close()
    room.work()
    assert room.told() == {
        "Condition": (InquiryState.ANSWERED, 0),
        "Observation": (InquiryState.NOT_OFFERED, 0),
    }
    assert room.known() == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"patient_id": ""}, "not identified"),
        ({"patient_id": "UNKNOWN"}, "not identified"),
        ({"patient_id": "P*"}, "not identified"),
        ({"issuer": ""}, "nobody is known to have issued"),
        ({"issuer": "B"}, "no system for the issuer"),
    ],
)
def test_who_cannot_be_asked_for_is_not_and_the_study_says_so(
    room: Room, server: Records, changes: dict[str, str], words: str
) -> None:
    patient = replace(PATIENT, **changes)
    room.close(patient=patient)
    assert room.state() is None
    with room.db.transaction():
        work_items.add(room.db, room.clock.now(), WorkKind.HISTORY, SUBJECT, STUDY)
    room.work()
    assert server.asked == []
    (told,) = inquiries.of_study(room.db, patient, STUDY)
    assert told.state is InquiryState.NOT_ASKED
    assert words in told.reason
    assert [each.after for each in events.of_study(room.db, STUDY) if each.about == "history"] == ["not asked"]


def test_who_can_be_asked_for_today_is_not_called_unasked_any_more(
    db: Database, clock: FakeClock, server: Records
) -> None:
    Room(db, clock, server, identifiers={"B": "urn:oid:9"}).close()
    assert [each["state"] for each in history_story.asked(db, PATIENT, STUDY)] == ["not asked"]
    room = Room(db, clock, server, resources=["Condition"])
    assert asking_history.ask_again(db, clock.now(), room.config) == 1
    room.work()
    told = history_story.asked(db, PATIENT, STUDY)
    assert [(each["resource"], each["state"]) for each in told] == [("Condition", "answered")]


def test_two_hospitals_with_the_same_number_share_nothing(db: Database, clock: FakeClock, server: Records) -> None:
    room = Room(db, clock, server, identifiers={"A": SYSTEM, "B": "urn:oid:9"})
    server.put(condition())
    room.close()
    room.close("1.2.3.2", replace(PATIENT, issuer="B"))
    room.work()
    assert [query.system for query in room.queries] == [SYSTEM, "urn:oid:9"]
    assert room.known() == ["SCT:363358000"]
    assert history.facts(db, replace(PATIENT, issuer="B"), study="1.2.3.2") == []


def test_what_is_told_of_somebody_of_another_birth_date_is_a_candidate(room: Room, server: Records) -> None:
    server.resources["Patient"] = [records.patient(birthDate="1970-01-02")]
    server.put(condition())
    room.close()
    room.work()
    assert room.known() == []
    ((fact, doubt),) = history.candidates(room.db, PATIENT, study=STUDY)
    assert (fact.coded, doubt) == ("SCT:363358000", "birth date differs")


def test_what_fails_leaves_what_was_known_and_what_is_gone_is_superseded(room: Room, server: Records) -> None:
    server.put(condition(), observation())
    room.close()
    room.work()
    room.clock.forward(3601)
    server.resources["Condition"] = []
    server.wrong["Observation"] = lambda _path: (500, {}, b"")
    assert asking_history.ask_again(room.db, room.clock.now(), room.config) == 1
    assert room.work() == 3
    assert room.known() == ["LN:48065-7"]
    assert room.told()["Observation"] == (InquiryState.FAILED, 0)
    assert server.kinds_asked().count("Condition") == 2


def test_what_the_server_no_longer_says_of_this_patient_is_not_believed_any_more(room: Room, server: Records) -> None:
    server.put(condition())
    room.close()
    room.work()
    server.put(records.patient(key="a2"))
    room.clock.forward(3601)
    asking_history.ask_again(room.db, room.clock.now(), room.config)
    room.work()
    assert room.known() == []
    assert room.told()["Condition"][0] is InquiryState.DOUBTFUL


def test_what_is_known_is_not_asked_again_until_it_is_old(room: Room, server: Records) -> None:
    room.close()
    room.work()
    asked = len(server.asked)
    room.close("1.2.3.2")
    assert asking_history.ask_again(room.db, room.clock.now(), room.config) == 0
    room.work()
    assert len(server.asked) == asked
    room.clock.wall += timedelta(days=300)
    assert asking_history.ask_again(room.db, room.clock.now(), room.config) == 0
    room.clock.wall -= timedelta(days=301)
    room.clock.forward(3601)
    assert asking_history.ask_again(room.db, room.clock.now(), room.config) == 2


def test_after_a_reboot_with_a_clock_that_was_set_back_it_is_asked_again(room: Room) -> None:
    room.close()
    room.work()
    room.clock.reboot()
    assert asking_history.ask_again(room.db, room.clock.now(), room.config) == 0
    room.clock.wall -= timedelta(hours=5)
    assert asking_history.ask_again(room.db, room.clock.now(), room.config) == 1


def test_what_was_read_or_came_long_ago_is_not_asked_again(room: Room) -> None:
    room.close()
    room.work()
    room.clock.forward(8 * 86_400)
    assert asking_history.ask_again(room.db, room.clock.now(), room.config) == 0
    room.clock.wall -= timedelta(days=4)
    assert asking_history.ask_again(room.db, room.clock.now(), room.config) == 1
    with room.db.transaction():
        reported.record(room.db, room.clock.now(), room.policy, STUDY, ReportState.FINAL, told_by="test")
    assert asking_history.ask_again(room.db, room.clock.now(), room.config) == 0
    assert room.work() == 1
    assert len(room.queries) == 1


def test_an_etag_saves_the_answer_and_keeps_the_facts(room: Room, server: Records) -> None:
    server.etags = True
    server.put(condition())
    room.close()
    room.work()
    room.clock.forward(3601)
    asking_history.ask_again(room.db, room.clock.now(), room.config)
    room.work()
    assert [each[3].get("if-none-match") is not None for each in server.asked if "Condition" in each[1]] == [
        False,
        True,
    ]
    assert room.known() == ["SCT:363358000"]
    assert room.told()["Condition"] == (InquiryState.ANSWERED, 1)


def test_a_patient_who_goes_by_another_number_is_asked_for_by_that(room: Room, server: Records) -> None:
    server.resources["Patient"] = [records.patient("P9")]
    server.put(condition())
    room.close()
    room.work()
    assert room.known() == []
    with room.db.transaction():
        survivor = Patient(patient_id="P9", issuer="A")
        merging.merge(room.db, room.clock.now(), room.policy, PATIENT, survivor, told_by="hl7 ADT")
    assert asking_history.ask_again(room.db, room.clock.now(), room.config) == 1
    room.work()
    assert [query.patient_id for query in room.queries] == ["P1", "P9"]
    assert room.known() == ["SCT:363358000"]


def test_a_server_that_is_away_is_asked_three_times_and_again_later(room: Room, server: Records) -> None:
    room.error = Transient("no answer within 90 s; the process that asks was killed")
    room.close()
    assert room.work() == 3
    assert room.state() is WorkState.FINISHED
    assert room.told() == dict.fromkeys(("Condition", "Observation"), (InquiryState.FAILED, 0))
    assert asking_history.ask_again(room.db, room.clock.now(), room.config) == 0
    room.error = None
    server.put(condition())
    room.clock.forward(901)
    assert asking_history.ask_again(room.db, room.clock.now(), room.config) == 1
    room.work()
    assert room.known() == ["SCT:363358000"]


def test_a_room_that_ends_counts_no_failure(room: Room) -> None:
    room.error = Transient("the room ends")
    room.stop.set()
    room.close()
    room._step()
    assert room.state() is WorkState.READY
    assert room.told() == {}


class Killed(BaseException):
    """The process is gone."""


def test_who_is_killed_between_two_answers_asks_for_the_rest_and_for_nothing_twice(
    room: Room, server: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    room.close()
    whole, origins = histories.learn, list[str]()

    def learn(*given: Any, origin: str) -> list[str]:
        origins.append(origin)
        if len(origins) == 2:
            raise Killed
        return whole(*given, origin=origin)

    monkeypatch.setattr(histories, "learn", learn)
    with pytest.raises(Killed):
        room.work()
    recovery.take_back(room.db, room.clock.now(), OWNER, (WorkKind.HISTORY,))
    room.work()
    assert [[each.resource for each in query.asked] for query in room.queries] == [
        ["Condition", "Observation"], ["Observation"],
    ]  # fmt: skip
    assert origins == ["fhir RECORDS Condition", "fhir RECORDS Observation", "fhir RECORDS Observation"]
    assert room.state() is WorkState.FINISHED
    assert set(room.told()) == {"Condition", "Observation"}


def test_a_busy_server_is_left_alone(room: Room, server: Records) -> None:
    server.wrong["Observation"] = lambda _path: (429, {"Retry-After": "30"}, b"")
    server.put(condition())
    room.close()
    assert room.histories.may_ask()
    room._step()
    assert not room.histories.may_ask()
    assert room.known() == ["SCT:363358000"]
    assert room.state() is WorkState.READY


def test_it_asks_in_its_hours_alone(db: Database, clock: FakeClock, server: Records) -> None:
    hour = clock.wall.astimezone().hour
    others = f"{(hour + 2) % 24:02}:00-{(hour + 3) % 24:02}:00"
    assert not Room(db, clock, server, between=others).histories.may_ask()
    assert Room(db, clock, server, between=f"{hour:02}:00-{(hour + 1) % 24:02}:00").histories.may_ask()


def the_priority(room: Room) -> str:
    study = studies.study(room.db, STUDY)
    assert study is not None
    return order_facts.requested_priorities(room.db, [study])[STUDY]


def test_the_order_may_raise_the_study_and_never_lowers_it(db: Database, clock: FakeClock, server: Records) -> None:
    room = Room(db, clock, server, resources=["ServiceRequest"], cache_minutes=1)
    order = about(
        "ServiceRequest",
        1,
        identifier=[{"system": ACCESSIONS, "value": "A1"}],
        status="active",
        intent="order",
        priority="stat",
        reasonCode=[concept(SCT, "25064002", "Headache")],
    )
    server.put(order)
    room.close()
    room.work()
    assert the_priority(room) == "STAT"
    study = studies.study(db, STUDY)
    assert study is not None
    assert study.lane == "STAT"
    assert [fact.code for fact in history.facts(db, PATIENT, study=STUDY)] == ["reason_for_request"]
    order["priority"], order["reasonCode"] = "routine", []
    clock.forward(61)
    asking_history.ask_again(db, clock.now(), room.config)
    room.work()
    assert the_priority(room) == "STAT"
    assert history.facts(db, PATIENT, study=STUDY) == []


def test_what_the_ris_says_of_the_order_stands(db: Database, clock: FakeClock, server: Records) -> None:
    room = Room(db, clock, server, resources=["ServiceRequest"])
    ours = [{"system": ACCESSIONS, "value": "A1"}]
    server.put(about("ServiceRequest", 1, identifier=ours, status="active", intent="order", priority="stat"))
    room.close()
    with db.transaction():
        said = ToldOrder(accession_number="A1", priority="ROUTINE")
        ordered.take(db, clock.now(), room.policy, PATIENT, said, at="", told_by="hl7 RIS")
    room.work()
    assert the_priority(room) == "ROUTINE"


def test_a_final_report_ends_the_ranking(db: Database, clock: FakeClock, server: Records) -> None:
    room = Room(db, clock, server, resources=["DiagnosticReport"])
    radiology = concept("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD", "Radiology")
    ours = [{"system": ACCESSIONS, "value": "A1"}]
    server.put(about("DiagnosticReport", 1, identifier=ours, status="final", category=[radiology]))
    room.close()
    room.work()
    study = studies.study(db, STUDY)
    assert study is not None
    assert (study.report_state, study.report_told_by) == (ReportState.FINAL, "fhir RECORDS")


def test_a_report_of_somebody_of_another_birth_date_ends_nothing(
    db: Database, clock: FakeClock, server: Records
) -> None:
    room = Room(db, clock, server, resources=["DiagnosticReport"])
    radiology = concept("http://terminology.hl7.org/CodeSystem/v2-0074", "RAD", "Radiology")
    ours = [{"system": ACCESSIONS, "value": "A1"}]
    server.put(about("DiagnosticReport", 1, identifier=ours, status="final", category=[radiology]))
    server.resources["Patient"] = [records.patient(birthDate="1970-01-02")]
    room.close()
    room.work()
    study = studies.study(db, STUDY)
    assert study is not None
    assert study.report_state is ReportState.UNREAD


def test_a_server_that_hangs_holds_up_no_other_and_the_room_ends_in_good_order(
    db: Database, clock: FakeClock, server: Records, tmp_path: Path
) -> None:
    server.put(condition())
    for name in ("models", "rules"):
        (tmp_path / name).mkdir()
    hanging = threading.Event()

    def hang(_path: str) -> records.Raw:
        hanging.set()
        slow.over.wait(60)
        return 200, {}, b"{}"

    with serving(wrong={"Patient": hang}) as slow:
        sections = [
            f'[[fhir]]\nname = "{name}"\nbase = "{each.base}"\nidentifiers = {{ A = "{SYSTEM}" }}\n'
            f'resources = ["Condition"]\nagain_within_days = 0\n'
            for name, each in (("SLOW", slow), ("RECORDS", server))
        ]
        config = tmp_path / "config.toml"
        config.write_text("".join(sections))
        settings = load_settings(config)
        room = Room(db, clock, server)
        room.policy = Policy(settings, (), ())
        room.close()
        command = [sys.executable, "-m", "node", "retrieve", "--config", str(config)]
        process = subprocess.Popen(command, cwd=ROOT)
        try:
            wait_until("both questions", lambda: hanging.is_set() and room.known())
            told = history_story.asked(db, PATIENT, STUDY)
        finally:
            process.send_signal(signal.SIGTERM)
            code = process.wait(60)
    assert code == 0
    assert [(each["server"], each["state"]) for each in told] == [("RECORDS", "answered"), ("SLOW", "waiting")]


def test_what_a_server_tells_raises_the_study_by_the_rules(db: Database, clock: FakeClock, server: Records) -> None:
    room = Room(db, clock, server, resources=["MedicationRequest", "ServiceRequest"])
    catalogue = CatalogueSettings(models_folder=ROOT / "models", rules_folder=ROOT / "rules")
    room.policy = replace(load_policy(room.settings.model_copy(update={"catalogue": catalogue})), models=())
    drug = concept("http://www.whocc.no/atc", "B01AF02", "Apixaban")
    terms = {"status": "active", "intent": "order"}
    ours = [{"system": ACCESSIONS, "value": "A1"}]
    server.put(
        about("MedicationRequest", 1, medicationCodeableConcept=drug, **terms),
        about("ServiceRequest", 1, identifier=ours, reasonCode=[{"text": "Fall from standing height"}], **terms),
    )
    room.close(order=replace(ORDER, study_description="MR head"))
    before = studies.study(db, STUDY)
    room.work()
    after = studies.study(db, STUDY)
    assert before is not None
    assert after is not None
    assert (before.lane, after.lane) == ("ROUTINE", "URGENT")
    assert "anticoagulation-and-head-injury" in {reason["rule"] for reason in after.reasons}


def test_a_refuted_problem_is_a_no(room: Room, server: Records) -> None:
    server.put(condition(verificationStatus=coded_status("condition-ver-status", "refuted")))
    room.close()
    room.work()
    assert [fact.standing for fact in history.facts(room.db, PATIENT, study=STUDY)] == [Standing.NO]
