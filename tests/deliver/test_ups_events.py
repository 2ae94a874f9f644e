"""Whoever watches a step is told, in the order in which things happened, as often as it takes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt

from node.config import Settings
from node.deliver.children import Children
from node.deliver.lifeline import Pulse
from node.deliver.ups_events import Reporting
from node.domain.dicom_json import Attributes, element
from node.domain.time import SystemClock
from node.domain.ups import EVENT, PUSH, Report
from node.loop import Stop
from node.store import events, ups_watch
from node.store.database import Database
from tests.associations import Scp
from tests.deliver.conftest import NOWHERE
from tests.fakes import FakeClock

STEP = "1.2.3.9.1"


@dataclass
class Watcher:
    """An SCU of UPS Event. Statuses are used up one by one; the last one stays."""

    statuses: Sequence[int] = (0x0000,)
    #: Whether it answers the role selection; where it does not, it takes the reports all the same.
    knows_roles: bool = True
    #: (Affected SOP Class, Affected SOP Instance, Event Type ID, Event Information).
    heard: list[tuple[str, str, int, Dataset]] = field(default_factory=list)
    #: Of each association: the roles that its requestor takes, (SCU, SCP).
    roles: list[tuple[bool | None, bool | None]] = field(default_factory=list)
    _scp: Scp | None = None

    def start(self) -> int:
        ae = AE("READER1")
        roles = {"scu_role": False, "scp_role": True} if self.knows_roles else {}
        ae.add_supported_context(EVENT, **roles)
        handlers = [(evt.EVT_N_EVENT_REPORT, self._hear), (evt.EVT_ACCEPTED, self._count)]
        self._scp = Scp(ae, handlers)
        return self._scp.port

    def stop(self) -> None:
        if self._scp is not None:
            self._scp.stop()

    def _count(self, event: evt.Event) -> None:
        proposed = event.assoc.requestor.role_selection[EVENT]
        self.roles.append((proposed.scu_role, proposed.scp_role))

    def _hear(self, event: evt.Event) -> tuple[int, None]:
        asked = event.request
        said = (str(asked.AffectedSOPClassUID), str(asked.AffectedSOPInstanceUID), int(asked.EventTypeID))
        self.heard.append((*said, event.event_information))
        return self.statuses[min(len(self.heard), len(self.statuses)) - 1], None


@pytest.fixture
def watcher() -> Iterator[Watcher]:
    made = Watcher()
    yield made
    made.stop()


def settings_of(db: Database, port: int) -> Settings:
    peer = {"name": "READER", "ae_title": "READER1", "host": "127.0.0.1", "port": port, "roles": ["performer"]}
    patience = {"connect_s": 5.0, "dimse_s": 20.0, "backoff_s": 4.0, "backoff_maximum_s": 64.0}
    return Settings.model_validate(
        {"data": {"folder": db.folder}, "deliver": patience, "peers": [{**peer, "addresses": ["127.0.0.1/32"]}]}
    )


def reporting(db: Database, clock: FakeClock, port: int) -> Reporting:
    settings = settings_of(db, port)
    return Reporting(db, clock, settings, settings.peers[0], stop=Stop(), pulse=Pulse(NOWHERE))


def queue(db: Database, clock: FakeClock | SystemClock, *states: str, step: str = STEP) -> None:
    with db.transaction():
        for state in states:
            content: Attributes = {"00741000": element("CS", state), "00404041": element("CS", "READY")}
            ups_watch.tell(db, clock.now(), step, Report.STATE, content, "READER")


def states(watcher: Watcher) -> list[str]:
    return [str(dataset.get("ProcedureStepState", "")) for *_, dataset in watcher.heard]


@pytest.mark.parametrize("knows_roles", [True, False])
def test_reports_arrive_in_order_on_one_association(
    db: Database, clock: FakeClock, watcher: Watcher, knows_roles: bool
) -> None:
    watcher.knows_roles = knows_roles
    sender = reporting(db, clock, watcher.start())
    queue(db, clock, "SCHEDULED", "IN PROGRESS", "CANCELED")
    with db.transaction():
        wish: Attributes = {"00741236": element("AE", "ASKER1"), "00741238": element("LT", "zu spät")}
        ups_watch.tell(db, clock.now(), STEP, Report.CANCEL_REQUESTED, wish, "READER")
    assert sender.step()
    assert [heard[:3] for heard in watcher.heard] == [(PUSH, STEP, 1)] * 3 + [(PUSH, STEP, 2)]
    assert states(watcher) == ["SCHEDULED", "IN PROGRESS", "CANCELED", ""]
    assert watcher.heard[-1][3].ReasonForCancellation == "zu spät"
    assert watcher.roles == [(False, True)]
    assert ups_watch.waiting(db) == set()
    assert not sender.step()


# pynetdicom leaves the socket open that it could not connect.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_who_is_away_is_told_later_and_nothing_twice(
    db: Database, clock: FakeClock, watcher: Watcher, nobody: int
) -> None:
    sender = reporting(db, clock, nobody)
    queue(db, clock, "SCHEDULED")
    assert not sender.step()
    assert not sender.step()
    assert ups_watch.waiting(db) == {"READER"}
    # A new child, as after a restart of the room.
    sender = reporting(db, clock, watcher.start())
    queue(db, clock, "IN PROGRESS")
    assert sender.step()
    assert states(watcher) == ["SCHEDULED", "IN PROGRESS"]
    assert not sender.step()


def test_a_report_that_is_refused_is_repeated_before_any_later_one_and_given_up_in_the_end(
    db: Database, clock: FakeClock, watcher: Watcher
) -> None:
    watcher.statuses = (0x0110, 0x0110, 0x0000, *[0x0110] * 5, 0x0000)
    sender = reporting(db, clock, watcher.start())
    queue(db, clock, "SCHEDULED", "IN PROGRESS", "COMPLETED")
    for _ in range(10):
        clock.forward(100)
        sender.step()
    assert states(watcher) == [*["SCHEDULED"] * 3, *["IN PROGRESS"] * 5, "COMPLETED"]
    assert ups_watch.waiting(db) == set()
    assert {each.reason for each in events.latest(db, "ups")} == {"READER answered the report with 0x0110"}


def test_a_peer_without_the_service_keeps_its_reports_and_is_asked_slowly(
    db: Database, clock: FakeClock, pacs: Callable[..., object]
) -> None:
    sender = reporting(db, clock, pacs(title="READER1").port)  # type: ignore[attr-defined]
    queue(db, clock, "SCHEDULED")
    assert not sender.step()
    clock.forward(5)
    assert not sender._rest.is_due
    assert ups_watch.waiting(db) == {"READER"}


def test_the_room_has_a_child_of_its_own_report(db: Database, watcher: Watcher) -> None:
    clock = SystemClock()
    settings = settings_of(db, watcher.start())
    queue(db, clock, "SCHEDULED")
    children = Children(db, clock, settings, command=(sys.executable, "-m", "node.deliver.ups_events"))
    deadline_s = time.monotonic() + 60
    try:
        while ups_watch.waiting(db):
            assert time.monotonic() < deadline_s, "waited in vain"
            children.look_after(ups_watch.waiting(db))
            time.sleep(0.05)
    finally:
        children.drain()
    assert states(watcher) == ["SCHEDULED"]
