"""Old rows go where nothing rests on them, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from node.clock.forgetting import Forgetting
from node.config import Settings
from node.domain.history import Fact
from node.domain.inquiry import Inquiry, InquiryState
from node.store import history, inquiries
from node.store.database import Database, open_database
from tests.fakes import PATIENT, STUDY, FakeClock

DAY_S = 86_400.0


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = open_database(tmp_path / "var", "clock")
    yield database
    database.close()


def settings_of(days: int) -> Settings:
    return Settings.model_validate({"data": {"forget_days": days}})


def tell(db: Database, clock: FakeClock, *values: str) -> None:
    facts = [Fact(code="problem", value=value, source="fhir A") for value in values]
    with db.transaction():
        history.replace_told(db, clock.now(), PATIENT, facts, origin="fhir A Condition")


def note(db: Database, clock: FakeClock, version: int, state: str, route: str = "RIS") -> None:
    db.execute(
        "INSERT INTO notice (study_instance_uid, route, version, control_id, state, because, flag, told_at,"
        " received_wall, received_boot_s, received_boot_id) VALUES (?, ?, ?, ?, ?, '', ?, ?, '', 0, '')",
        (STUDY, route, version, f"{route} {version}", state, json.dumps({}), clock.now().iso),
    )


def test_facts_that_were_superseded_long_ago_are_forgotten_and_none_that_stands(db: Database) -> None:
    clock = FakeClock()
    for values in (("old",), ("older", "still"), ("now", "still"), ("still",)):
        tell(db, clock, *values)
        clock.forward(DAY_S)
    clock.forward(10 * DAY_S)
    tell(db, clock)
    assert Forgetting(db, clock, settings_of(5)).step() == 3
    assert [row["value"] for row in db.rows("SELECT value FROM history")] == ["still"], "superseded a moment ago"
    clock.forward(10 * DAY_S)
    assert Forgetting(db, clock, settings_of(0)).step() == 0


def test_notices_before_one_that_was_acknowledged_are_forgotten_and_what_a_receiver_may_have_is_not(
    db: Database,
) -> None:
    clock = FakeClock()
    for version, state in enumerate(("acknowledged", "superseded", "acknowledged", "superseded", "queued"), 1):
        note(db, clock, version, state)
    note(db, clock, 1, "superseded", route="LIST")
    note(db, clock, 2, "dead", route="LIST")
    clock.forward(10 * DAY_S)
    assert Forgetting(db, clock, settings_of(5)).step() == 2
    left = [(row["route"], row["version"]) for row in db.rows("SELECT route, version FROM notice ORDER BY id")]
    assert left == [("RIS", 3), ("RIS", 4), ("RIS", 5), ("LIST", 1), ("LIST", 2)]


def test_questions_of_long_ago_are_forgotten_a_few_at_a_time_and_then_left_alone_for_a_while(db: Database) -> None:
    clock = FakeClock()
    asked = Inquiry(
        server="A", resource="Condition", patient_id="P", issuer="A", study_instance_uid="",
        state=InquiryState.ANSWERED, asked=clock.now(),
    )  # fmt: skip
    with db.transaction():
        for number in range(450):
            inquiries.record(db, replace(asked, patient_id=f"P{number}"))
    clock.forward(10 * DAY_S)
    forgetting = Forgetting(db, clock, settings_of(5))
    at_once: list[int] = []
    whole = db.execute
    db.execute = lambda *given: at_once.append((made := whole(*given)).rowcount) or made  # type: ignore[method-assign]
    assert forgetting.step() == 450
    assert max(at_once) == 200
    at_once.clear()
    assert (forgetting.step(), at_once) == (0, [])
    clock.forward(2 * 3600.0)
    assert forgetting.step() == 0
    assert at_once, "an hour later it looks again"
