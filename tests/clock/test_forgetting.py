"""Old rows go where nothing rests on them, and nothing else does."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from sqlite3 import Row

import pytest

from node.clock.forgetting import Forgetting
from node.config import Settings
from node.domain.history import Fact
from node.domain.inquiry import Inquiry, InquiryState
from node.domain.patient import Patient
from node.domain.performance import PerformanceState
from node.domain.scheduled import Scheduled
from node.domain.study import Order
from node.domain.told import ToldOrder
from node.domain.ups import UpsState
from node.store import expected_studies, history, identities, inquiries, orders, performing, studies, ups
from node.store.database import Database, Value, open_database
from node.store.forgetting import forget
from node.store.ups import UpsRow
from tests.fakes import PATIENT, STUDY, FakeClock, arrive, slice_of

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


def order(db: Database, clock: FakeClock, *, accession_number: str = "", study_instance_uid: str = "") -> int:
    told = ToldOrder(accession_number=accession_number, study_instance_uid=study_instance_uid, priority="STAT")
    with db.transaction():
        return orders.keep(db, clock.now(), PATIENT, told, at="", told_by="hl7 RIS").id


def come(db: Database, clock: FakeClock, patient: Patient, accession_number: str = "") -> None:
    arrive(db, clock.now(), slice_of(1))
    with db.transaction():
        studies.record_identity(db, STUDY, patient, Order(accession_number=accession_number), "MR")


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
    with db.transaction():
        inquiries.record(db, asked)
    assert forgetting.step() == 0
    clock.forward(2 * 3600.0)
    assert forgetting.step() == 1, "an hour later it looks again"


def test_steps_of_others_that_are_over_are_forgotten_unless_they_stand_in_our_own_list(db: Database) -> None:
    clock = FakeClock()
    for number, manager in enumerate(("RIS", "RIS", "", "")):
        with db.transaction():
            performing.add(db, clock.now(), manager, f"1.2.{number}", "2.25.1")
            row = performing.of_step(db, manager, f"1.2.{number}")
            assert row is not None
            if number:
                performing.move(db, clock.now(), row, PerformanceState.LOST)
    listed = UpsRow(
        sop_instance_uid="1.2.2", state=UpsState.SCHEDULED, transaction_uid="", performer="", source="RIS", issuer="A",
        study_instance_uid="", number=0, attributes={}, generated={}, created_at=clock.now().iso,
    )  # fmt: skip
    with db.transaction():
        ups.add(db, clock.now(), listed)
    clock.forward(10 * DAY_S)
    assert Forgetting(db, clock, settings_of(11)).step() == 0
    assert Forgetting(db, clock, settings_of(5)).step() == 2
    assert [row["ups"] for row in db.rows("SELECT ups FROM performance ORDER BY id")] == ["1.2.0", "1.2.2"]


def test_orders_are_forgotten_of_which_no_study_has_come_nor_is_expected_and_no_fact_stands(db: Database) -> None:
    clock = FakeClock()
    numbers = ("gone", "came", "expected", "told", "else", "again")
    known = {number: order(db, clock, accession_number=number) for number in numbers}
    order(db, clock, study_instance_uid=STUDY)
    order(db, clock, study_instance_uid="1.2.9")
    come(db, clock, replace(PATIENT, patient_id="after a merge"), accession_number="came")
    expected = Scheduled(
        study_instance_uid="1.2.8", peer="RIS", patient=PATIENT, accession_number="expected",
        scheduled_at=clock.now().wall + timedelta(days=30),
    )  # fmt: skip
    with db.transaction():
        expected_studies.record(db, clock.now(), expected)
        reason = Fact(code="problem", value="headache", source="hl7 RIS")
        history.replace_told(db, clock.now(), PATIENT, [reason], origin=f"hl7 KIS order {known['told']}")
        history.replace_told(db, clock.now(), PATIENT, [reason], origin=f"hl7 RIS order 1{known['else']}")
    clock.forward(10 * DAY_S)
    order(db, clock, accession_number="again")
    assert Forgetting(db, clock, settings_of(5)).step() == 3
    left = [
        row["accession_number"] or row["study_instance_uid"] for row in db.rows("SELECT * FROM told_order ORDER BY id")
    ]
    assert left == ["came", "expected", "told", "again", STUDY]


def test_how_recent_a_word_is_is_forgotten_only_where_nothing_is_known_of_the_patient(db: Database) -> None:
    clock = FakeClock()
    names = ("nobody", "imaged", "told", "corrected", "once", "moved", "survivor")
    who = {name: replace(PATIENT, patient_id=name) for name in names}
    with db.transaction():
        for each in who.values():
            assert identities.is_news(db, "hl7 RIS merge", each, clock.now().iso)
        history.replace_told(
            db, clock.now(), who["told"], [Fact(code="problem", value="a", source="fhir A")], origin="fhir A"
        )
        identities.record_told(db, clock.now(), who["corrected"], told_by="hl7 RIS")
        identities.record_former(db, who["once"], "sex", "M")
        identities.record_move(db, clock.now(), who["moved"], "survivor", told_by="hl7 RIS")
        identities.end_move(db, clock.now(), who["moved"], "survivor", told_by="hl7 RIS")
    come(db, clock, who["imaged"])
    clock.forward(10 * DAY_S)
    assert Forgetting(db, clock, settings_of(5)).step() == 1
    assert {row["patient_id"] for row in db.rows("SELECT patient_id FROM telling")} == {*names} - {"nobody"}


def test_what_is_old_is_found_by_an_index_and_so_is_what_rests_on_it(db: Database) -> None:
    asked: list[str] = []
    whole = db.rows

    def noted(sql: str, values: Sequence[Value] = ()) -> list[Row]:
        asked.append(sql)
        return whole(sql, values)

    db.rows = noted  # type: ignore[method-assign]
    forget(db, "2026", limit=1)
    plans = [row["detail"] for sql in asked for row in whole(f"EXPLAIN QUERY PLAN {sql}", ("2026", 1))]
    assert len(asked) == 6
    assert [line for line in plans if line.startswith("SCAN") or "TEMP B-TREE" in line] == []
