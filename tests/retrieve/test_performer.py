"""Steps that are meant for us are claimed once, performed, and ended, whatever is lost or killed on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset

from node.config import Settings
from node.domain.dicom_json import Attributes, coded, element, items, text
from node.domain.performance import PERFORMANCE_MOVES, PerformanceState, asked_of, given_up
from node.domain.study import StudyState
from node.domain.time import Instant
from node.domain.ups import UpsState, UpsStatus
from node.domain.ups_attributes import PERFORMED, STATE, STATION_NAMES, completed_creation
from node.domain.work import ResultState, WorkKind
from node.errors import Failed, Transient
from node.loop import Stop
from node.retrieve.asking import CHILD, ask
from node.retrieve.own_steps import OwnList
from node.retrieve.peer_steps import PeerList
from node.retrieve.performer import Manager as Steps
from node.retrieve.performer import Performer
from node.store import artifacts, outbox, performing, retrievals, studies, ups, work_items
from node.store.database import Database, open_database
from node.store.performing import Performance
from node.store.ups import UpsRow
from node.workflow import performing as managing
from node.workflow import ups as managed
from node.workflow.policy import Policy
from node.workflow.story import study_story
from tests.fakes import STUDY, FakeClock, peers
from tests.notices import PERSON, bleed, closed, read, routed
from tests.ups_manager import LOSE, Manager, Step, manager

STEP = "1.2.3.9.7"
OURS = {"station": "MATINS", "interval_s": 0.001, "limit_s": 3600.0}
HERE, REPORT = "RIS-MANAGER", b"a report"


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    made = open_database(tmp_path, "test")
    yield made
    made.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def elsewhere() -> Iterator[Manager]:
    with manager() as found:
        yield found


def policy_of(port: int = 104, **perform: object) -> Policy:
    listed = [*peers(), {"name": HERE, "ae_title": "MANAGER", "host": "127.0.0.1", "port": port,
                         "roles": ["ups_manager"]}]  # fmt: skip
    return routed(peers=listed, perform={**OURS, **perform}, routes=[])


def step_of(**changes: Attributes) -> Attributes:
    """A step that is meant for us: read the study that `closed` brings."""
    said = {
        "00741000": element("CS", "SCHEDULED"),
        "00741200": element("CS", "MEDIUM"),
        "00741204": element("LO", "Look for blood"),
        "00404005": element("DT", "20260101120000"),
        "00404041": element("CS", "READY"),
        "0020000D": element("UI", STUDY),
        "00100020": element("LO", PERSON.patient_id),
        "00100021": element("LO", PERSON.issuer),
        STATION_NAMES: element("SQ", coded("MATINS", "99SITE", "Matins")),
        "00404018": element("SQ", coded("110004", "DCM", "Computer Aided Diagnosis")),
    }
    return completed_creation(said | changes, worklist_label="AI")


def offer(found: Manager, uid: str = STEP, **changes: Attributes) -> None:
    found.steps[uid] = Step(UpsState.SCHEDULED, Dataset.from_json(step_of(**changes)))


class Direct:
    """The manager of the tests without a process between: what is asked goes through one that is called."""

    def __init__(self, settings: Settings, peer: str) -> None:
        from node.retrieve import step_requests

        found = settings.peer_named(peer)
        assert found is not None
        import threading

        self.list = PeerList(settings, found, lambda errand: step_requests.put(errand, threading.Event()))


def performer_of(db: Database, clock: FakeClock, policy: Policy) -> Performer:
    manager_there: Steps = Direct(policy.settings, HERE).list
    return Performer(db, clock, lambda: policy, HERE, manager_there)


def turn(performer: Performer) -> None:
    import time

    time.sleep(0.002)
    with suppress(Transient):
        performer.step()


def mine(db: Database, uid: str = STEP, name: str = HERE) -> Performance:
    found = performing.of_step(db, name, uid)
    assert found is not None
    return found


def delivered(db: Database, clock: FakeClock, policy: Policy) -> None:
    """The report of the one result is written, and the archive has it."""
    (item,) = work_items.claim(db, clock.now(), WorkKind.REPORT, "report", 60)
    with db.transaction():
        made = artifacts.record(
            db, clock.now(), outcome_id=int(item.subject), kind="measurement_sr", path="results/x", size=8, digest="d",
            sop_instance_uid="1.2.3.50", sop_class_uid="1.2.840.10008.5.1.4.1.1.88.33", series_instance_uid="1.2.3.5",
        )  # fmt: skip
        outbox.add(db, clock.now(), artifact_id=made, study=STUDY, destination="PACS")
        work_items.finish(db, clock.now(), item)
    (row,) = outbox.of_study(db, STUDY)
    with db.transaction():
        outbox.move(db, clock.now(), row, ResultState.SENT, "")


def test_every_state_leads_on_or_is_over() -> None:
    reached = {after for moves in PERFORMANCE_MOVES.values() for after in moves}
    assert reached | {PerformanceState.OFFERED} == set(PerformanceState) == set(PERFORMANCE_MOVES)


def test_a_step_is_claimed_performed_and_completed_with_its_results(
    db: Database, clock: FakeClock, elsewhere: Manager
) -> None:
    policy = policy_of(elsewhere.port)
    offer(elsewhere)
    closed(db, clock, policy)
    performer = performer_of(db, clock, policy)
    turn(performer)
    assert (mine(db).state, elsewhere.steps[STEP].state) == ("reading", "IN PROGRESS")
    assert elsewhere.steps[STEP].transaction_uid == mine(db).transaction_uid
    read(db, clock, policy, bleed())
    turn(performer)
    assert mine(db).state == "delivering"
    delivered(db, clock, policy)
    turn(performer)
    assert (mine(db).state, elsewhere.steps[STEP].state) == ("completed", "COMPLETED")
    said = elsewhere.steps[STEP].said.to_json_dict()
    (item,) = items(said, PERFORMED)
    (output,) = items(item, "00404033")
    assert text(items(output, "00081199")[0], "00081155") == "1.2.3.50"
    assert text(items(output, "0040E021")[0], "00080054") == "PACS"
    turn(performer)
    assert elsewhere.services().count("IN PROGRESS") == 1
    story = study_story(db, STUDY)
    assert story is not None
    (told,) = story["asked_of_us"]
    assert (told["manager"], told["step"], told["state"]) == (HERE, STEP, "completed")


#: Each request of a whole course.
SERVICES = ["IN PROGRESS", "N-GET", "N-SET", "COMPLETED"]


@pytest.mark.parametrize("when", [0, 1, 2])
@pytest.mark.parametrize("service", SERVICES)
def test_whatever_answer_is_lost_and_whoever_is_killed_then_the_step_is_claimed_once_and_completed(
    db: Database, clock: FakeClock, elsewhere: Manager, service: str, when: int
) -> None:
    policy = policy_of(elsewhere.port)
    offer(elsewhere)
    closed(db, clock, policy)
    read(db, clock, policy, bleed())
    delivered(db, clock, policy)
    lost = 0

    def meanwhile(asked: str, _uid: str) -> None:
        nonlocal lost
        if asked == service:
            lost += 1
            if lost == when + 1:
                elsewhere.instead[service] = [LOSE]

    elsewhere.meanwhile = meanwhile
    for _ in range(6):
        # A new one each time: nothing is known but what is in the database.
        turn(performer_of(db, clock, policy))
    assert (mine(db).state, elsewhere.steps[STEP].state) == ("completed", "COMPLETED")
    assert elsewhere.steps[STEP].transaction_uid == mine(db).transaction_uid


def test_a_claim_whose_answer_was_lost_goes_on_with_the_same_transaction_uid(
    db: Database, clock: FakeClock, elsewhere: Manager
) -> None:
    policy = policy_of(elsewhere.port)
    offer(elsewhere)
    elsewhere.instead = {"IN PROGRESS": [LOSE]}
    turn(performer_of(db, clock, policy))
    first = mine(db)
    assert (first.state, elsewhere.steps[STEP].transaction_uid) == ("offered", first.transaction_uid)
    closed(db, clock, policy)
    turn(performer_of(db, clock, policy))
    assert (mine(db).state, mine(db).transaction_uid) == ("reading", first.transaction_uid)


def test_of_two_performers_one_has_the_step(tmp_path: Path, clock: FakeClock, elsewhere: Manager) -> None:
    policy = policy_of(elsewhere.port)
    offer(elsewhere)
    states = []
    for name in ("one", "two"):
        db = open_database(tmp_path / name, "test")
        with db.transaction():
            performing.add(db, clock.now(), HERE, STEP, f"1.2.3.{len(states)}")
        states.append((db, performer_of(db, clock, policy)))
    for _, performer in states:
        turn(performer)
    found = [mine(db).state for db, _ in states]
    for db, _ in states:
        db.close()
    assert found[0] != "lost"
    assert found[1] == "lost"
    assert elsewhere.steps[STEP].transaction_uid == "1.2.3.0"


def test_a_manager_that_says_in_progress_to_everybody_is_asked_whose_it_is(
    db: Database, clock: FakeClock, elsewhere: Manager
) -> None:
    offer(elsewhere)
    elsewhere.move(STEP, UpsState.IN_PROGRESS, transaction_uid="1.2.3.4.5")
    with db.transaction():
        performing.add(db, clock.now(), HERE, STEP, "1.2.3.6")
    elsewhere.instead = {"IN PROGRESS": [UpsStatus.ALREADY_IN_PROGRESS]}
    turn(performer_of(db, clock, policy_of(elsewhere.port)))
    assert mine(db).state == "lost"


@pytest.mark.parametrize(
    "changes",
    [
        {STATION_NAMES: element("SQ", coded("OTHER", "99SITE", "Another"))},
        {STATION_NAMES: element("SQ")},
    ],
)
def test_a_step_that_is_not_meant_for_us_is_left(
    db: Database, clock: FakeClock, elsewhere: Manager, changes: dict[str, Attributes]
) -> None:
    offer(elsewhere, **changes)
    turn(performer_of(db, clock, policy_of(elsewhere.port)))
    assert performing.of_step(db, HERE, STEP) is None
    assert elsewhere.services() == ["C-FIND"]


def test_a_workitem_code_of_ours_has_its_own_models_read(db: Database, clock: FakeClock, elsewhere: Manager) -> None:
    policy = policy_of(elsewhere.port, station="", models={"DCM:110004": ["brain", "lung"]})
    offer(elsewhere, **{STATION_NAMES: element("SQ")})
    closed(db, clock, policy)
    turn(performer_of(db, clock, policy))
    assert (mine(db).state, mine(db).reason) == ("canceled", "the model lung is not live")
    (told,) = items(elsewhere.steps[STEP].said.to_json_dict(), "00741002")
    assert text(items(told, "0074100E")[0], "00080100") == "110527"


CANCELED = {
    "no study": ({"0020000D": element("UI")}, "names no study"),
    "another patient": ({"00100020": element("LO", "SOMEBODY-ELSE")}, "another patient"),
    "born otherwise": ({"00100020": element("LO"), "00100030": element("DA", "19990101")}, "another patient"),
    "no archive": ({"0020000D": element("UI", "1.2.3.404"), "00404021": element("SQ", {
        "0020000D": element("UI", "1.2.3.404"), "0040E021": element("SQ", {"00080054": element("AE", "NOBODY")})})},
        "no archive is known"),
    "output": ({"00404070": element("SQ", {"00404071": element("SQ", {"21000140": element("AE", "STRANGER")})})},
        "output destination STRANGER is not known"),
}  # fmt: skip


@pytest.mark.parametrize("case", CANCELED)
def test_what_cannot_be_done_is_canceled_with_the_reason(
    db: Database, clock: FakeClock, elsewhere: Manager, case: str
) -> None:
    changes, reason = CANCELED[case]
    policy = policy_of(elsewhere.port)
    offer(elsewhere, **changes)
    closed(db, clock, policy)
    turn(performer_of(db, clock, policy))
    assert mine(db).state == "canceled"
    assert reason in mine(db).reason
    step = elsewhere.steps[STEP]
    assert step.state is UpsState.CANCELED
    (told,) = items(step.said.to_json_dict(), "00741002")
    assert text(told, "00741238") == mine(db).reason


def test_images_that_are_not_here_are_asked_of_the_archive_that_the_step_names(
    db: Database, clock: FakeClock, elsewhere: Manager
) -> None:
    policy = policy_of(elsewhere.port)
    where = {"0020000D": element("UI", STUDY), "0040E021": element("SQ", {"00080054": element("AE", "PACS")})}
    archive = [replace_roles(peer) for peer in policy.settings.peers]
    policy = replace(policy, settings=policy.settings.model_copy(update={"peers": tuple(archive)}))
    offer(elsewhere, **{"00404021": element("SQ", where)})
    performer = performer_of(db, clock, policy)
    turn(performer)
    assert mine(db).state == "fetching"
    (retrieval,) = retrievals.of_study(db, STUDY)
    assert (retrieval.peer, retrieval.purpose, retrieval.id) == ("PACS", "asked", mine(db).retrieval_id)
    with db.transaction():
        retrievals.move(db, clock.now(), retrieval.id, retrievals.RetrievalState.FAILED, "the archive has none")
    turn(performer)
    assert (mine(db).state, elsewhere.steps[STEP].state) == ("canceled", "CANCELED")
    assert "the archive has none" in mine(db).reason


def replace_roles(peer: Any) -> Any:
    return peer.model_copy(update={"roles": (*peer.roles, "archive")}) if peer.name == "PACS" else peer


@pytest.mark.parametrize("how", ["asked", "ended", "forgotten"])
def test_a_step_that_is_canceled_meanwhile_is_stopped(
    db: Database, clock: FakeClock, elsewhere: Manager, how: str
) -> None:
    policy = policy_of(elsewhere.port)
    offer(elsewhere)
    closed(db, clock, policy)
    performer = performer_of(db, clock, policy)
    turn(performer)
    if how == "asked":
        with db.transaction():
            assert performing.ask_to_cancel(db, clock.now(), HERE, STEP, "by RIS")
    elif how == "ended":
        elsewhere.move(STEP, UpsState.CANCELED)
    else:
        del elsewhere.steps[STEP]
    turn(performer)
    assert mine(db).state == ("canceled" if how == "asked" else "lost")
    count = len(elsewhere.asked)
    read(db, clock, policy, bleed())
    turn(performer)
    assert elsewhere.services()[count:] == ["C-FIND"]


def test_what_is_not_done_in_time_is_given_up(db: Database, clock: FakeClock, elsewhere: Manager) -> None:
    policy = policy_of(elsewhere.port)
    offer(elsewhere)
    closed(db, clock, policy)
    performer = performer_of(db, clock, policy)
    turn(performer)
    clock.forward(3601)
    turn(performer)
    assert (mine(db).state, mine(db).reason) == ("canceled", "not done within 3600 s")


def test_a_study_that_is_held_gives_no_result_to_anybody(db: Database, clock: FakeClock, elsewhere: Manager) -> None:
    policy = policy_of(elsewhere.port)
    offer(elsewhere)
    closed(db, clock, policy)
    performer = performer_of(db, clock, policy)
    turn(performer)
    with db.transaction():
        studies.move(db, clock.now(), STUDY, StudyState.HELD, "two patients")
    turn(performer)
    assert (mine(db).state, mine(db).code) == ("canceled", "110514")


def test_no_more_are_claimed_than_we_want_to_hold(db: Database, clock: FakeClock, elsewhere: Manager) -> None:
    policy = policy_of(elsewhere.port, at_once=2)
    closed(db, clock, policy)
    for number in range(4):
        offer(elsewhere, f"1.2.3.9.{number}")
    turn(performer_of(db, clock, policy))
    assert len(elsewhere.standing()) == 2


def test_through_a_process_that_can_be_killed_it_is_the_same(
    db: Database, clock: FakeClock, elsewhere: Manager
) -> None:
    policy = policy_of(elsewhere.port)
    offer(elsewhere)
    closed(db, clock, policy)
    peer = policy.settings.peer_named(HERE)
    assert peer is not None
    asking = partial(ask, CHILD, stop=Stop(), alive=lambda: None)
    performer = Performer(db, clock, lambda: policy, HERE, PeerList(policy.settings, peer, asking))
    performer.step()
    assert (mine(db).state, elsewhere.steps[STEP].state) == ("reading", "IN PROGRESS")


def test_a_peer_that_does_not_know_procedure_steps_is_said_to() -> None:
    with manager(offers=("1.2.840.10008.5.1.4.34.6.5",)) as found:
        policy = policy_of(found.port)
        with pytest.raises(Failed, match="answers no requests of a performer"):
            Direct(policy.settings, HERE).list.offered()


# Our own list.


def own(db: Database, clock: FakeClock, policy: Policy) -> Performer:
    return Performer(db, clock, lambda: policy, "", OwnList(db, clock, lambda: policy))


def made_by_a_peer(db: Database, now: Instant, policy: Policy) -> None:
    said = step_of()
    with db.transaction():
        managed.create(db, now, UpsRow(
            sop_instance_uid=STEP, state=UpsState.SCHEDULED, transaction_uid="", performer="", source="RIS", issuer="A",
            study_instance_uid="", number=0, attributes=said, generated={}, created_at=now.iso,
        ), policy.settings)  # fmt: skip


def test_a_step_in_our_own_list_is_performed_without_a_network(db: Database, clock: FakeClock) -> None:
    policy = policy_of(own_list=True)
    made_by_a_peer(db, clock.now(), policy)
    closed(db, clock, policy)
    turn(own(db, clock, policy))
    read(db, clock, policy, bleed())
    delivered(db, clock, policy)
    turn(own(db, clock, policy))
    row = ups.step(db, STEP)
    assert row is not None
    assert (row.state, mine(db, name="").state, row.performer) == ("COMPLETED", "completed", "MATINS")
    assert items(row.attributes, PERFORMED)


def test_a_requester_may_have_a_step_of_ours_canceled_in_our_own_list(db: Database, clock: FakeClock) -> None:
    policy = policy_of(own_list=True)
    made_by_a_peer(db, clock.now(), policy)
    closed(db, clock, policy)
    turn(own(db, clock, policy))
    with db.transaction():
        status, _ = managing.request_cancel(db, clock.now(), lambda: policy, STEP, {}, ae_title="RIS1")
    assert status == UpsStatus.SUCCESS
    turn(own(db, clock, policy))
    row = ups.step(db, STEP)
    assert row is not None
    assert (row.state, mine(db, name="").state) == ("CANCELED", "canceled")


def test_steps_to_read_a_study_are_for_people(db: Database, clock: FakeClock) -> None:
    listed = [*peers(), {"name": "READER", "ae_title": "READER1", "roles": ["reader"], "addresses": ["10.0.0.0/8"]}]
    policy = routed(peers=listed, perform={**OURS, "models": {"DCM:110005": []}, "own_list": True}, routes=[])
    closed(db, clock, policy)
    turn(own(db, clock, policy))
    assert [row.number for row in ups.shown(db)] == [1]
    assert not performing.unfinished(db, "")


def test_of_several_studies_the_one_that_the_step_names_is_meant() -> None:
    inputs = element("SQ", *({"0020000D": element("UI", uid)} for uid in ("1.2.1", "1.2.2")))
    assert asked_of({"00404021": inputs}).study_instance_uid == ""
    assert asked_of({"00404021": inputs, "0020000D": element("UI", "1.2.2")}).study_instance_uid == "1.2.2"
    assert asked_of({"00404021": inputs, "0020000D": element("UI", "1.2.9")}).study_instance_uid == ""
    assert STATE not in given_up("110501", "x", at="20260101")
