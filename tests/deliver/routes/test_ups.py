"""A manager of steps has one step for each study that is to be read, whatever was lost on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

import pytest

from node.config import DeliverSettings, Route, Settings
from node.deliver.carriage import Lost, Unreachable
from node.deliver.lifeline import Pulse
from node.deliver.route import RouteQueue
from node.deliver.routes import Letter, Reply, kind_of, ups
from node.domain.notice import Flag, NoticeKind
from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.domain.study import StudyState
from node.domain.ups import PUSH, UpsState
from node.errors import Transient, Unsuitable
from node.loop import Stop
from node.store import studies
from node.store.database import Database
from node.workflow import ranking, reported, steps_told
from node.workflow.policy import Policy
from tests.deliver.conftest import NOWHERE
from tests.deliver.routes.letters import AT, CANARIES, FLAG, letter
from tests.fakes import STUDY, FakeClock
from tests.notices import bleed, closed, newest, read, routed, told
from tests.ups_manager import LOSE, Manager, manager


@pytest.fixture
def elsewhere() -> Iterator[Manager]:
    with manager() as found:
        yield found


def route_to(found: Manager, **more: object) -> Route:
    keys = {"name": "PACS-LIST", "kind": "ups", "host": "127.0.0.1", "port": found.port, "ae_title": "MANAGER"}
    return Route.model_validate({**keys, **more})


def send(found: Manager, said: Letter, **more: object) -> Reply:
    route = route_to(found, **more)
    kind = kind_of(route)
    assert kind is not None

    with kind.opened(route, DeliverSettings()) as receiver:
        return receiver.send(kind.message(route, said), said.control_id, AT)


def after(found: Manager, said: Letter, flag: Flag, **changes: object) -> Letter:
    """The next letter of the same study."""
    before = ups.message(route_to(found), said)
    return letter(route_to(found), flag, version=said.version + 1, told=before, **changes)


def first(found: Manager) -> Letter:
    return letter(route_to(found))


def test_a_study_that_is_to_be_read_becomes_a_step(elsewhere: Manager) -> None:
    assert send(elsewhere, first(elsewhere)).heard == "acknowledged"
    ((uid, step),) = elsewhere.standing().items()
    assert uid.startswith("2.25.")
    assert (step.said.ScheduledProcedureStepPriority, step.said.InputReadinessState) == ("HIGH", "READY")
    assert (step.said.PatientID, step.said.StudyInstanceUID) == (CANARIES["patient_id"], FLAG.study_instance_uid)
    assert step.said.ReferencedRequestSequence[0].AccessionNumber == CANARIES["accession_number"]
    assert step.said.ScheduledWorkitemCodeSequence[0].CodeValue == "110005"


@pytest.mark.parametrize("service", ["N-CREATE", "N-GET", "N-SET"])
def test_a_lost_answer_leaves_one_step_when_the_same_is_asked_again(elsewhere: Manager, service: str) -> None:
    elsewhere.instead = {service: [LOSE]}
    said = first(elsewhere)
    for _ in range(3):
        with suppress(Lost):
            send(elsewhere, said)
    assert send(elsewhere, said).heard == "acknowledged"
    assert len(elsewhere.steps) == 1


def test_a_study_that_moves_is_told_in_the_same_step(elsewhere: Manager) -> None:
    said = first(elsewhere)
    send(elsewhere, said)
    calmer = after(elsewhere, said, replace(FLAG, lane=Lane.ROUTINE, findings=()))
    assert send(elsewhere, calmer).heard == "acknowledged"
    (step,) = elsewhere.standing().values()
    assert step.said.ScheduledProcedureStepPriority == "LOW"
    assert elsewhere.services() == ["N-CREATE", "N-CREATE", "N-GET", "N-SET"]


def test_another_patient_is_another_step_and_the_first_is_canceled(elsewhere: Manager) -> None:
    said = first(elsewhere)
    send(elsewhere, said)
    (wrong,) = elsewhere.steps
    corrected = replace(FLAG, patient=replace(FLAG.patient, patient_id="RIGHT"))
    send(elsewhere, after(elsewhere, said, corrected))
    (step,) = elsewhere.standing().values()
    assert step.said.PatientID == "RIGHT"
    assert elsewhere.steps[wrong].state is UpsState.CANCELED


def test_what_is_over_is_canceled_and_asked_for_anew_when_it_is_to_be_read_again(elsewhere: Manager) -> None:
    said = first(elsewhere)
    send(elsewhere, said)
    over = after(elsewhere, said, replace(FLAG, over="the study is held for a person"))
    for _ in range(2):
        assert send(elsewhere, over).heard == "acknowledged"
    assert not elsewhere.standing()
    again = after(elsewhere, over, FLAG)
    for _ in range(2):
        assert send(elsewhere, again).heard == "acknowledged"
    assert len(elsewhere.standing()) == 1
    assert len(elsewhere.steps) == 2


def test_a_step_that_somebody_there_has_canceled_is_followed_by_another(elsewhere: Manager) -> None:
    said = first(elsewhere)
    send(elsewhere, said)
    elsewhere.move(next(iter(elsewhere.steps)), UpsState.CANCELED)
    send(elsewhere, said)
    assert [step.state for step in elsewhere.steps.values()] == ["CANCELED", "SCHEDULED"]


@pytest.mark.parametrize("state", [UpsState.IN_PROGRESS, UpsState.COMPLETED])
def test_a_step_that_was_claimed_is_left_alone(elsewhere: Manager, state: UpsState) -> None:
    said = first(elsewhere)
    send(elsewhere, said)
    elsewhere.move(next(iter(elsewhere.steps)), state, transaction_uid="1.2.3")
    assert send(elsewhere, said).heard == "acknowledged"
    assert elsewhere.services()[2:] == ["N-GET"]
    assert send(elsewhere, after(elsewhere, said, replace(FLAG, over="held"))).heard == "acknowledged"
    assert [step.state for step in elsewhere.steps.values()] == [state]


def test_a_manager_that_lets_nothing_be_set_is_asked_for_a_new_step() -> None:
    with manager(offers=(PUSH,)) as found:
        said = first(found)
        send(found, said)
        assert send(found, after(found, said, replace(FLAG, lane=Lane.ROUTINE))).heard == "acknowledged"
        assert [step.state for step in found.steps.values()] == ["CANCELED", "SCHEDULED"]


@pytest.mark.parametrize(
    ("status", "heard"),
    [(0x0000, "acknowledged"), (0xB300, "acknowledged"), (0x0213, "again"), (0x0110, "refused"), (0xC309, "refused")],
)
def test_each_status_means_what_the_tables_say(elsewhere: Manager, status: int, heard: str) -> None:
    elsewhere.instead = {"N-CREATE": [status]}
    assert send(elsewhere, first(elsewhere)).heard == heard


@pytest.mark.parametrize("status", [0x0122, 0x0124])
def test_a_manager_that_lets_nobody_in_has_the_route_rest(elsewhere: Manager, status: int) -> None:
    elsewhere.instead = {"N-CREATE": [status]}
    with pytest.raises(Unreachable, match="allow our AE title") as caught:
        send(elsewhere, first(elsewhere))
    assert caught.value.by_configuration


def test_a_trial_leaves_nothing_to_read_behind(elsewhere: Manager) -> None:
    trial = replace(first(elsewhere), trial=True)
    assert send(elsewhere, trial).heard == "acknowledged"
    assert [step.state for step in elsewhere.steps.values()] == ["CANCELED"]


def test_the_uid_of_a_step_says_nothing_of_the_patient(elsewhere: Manager) -> None:
    said = json.loads(ups.message(route_to(elsewhere), first(elsewhere)))
    assert not [canary for canary in CANARIES.values() if canary in said["seed"]]


# The whole way: what moves a study, the notice, the queue.


def policy_to(found: Manager) -> Policy:
    keys = {"name": "PACS-LIST", "kind": "ups", "host": "127.0.0.1", "port": found.port, "ae_title": "MANAGER"}
    return routed(keys, flags_to=["PACS-LIST"])


def deliver(db: Database, clock: FakeClock, policy: Policy) -> None:
    (route,) = policy.settings.routes
    queue = RouteQueue(db, clock, policy.settings, route, owner="deliver:1:", stop=Stop(), pulse=Pulse(NOWHERE))
    with suppress(Transient):
        queue.step()
    clock.forward(400)


def test_every_study_that_closes_is_asked_for_and_follows_what_is_found(
    db: Database, clock: FakeClock, elsewhere: Manager
) -> None:
    policy = policy_to(elsewhere)
    closed(db, clock, policy)
    deliver(db, clock, policy)
    assert told(db) == [(1, "acknowledged", "it is to be read")]
    read(db, clock, policy, bleed())
    deliver(db, clock, policy)
    (step,) = elsewhere.standing().values()
    assert "Blood, probability 0.90 [brain]" in step.said.CommentsOnTheScheduledProcedureStep
    assert newest(db).state == "acknowledged"


@pytest.mark.parametrize("how", ["reported", "held"])
def test_a_study_that_nobody_is_to_read_any_more_is_taken_back(
    db: Database, clock: FakeClock, elsewhere: Manager, how: str
) -> None:
    policy = policy_to(elsewhere)
    closed(db, clock, policy)
    deliver(db, clock, policy)
    if how == "reported":
        with db.transaction():
            reported.record(db, clock.now(), policy, STUDY, ReportState.FINAL, told_by="matins read")
    else:
        with db.transaction():
            studies.move(db, clock.now(), STUDY, StudyState.HELD, "two patients")
        steps_told.sweep(db, clock.now(), policy)
    deliver(db, clock, policy)
    steps_told.sweep(db, clock.now(), policy)
    assert [step.state for step in elsewhere.steps.values()] == ["CANCELED"]
    assert [state for _, state, _ in told(db)] == ["acknowledged", "acknowledged"]
    if how == "held":
        with db.transaction():
            studies.move(db, clock.now(), STUDY, StudyState.DONE, "")
            ranking.rerank(db, clock.now(), policy, STUDY)
        deliver(db, clock, policy)
        assert [step.state for step in elsewhere.steps.values()] == ["CANCELED", "SCHEDULED"]


def test_a_manager_that_was_away_has_one_step_of_a_study_that_was_taken_back_and_given_again(
    db: Database, clock: FakeClock, elsewhere: Manager
) -> None:
    policy = policy_to(elsewhere)
    elsewhere.instead = {"N-CREATE": [LOSE], "cancel?": [LOSE]}
    closed(db, clock, policy)
    deliver(db, clock, policy)
    with db.transaction():
        studies.move(db, clock.now(), STUDY, StudyState.HELD, "two patients")
        steps_told.tell(db, clock.now(), policy, _study(db))
    deliver(db, clock, policy)
    with db.transaction():
        studies.move(db, clock.now(), STUDY, StudyState.DONE, "")
        ranking.rerank(db, clock.now(), policy, STUDY)
    for _ in range(4):
        deliver(db, clock, policy)
    assert newest(db).state == "acknowledged"
    assert len(elsewhere.standing()) == 1


def _study(db: Database) -> studies.StudyRow:
    found = studies.study(db, STUDY)
    assert found is not None
    return found


@pytest.mark.parametrize("kind", [kind for kind in NoticeKind if kind is not NoticeKind.RANK])
def test_a_manager_of_steps_is_told_of_places_alone(elsewhere: Manager, kind: NoticeKind) -> None:
    with pytest.raises(Unsuitable):
        ups.message(route_to(elsewhere), letter(route_to(elsewhere), replace(FLAG, kind=kind)))


def test_nobody_is_called_through_a_manager_of_steps(elsewhere: Manager) -> None:
    route = {"name": "LIST", "kind": "ups", "host": "127.0.0.1", "port": elsewhere.port, "ae_title": "MANAGER"}
    step = {"after_min": 5, "route": "LIST"}
    with pytest.raises(ValueError, match="LIST is a manager of steps, which calls nobody"):
        Settings.model_validate({"routes": [route], "acknowledge": {"escalation": [step]}})
