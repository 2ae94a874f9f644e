"""A night told anew from the store: every fact counts from the moment at which it was known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from node.domain.finding import Finding
from node.domain.history import Fact
from node.domain.priority import Lane
from node.domain.report_state import ReportState
from node.domain.rule import Comparison, Operator, Rule
from node.domain.work import WorkKind
from node.store import reading_list, work_items
from node.store.database import Database
from node.triage.rules import CompiledRule, compile_rules
from node.workflow import history, pinning, reading, reported
from node.workflow.closing import close_due
from node.workflow.courses import remembered
from node.workflow.policy import Policy
from node.workflow.replaying import replay_night, replay_study
from tests.fakes import BRAIN, PATIENT, FakeClock, arrive, model, policy, slice_of
from tests.workflow.test_closing import QUIET_S


def rule(name: str, points: float, when: Comparison) -> Rule:
    return Rule(id=name, title="T", because=name, when=when, points=points, source="s", version="1")


SEEN = compile_rules(
    [rule("seen", 50, Comparison(field="finding.present", operator=Operator.IS, value=True, code="SCT:12738006"))]
)
TOLD = compile_rules([rule("told", 50, Comparison(field="history.problem", operator=Operator.HAS, value="cancer"))])


def close_one(db: Database, clock: FakeClock, used: Policy, number: int) -> str:
    """One study of a patient of its own, closed."""
    uid, patient = f"1.2.{number}", replace(PATIENT, patient_id=f"P{number}")
    for position in range(1, 5):
        arrive(db, clock.now(), slice_of(position, study=uid, series=f"{uid}.1", patient=patient))
    close_due(db, clock.forward(QUIET_S), used)
    return uid


def read(db: Database, clock: FakeClock, used: Policy, uid: str) -> None:
    with db.transaction():
        reported.record(db, clock.now(), used, uid, ReportState.FINAL, told_by="ada")


def find(db: Database, clock: FakeClock, used: Policy, uid: str, *found: Finding) -> None:
    items = work_items.claim(db, clock.now(), WorkKind.INFER, "infer", 60, study=uid)
    with db.transaction():
        for item in items:
            reading.begin(db, clock.now(), item)
            reading.complete(db, clock.now(), used, item, found, [], {})


def night(
    db: Database, clock: FakeClock, used: Policy, began: object, before: Sequence[CompiledRule],
    after: Sequence[CompiledRule],
) -> dict[str, dict[str, object]]:  # fmt: skip
    told = replay_night(db, used, began, clock.now().wall, before=before, after=after)  # type: ignore[arg-type]
    return {row["study_instance_uid"]: row for row in told["studies"]}


@pytest.mark.parametrize("known_before_the_reading", [True, False])
def test_a_result_moves_a_study_only_in_readings_after_it_was_known(
    db: Database, clock: FakeClock, known_before_the_reading: bool
) -> None:
    used = replace(policy(model()), rules=SEEN)
    began = clock.now().wall
    first, second, third = (close_one(db, clock, used, number) for number in range(3))
    if known_before_the_reading:
        find(db, clock, used, second, Finding(code=BRAIN, present=True))
    clock.forward(600)
    read(db, clock, used, third)
    clock.forward(600)
    if not known_before_the_reading:
        find(db, clock, used, second, Finding(code=BRAIN, present=True))
    clock.forward(600)
    rows = night(db, clock, used, began, (), SEEN)
    taken = second if known_before_the_reading else first
    assert rows[first]["from"]["read_at"], "first come, first served without a rule"  # type: ignore[index]
    assert rows[taken]["to"]["read_at"] == rows[first]["from"]["read_at"]  # type: ignore[index]
    assert [uid for uid, row in rows.items() if row["wait_change_min"] != 0] == (
        [second, first] if known_before_the_reading else []
    )
    if known_before_the_reading:
        assert rows[second]["wait_change_min"] == -rows[first]["wait_change_min"] == -20.0
    else:
        assert rows[second]["to"]["place"] == 1, "afterwards it leads what is left"  # type: ignore[index]


def test_history_counts_while_it_stood(db: Database, clock: FakeClock) -> None:
    used = replace(policy(model()), rules=TOLD)
    began = clock.now().wall
    first, second = (close_one(db, clock, used, number) for number in range(2))
    ill = Fact(code="problem", value="lung cancer", source="fhir")
    patient = replace(PATIENT, patient_id="P1")
    with db.transaction():
        history.learn(db, clock.forward(60), used, patient, [ill], origin="fhir A Condition")
    told_at = clock.now().iso
    clock.forward(60)
    during = clock.forward(60).iso
    with db.transaction():
        history.learn(db, clock.forward(60), used, patient, [], origin="fhir A Condition")
    (study,) = [each for each in remembered(db, began, clock.forward(60).wall) if each.row.study_instance_uid == second]
    scores = [
        study.ranked_at(at, used, TOLD).score for at in (study.timeline.listed_at, told_at, during, clock.now().iso)
    ]
    assert scores == [0, 50, 50, 0]
    assert reading_list.unread(db) == [first, second]


def test_pins_hold_while_they_held_and_a_superseded_result_while_it_stood(db: Database, clock: FakeClock) -> None:
    used = replace(policy(model()), rules=SEEN)
    began = clock.now().wall
    uid = close_one(db, clock, used, 0)
    find(db, clock, used, uid, Finding(code=BRAIN, present=True))
    seen_at = clock.now().iso
    pinning.pin(db, clock.forward(60), used, uid, lane=Lane.STAT, by="ada", why="now")
    pinned_at = clock.now().iso
    pinning.unpin(db, clock.forward(60), used, uid, by="ada")
    arrive(db, clock.forward(1), slice_of(5, study=uid, series=f"{uid}.1", patient=replace(PATIENT, patient_id="P0")))
    close_due(db, clock.forward(QUIET_S), used)
    (study,) = remembered(db, began, clock.now().wall)
    places = [
        (ranking.lane, ranking.score)
        for ranking in (study.ranked_at(at, used, SEEN) for at in (seen_at, pinned_at, clock.now().iso))
    ]
    assert places == [(Lane.ROUTINE, 50), (Lane.STAT, 150), (Lane.ROUTINE, 0)]


def test_the_same_rules_move_nothing_and_a_replay_writes_nothing(db: Database, clock: FakeClock) -> None:
    used = replace(policy(model()), rules=SEEN)
    began = clock.now().wall
    for number in range(3):
        uid = close_one(db, clock, used, number)
        find(db, clock, used, uid, Finding(code=BRAIN, present=number == 1))
    before = list(db.rows("SELECT * FROM study")), len(db.rows("SELECT id FROM event"))
    told = replay_night(db, used, began, clock.now().wall, before=SEEN, after=SEEN)
    assert told["moved"] == 0
    assert [row["study_instance_uid"] for row in told["studies"]] == reading_list.unread(db), "as the list stands now"
    assert replay_study(db, clock.now(), used, "1.2.0", TOLD)
    assert (list(db.rows("SELECT * FROM study")), len(db.rows("SELECT id FROM event"))) == before


def test_a_study_is_shown_with_its_place_by_both_sets_of_rules(db: Database, clock: FakeClock) -> None:
    used = replace(policy(model()), rules=SEEN)
    first, second = (close_one(db, clock, used, number) for number in range(2))
    find(db, clock, used, second, Finding(code=BRAIN, present=True))
    told = replay_study(db, clock.now(), used, first, TOLD)
    assert told is not None
    assert (told["from"]["place"], told["to"]["place"], told["studies"]) == (2, 1, 2)
    told = replay_study(db, clock.now(), replace(used, rules=()), second)
    assert told is not None
    assert (told["from"]["score"], told["to"]["score"], told["from"]["place"], told["to"]["place"]) == (50, 0, 1, 2)
    assert [each["rule"] for each in told["from"]["reasons"]] == ["seen"]
    read(db, clock, used, first)
    assert replay_study(db, clock.now(), used, first) is None
