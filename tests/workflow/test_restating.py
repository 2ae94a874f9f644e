"""A report that was written before its prior was read is written again, where that tells a change."""

from __future__ import annotations

import pytest

from node.domain.change import Verdict
from node.domain.report_state import ReportState
from node.domain.work import OutcomeState, WorkKind, WorkState
from node.store import artifacts, findings, outcomes, work_items
from node.store.database import Database
from node.workflow import changed
from tests.fakes import FakeClock
from tests.workflow.test_comparing import BEFORE, LONG_BEFORE, NOW, compare, measured, read, reported, verdicts


def written(db: Database, clock: FakeClock, outcome_id: int) -> None:
    """The mask and the report of an outcome."""
    reported(db, clock)
    made = [("measurement_report", f"2.25.{outcome_id}")]
    if not artifacts.of_outcome(db, outcome_id):
        made.append(("mask", ""))
    with db.transaction():
        for kind, uid in made:
            path = f"masks/{outcome_id}.{kind}"
            artifacts.record(
                db, clock.now(), outcome_id=outcome_id, kind=kind, path=path, size=1, digest="d", sop_instance_uid=uid
            )


def now_of(db: Database) -> outcomes.Outcome:
    (outcome,) = outcomes.current(db, NOW)
    return outcome


def test_a_change_that_is_seen_after_the_report_leads_to_another_run_of_the_same_findings(
    db: Database, clock: FakeClock
) -> None:
    old = read(db, clock, NOW, "20260101", measured(1439.0))
    written(db, clock, old)
    read(db, clock, BEFORE, "20251231", measured(1180.0))
    assert (compare(db, clock), verdicts(db)) == ([BEFORE], [Verdict.GROWN])
    new = now_of(db)
    before = outcomes.outcome(db, old)
    assert before is not None
    assert (before.state, new.state) == (OutcomeState.SUPERSEDED, OutcomeState.RESULT)
    assert (new.revision, new.run_number) == (before.revision, before.run_number + 1)
    assert findings.of_outcome(db, new.id) == findings.of_outcome(db, old)
    assert outcomes.inputs(db, new.id) == outcomes.inputs(db, old)
    assert [each.kind for each in artifacts.of_outcome(db, new.id)] == ["mask"]
    assert work_items.state(db, WorkKind.REPORT, new.id) is WorkState.READY
    assert work_items.state(db, WorkKind.INFER, new.id) is None
    assert [each.verdict for each in changed.changes_of_outcome(db, NOW, new.id)] == [Verdict.GROWN]


def test_it_is_written_again_once(db: Database, clock: FakeClock) -> None:
    written(db, clock, read(db, clock, NOW, "20260101", measured(1439.0)))
    read(db, clock, LONG_BEFORE, "20251230", measured(1180.0))
    compare(db, clock)
    again = now_of(db).id
    written(db, clock, again)
    read(db, clock, BEFORE, "20251231", measured(1900.0))
    assert BEFORE in compare(db, clock)
    assert verdicts(db) == [Verdict.SHRUNK]
    assert now_of(db).id == again


@pytest.mark.parametrize("why", ["stable", "final", "not written", "freed"])
def test_it_is_left_as_it_is(db: Database, clock: FakeClock, why: str) -> None:
    old = read(db, clock, NOW, "20260101", measured(1439.0))
    if why != "not written":
        written(db, clock, old)
    with db.transaction():
        if why == "final":
            db.execute("UPDATE study SET report_state = ? WHERE study_instance_uid = ?", (ReportState.FINAL, NOW))
        if why == "freed":
            db.execute("UPDATE instance SET freed_at = 'then' WHERE study_instance_uid = ?", (NOW,))
    read(db, clock, BEFORE, "20251231", measured(1439.0 if why == "stable" else 1180.0))
    assert compare(db, clock) == [BEFORE]
    assert now_of(db).id == old


def test_what_was_compared_with_it_stays_compared(db: Database, clock: FakeClock) -> None:
    written(db, clock, read(db, clock, NOW, "20260101", measured(1439.0)))
    read(db, clock, "1.2.3.99", "20260102", measured(1000.0))
    compare(db, clock)
    read(db, clock, BEFORE, "20251231", measured(1180.0))
    assert compare(db, clock) == [BEFORE]
    assert verdicts(db) == [Verdict.GROWN]
    assert verdicts(db, "1.2.3.99") == [Verdict.SHRUNK]
    assert work_items.open_subjects(db, WorkKind.COMPARE, limit=1) == []
