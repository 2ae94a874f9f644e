"""The process of a route, as the room starts it: what a killed one leaves behind reaches the worklist once."""

from __future__ import annotations

import os
import signal
import subprocess
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
from tests.site import end_with_us, wait_until
from tests.told import write_config

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


def test_the_room_tells_a_route_within_seconds_and_holds_what_nobody_is_to_hear(tmp_path: Path) -> None:
    with listening(Ris()) as ris:
        file = write_config(tmp_path)
        file.write_text(
            f'{file.read_text()}[models.brain]\nmode = "live"\n'
            f'[[routes]]\nname = "RIS"\nkind = "hl7"\nhost = "127.0.0.1"\nport = {ris.port}\ninterface = "worklist"\n'
            '[[peers]]\nname = "SCANNER"\nae_title = "SCANNER"\naddresses = ["127.0.0.1/32"]\nroles = ["source"]\n'
            'flags_to = ["RIS"]\n'
        )
        db = open_database(tmp_path / "var", "test")
        policy = routed(RIS, {**RIS, "name": "GONE"}, flags_to=["RIS", "GONE"])
        (study,) = flagged(db, policy, 1)
        room = subprocess.Popen(
            [sys.executable, "-m", "node", "deliver", "--config", str(file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=end_with_us,  # noqa: PLW1509
        )
        try:

            def done() -> bool:
                states = {each.route: each.state.value for each in notices.of_study(db, study)}
                return states == {"RIS": "acknowledged", "GONE": "held"}

            wait_until("the notice", done)
            (gone,) = [each for each in notices.of_study(db, study) if each.route == "GONE"]
        finally:
            room.terminate()
            room.wait(60)
            db.close()
    assert len(ris.kept) == 1
    assert gone.reason == "no route GONE is configured; add it to config.toml, then `matins retry`"


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_night_of_kills_and_losses_loses_nothing_and_tells_nothing_twice(tmp_path: Path) -> None:
    replies = [(LOST, "AA", "AA", RESET, "AA", OTHERS, BYTEWISE)[number % 7] for number in range(2000)]
    with listening(Ris(replies=(*replies, "AA"))) as ris:
        deliver(tmp_path / "var", ris, count=150, kills=range(3, 300, 9))
