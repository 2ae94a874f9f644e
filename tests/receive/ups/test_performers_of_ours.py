"""Matins on both sides: its performers, and its routes, at its own DICOM port."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

from node.config import DeliverSettings, Route, Settings
from node.deliver.routes import kind_of
from node.domain.priority import Lane
from node.domain.ups import UpsState
from node.retrieve import step_requests
from node.retrieve.peer_steps import PeerList
from node.retrieve.performer import Performer
from node.store import performing, ups
from node.store.database import Database, open_database
from node.workflow.policy import Policy
from tests.deliver.routes.letters import AT, FLAG, letter
from tests.fakes import FakeClock
from tests.receive.ups.conftest import ASKER, LOCK, READER, Calling, code, creation

STEP = "1.2.3.9.1"


def performer_of(db: Database, port: int, title: str) -> Performer:
    """A node that performs what the one under test manages; it has no model, so it gives up what it has claimed."""
    manager = {"name": "MANAGER", "ae_title": "MATINS", "host": "127.0.0.1", "port": port, "roles": ["ups_manager"]}
    settings = Settings.model_validate(
        {"node": {"ae_title": title}, "peers": [manager], "perform": {"station": "AI", "interval_s": 0.001}}
    )
    steps = PeerList(settings, settings.peers[0], lambda errand: step_requests.put(errand, threading.Event()))
    policy = Policy(settings, (), ())
    return Performer(db, FakeClock(), lambda: policy, "MANAGER", steps)


def asked(calling: Calling) -> None:
    station = [code("AI", "99SITE", "AI")]
    assert calling(ASKER).create(creation(ScheduledStationNameCodeSequence=station, StudyInstanceUID="1.2.3"))[0] == 0


def test_our_performer_finds_claims_and_ends_a_step_at_our_port(
    calling: Calling, port: int, db: Database, tmp_path: Path
) -> None:
    asked(calling)
    elsewhere = open_database(tmp_path / "elsewhere", "retrieve")
    performer_of(elsewhere, port, "READER1").step()
    done = performing.of_step(elsewhere, "MANAGER", STEP)
    elsewhere.close()
    row = ups.step(db, STEP)
    assert done is not None
    assert row is not None
    assert (done.state, done.reason, row.state, row.performer) == ("canceled", "no model is live", "CANCELED", READER)
    assert row.transaction_uid == done.transaction_uid


def test_of_two_of_our_performers_at_once_one_has_the_step(
    calling: Calling, port: int, db: Database, tmp_path: Path
) -> None:
    asked(calling)
    states: list[str] = []
    together = threading.Barrier(2)

    def perform(title: str) -> None:
        own = open_database(tmp_path / title, "retrieve")
        with own.transaction():
            # It has found the step; what comes next is the claim.
            performing.add(own, FakeClock().now(), "MANAGER", STEP, f"1.2.3.77.{title[0] == 'R':d}")
        performer = performer_of(own, port, title)
        together.wait()
        performer.step()
        found = performing.of_step(own, "MANAGER", STEP)
        own.close()
        assert found is not None
        states.append(found.state)

    threads = [threading.Thread(target=perform, args=(title,)) for title in ("READER1", "SECOND1")]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert sorted(states) == ["canceled", "lost"]
    row = ups.step(db, STEP)
    assert row is not None
    assert row.state is UpsState.CANCELED


def test_our_route_keeps_one_step_of_a_study_at_our_port(calling: Calling, port: int, db: Database) -> None:
    route = Route.model_validate(
        {"name": "R", "kind": "ups", "host": "127.0.0.1", "port": port, "ae_title": "MATINS",
         "calling_ae_title": "ABROAD1"}
    )  # fmt: skip
    kind = kind_of(route)
    assert kind is not None
    calmer, over = replace(FLAG, lane=Lane.ROUTINE), replace(FLAG, over="the study is held for a person")
    messages = [kind.message(route, letter(route, FLAG))]
    for flag in (calmer, over, FLAG):
        messages.append(kind.message(route, letter(route, flag, told=messages[-1])))
    seen = []
    for message in messages:
        # Each twice: the first answer was lost.
        for _ in range(2):
            with kind.opened(route, DeliverSettings()) as receiver:
                assert receiver.send(message, "C", AT).heard == "acknowledged"
        seen.append([(row.state, row.attributes["00741200"]["Value"]) for row in ups.shown(db)])
    assert [len(each) for each in seen] == [1, 1, 1, 2]
    assert seen[0] == [("SCHEDULED", ["HIGH"])]
    assert seen[1] == [("SCHEDULED", ["LOW"])]
    assert seen[2] == [("CANCELED", ["LOW"])]
    assert sorted(state for state, _ in seen[3]) == ["CANCELED", "SCHEDULED"]
    waiting = next(row.sop_instance_uid for row in ups.shown(db, states=["SCHEDULED"]))
    assert calling(READER).claim(waiting, LOCK) == 0x0000
