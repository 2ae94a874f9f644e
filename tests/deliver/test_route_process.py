"""The process of a route, as the room starts it: what a killed one leaves behind reaches the worklist once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from node.deliver.children import Children, Patience
from node.deliver.holdings import Notices
from node.domain.time import SystemClock
from node.store import events, notices
from node.store.database import Database, open_database
from node.workflow.policy import Policy
from tests.deliver.ris import BYTEWISE, LOST, OTHERS, RESET, Ris, listening
from tests.fakes import FakeClock
from tests.notices import RIS, bleed, closed, read, routed
from tests.site import wait_until

TELLER = (sys.executable, "-m", "node.deliver.route_child")
PATIENCE = Patience(start_s=60, idle_s=600, drain_s=60, backoff_s=0.01, backoff_maximum_s=0.02)


def flagged(db: Database, policy: Policy, count: int) -> list[str]:
    """Studies with a finding each, told at the time of a clock of its own."""
    clock, studies = FakeClock(), [f"1.2.3.{number}" for number in range(1, count + 1)]
    for study in studies:
        closed(db, clock, policy, study=study, accession=f"A{study}")
        read(db, clock, policy, bleed())
    return studies


def deliver(folder: Path, ris: Ris, *, count: int, kills: Sequence[int]) -> None:
    """Let a route tell of studies, and kill its process whenever so many messages more have come."""
    policy = routed({**RIS, "port": ris.port, "answer_s": 20.0}, deliver={"backoff_s": 0.01, "backoff_maximum_s": 0.05})
    settings = policy.settings.model_copy(update={"data": policy.settings.data.model_copy(update={"folder": folder})})
    db, clock = open_database(folder, "test"), SystemClock()
    studies = flagged(db, policy, count)
    children = Children(
        db, clock, settings, patience=PATIENCE, command=TELLER, holdings=Notices(db, clock, settings.deliver)
    )
    due = list(kills)

    def done() -> bool:
        if due and len(ris.received) >= due[0]:
            due.pop(0)
            for pid in children.running().values():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        children.look_after(notices.waiting(db))
        return not notices.waiting(db)

    try:
        wait_until("every notice", done)
        found = [notices.of_study(db, study) for study in studies]
        said = " ".join(f"{each.subject} {each.reason}" for each in events.latest(db, "notice", limit=10_000))
    finally:
        children.drain()
        db.close()
    assert {(each.state.value, each.version) for of_study in found for each in of_study} == {("acknowledged", 1)}
    assert sorted(ris.kept) == sorted(each.control_id for of_study in found for each in of_study)
    assert ris.different == []
    assert "CANARY" not in said


def test_killed_senders_and_lost_acknowledgements_lose_nothing_and_tell_nothing_twice(tmp_path: Path) -> None:
    with listening(Ris(replies=("AA", LOST, "AA", RESET, OTHERS, "AA"))) as ris:
        deliver(tmp_path / "var", ris, count=5, kills=[2])


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_night_of_kills_and_losses_loses_nothing_and_tells_nothing_twice(tmp_path: Path) -> None:
    replies = [(LOST, "AA", "AA", RESET, "AA", OTHERS, BYTEWISE)[number % 7] for number in range(2000)]
    with listening(Ris(replies=(*replies, "AA"))) as ris:
        deliver(tmp_path / "var", ris, count=150, kills=range(3, 300, 9))
