"""The old set is taken back once the new one is where it was sent, and not before."""

from __future__ import annotations

from typing import Any

import pytest

from node.domain.study import StudyState
from node.domain.work import OutcomeState, ResultState, WorkKind
from node.errors import Failed
from node.report.outputs import outputs
from node.store import artifacts, outbox, outcomes, studies, withdrawal_notes, work_items
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.workflow import operations, reading, withdrawal
from node.workflow.closing import close_due
from node.workflow.identity import gate
from node.workflow.policy import Policy
from node.workflow.reportable import STUDY_KINDS
from node.workflow.supersession import take_back_superseded
from tests.fakes import PATIENT, STUDY, FakeClock, arrive, model, policy, slice_of
from tests.workflow.test_reading import QUIET_S, begun, closed_study, read, report


def site(rejection: str = "113001", **changes: Any) -> Policy:
    """A node whose scanner's results go to one archive that takes rejection notes."""
    used = policy(model())
    peers = tuple(
        each.model_copy(update={"rejection": rejection, "confirm": "ask"} | changes) if each.name == "PACS" else each
        for each in used.settings.peers
    )
    return Policy(used.settings.model_copy(update={"peers": peers}), used.models, used.rules)


USED = site()


def move(db: Database, clock: FakeClock, rows: list[OutboxRow], *states: ResultState) -> None:
    with db.transaction():
        for row in rows:
            for state in states:
                assert outbox.move(db, clock.now(), row, state, "test")


def first_set(db: Database, clock: FakeClock, used: Policy = USED) -> list[OutboxRow]:
    """Two results of the first revision that the archive has committed."""
    closed_study(db, clock, used)
    read(db, clock, used)
    rows = report(db, clock, used)
    move(db, clock, rows, ResultState.SENT, ResultState.COMMITTED)
    return rows


def another_slice(db: Database, clock: FakeClock, used: Policy = USED) -> None:
    arrive(db, clock.now(), slice_of(6))
    assert close_due(db, clock.forward(QUIET_S), used) == 1


def second_set(db: Database, clock: FakeClock, used: Policy = USED) -> list[OutboxRow]:
    another_slice(db, clock, used)
    read(db, clock, used)
    return report(db, clock, used, uid="2.25.6")[2:]


def states(db: Database, rows: list[OutboxRow]) -> list[ResultState]:
    now = {row.id: row.state for row in outbox.of_study(db, STUDY)}
    return [now[row.id] for row in rows]


def take_back(db: Database, clock: FakeClock, used: Policy = USED) -> int:
    return take_back_superseded(db, clock.now(), used)


def test_the_old_set_goes_as_a_whole_once_the_new_one_is_committed(db: Database, clock: FakeClock) -> None:
    old = first_set(db, clock)
    new = second_set(db, clock)
    assert take_back(db, clock) == 0
    move(db, clock, new, ResultState.SENT)
    assert take_back(db, clock) == 0  # accepted is not kept
    move(db, clock, new[:1], ResultState.COMMITTED)
    assert take_back(db, clock) == 0
    move(db, clock, new[1:], ResultState.COMMITTED)
    assert take_back(db, clock) == 2
    assert states(db, old) == [ResultState.WITHDRAWN] * 2
    assert states(db, new) == [ResultState.COMMITTED] * 2
    [note] = withdrawal_notes.of_study(db, STUDY)
    assert (note.destination, note.title) == ("PACS", "113001")
    assert [each.sop_instance_uid for each in withdrawal_notes.named_by(db, note.id)] == ["2.25.50", "2.25.51"]
    assert work_items.open_subjects(db, WorkKind.REJECT, limit=9) == [str(note.id)]
    assert take_back(db, clock) == 0


def test_where_nothing_confirms_what_was_sent_has_arrived(db: Database, clock: FakeClock) -> None:
    used = site(confirm="none")
    first_set(db, clock, used)
    move(db, clock, second_set(db, clock, used), ResultState.SENT)
    assert take_back(db, clock, used) == 2


def test_a_destination_without_notes_keeps_the_old_set_and_the_administrator_is_told(
    db: Database, clock: FakeClock
) -> None:
    used = site("")
    old = first_set(db, clock, used)
    move(db, clock, second_set(db, clock, used), ResultState.SENT, ResultState.COMMITTED)
    assert take_back(db, clock, used) == 2
    assert states(db, old) == [ResultState.SUPERSEDED] * 2
    assert withdrawal_notes.of_study(db, STUDY) == []
    left = withdrawal_notes.standing_elsewhere(db)
    assert [(each.sop_instance_uid, each.destination) for each in left] == [("2.25.50", "PACS"), ("2.25.51", "PACS")]


@pytest.mark.parametrize("state", [ResultState.QUEUED, ResultState.HELD, ResultState.DEAD])
def test_while_any_of_the_new_set_has_not_arrived_the_old_one_stays(
    db: Database, clock: FakeClock, state: ResultState
) -> None:
    old = first_set(db, clock)
    new = second_set(db, clock)
    move(db, clock, new[:1], ResultState.SENT, ResultState.COMMITTED)
    move(db, clock, new[1:], state)
    assert take_back(db, clock) == 0
    assert states(db, old) == [ResultState.COMMITTED] * 2


def test_what_was_refused_before_is_not_waited_for(db: Database, clock: FakeClock) -> None:
    closed_study(db, clock, USED)
    read(db, clock, USED)
    seg, sr = report(db, clock, USED)
    move(db, clock, [seg], ResultState.DEAD)
    move(db, clock, [sr], ResultState.SENT, ResultState.COMMITTED)
    seg, sr = second_set(db, clock)
    move(db, clock, [seg], ResultState.DEAD)
    move(db, clock, [sr], ResultState.SENT, ResultState.COMMITTED)
    assert take_back(db, clock) == 1


def test_a_model_that_has_failed_on_the_study_as_it_is_leaves_nothing_standing(db: Database, clock: FakeClock) -> None:
    old = first_set(db, clock)
    another_slice(db, clock)
    item = begun(db, clock)
    assert take_back(db, clock) == 0  # it is at it
    with db.transaction():
        reading.reject(db, clock.now(), USED, item, Failed("NaN"))
    assert take_back(db, clock) == 2
    assert states(db, old) == [ResultState.WITHDRAWN] * 2
    [note] = withdrawal_notes.of_study(db, STUDY)
    assert note.reason == "the model has no result for the study as it is now"


def test_a_held_study_is_left_alone(db: Database, clock: FakeClock) -> None:
    first_set(db, clock)
    move(db, clock, second_set(db, clock), ResultState.SENT, ResultState.COMMITTED)
    with db.transaction():
        studies.move(db, clock.now(), STUDY, StudyState.HELD, "two patients")
    assert take_back(db, clock) == 0


def test_an_old_summary_of_all_models_goes_although_its_own_model_stands(db: Database, clock: FakeClock) -> None:
    first_set(db, clock)
    [first] = {each.id for each in outcomes.current(db, STUDY)}
    new = second_set(db, clock)
    with db.transaction():
        for number in range(2):
            outcome_id = outcomes.current(db, STUDY)[0].id
            made = artifacts.record(
                db,
                clock.now(),
                outcome_id=outcome_id,
                kind="secondary_capture",
                profile=f"p{number}",
                path=f"results/sc{number}",
                size=1,
                digest="",
                sop_instance_uid=f"2.25.9{number}",
                sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
            )
            outbox.add(db, clock.now(), artifact_id=made, study=STUDY, destination="PACS")
    captures = [row for row in outbox.of_study(db, STUDY) if row.kind == "secondary_capture"]
    move(db, clock, [*new, captures[0]], ResultState.SENT, ResultState.COMMITTED)
    assert take_back(db, clock) == 0
    move(db, clock, captures[1:], ResultState.SENT, ResultState.COMMITTED)
    assert take_back(db, clock) == 3
    assert states(db, captures) == [ResultState.WITHDRAWN, ResultState.COMMITTED]
    assert first not in {row.outcome_id for row in captures}


def test_the_kinds_of_all_models_together_are_those_of_the_outputs() -> None:
    assert {kind for kind, output in outputs().items() if output.SCOPE == "study"} <= STUDY_KINDS


def test_a_withdrawal_by_a_person_is_told_where_it_was_sent_and_only_there(db: Database, clock: FakeClock) -> None:
    closed_study(db, clock, USED)
    read(db, clock, USED)
    seg, _ = report(db, clock, USED)
    move(db, clock, [seg], ResultState.SENT)
    done = operations.withdraw(db, clock.now(), USED, STUDY, "motion")
    assert done[-1] == "PACS is told by a rejection note: Rejected for Quality Reasons (113001, DCM)"
    [note] = withdrawal_notes.of_study(db, STUDY)
    assert [each.sop_instance_uid for each in withdrawal_notes.named_by(db, note.id)] == [seg.sop_instance_uid]
    assert note.reason == "withdrawn by a person: motion"
    assert withdrawal_notes.standing_elsewhere(db) == []


def test_what_arrives_after_it_was_withdrawn_is_taken_back_too(db: Database, clock: FakeClock) -> None:
    closed_study(db, clock, USED)
    read(db, clock, USED)
    seg, _ = report(db, clock, USED)
    operations.withdraw(db, clock.now(), USED, STUDY, "")
    assert withdrawal_notes.of_study(db, STUDY) == []
    with db.transaction():
        for _ in range(2):
            pacs = USED.settings.peer_named("PACS")
            assert pacs is not None
            withdrawal.arrived(db, clock.now(), pacs, seg)
    [note] = withdrawal_notes.of_study(db, STUDY)
    assert [each.outbox_id for each in withdrawal_notes.named_by(db, note.id)] == [seg.id]


def test_only_the_results_of_the_chosen_model_version_are_withdrawn(db: Database, clock: FakeClock) -> None:
    first_set(db, clock)
    with pytest.raises(Failed, match="nothing to take back"):
        operations.withdraw(db, clock.now(), USED, STUDY, "", lambda outcome: outcome.model_digest == "other")
    assert operations.withdraw(db, clock.now(), USED, STUDY, "", lambda outcome: outcome.model_digest == "m" * 64)


def queued_note(db: Database, clock: FakeClock) -> OutboxRow:
    """The note over a withdrawn set, as the report room leaves it."""
    first_set(db, clock)
    operations.withdraw(db, clock.now(), USED, STUDY, "")
    [note] = withdrawal_notes.of_study(db, STUDY)
    [outcome] = outcomes.current(db, STUDY)
    with db.transaction():
        made = artifacts.record(
            db, clock.now(), outcome_id=outcome.id, kind="rejection_note", path="results/n", size=1, digest=""
        )
        withdrawal_notes.queue(db, clock.now(), note.id, made)
    [row] = [row for row in outbox.of_study(db, STUDY) if row.kind == "rejection_note"]
    return row


def test_a_note_passes_the_gate_that_stops_every_result_of_a_withdrawn_outcome(db: Database, clock: FakeClock) -> None:
    row = queued_note(db, clock)
    assert row.destination == "PACS"
    assert gate(db, USED, row, PATIENT).is_open
    closed = gate(db, site(""), row, PATIENT)
    assert (closed.state, "takes no rejection notes" in closed.reason) == (ResultState.HELD, True)


def test_a_note_outlives_the_run_that_takes_the_place_of_what_it_names(db: Database, clock: FakeClock) -> None:
    row = queued_note(db, clock)
    assert operations.force(db, clock.now(), USED, STUDY) == ["brain runs again"]
    assert states(db, [row]) == [ResultState.QUEUED]
    [outcome] = outcomes.current(db, STUDY)
    assert outcome.state is OutcomeState.PENDING
    operations.withdraw(db, clock.now(), USED, STUDY, "")
    assert states(db, [row]) == [ResultState.QUEUED]


def a_summary(db: Database, clock: FakeClock, outcome_id: int) -> OutboxRow:
    """A page of all models, written for one of them, that the archive has."""
    with db.transaction():
        made = artifacts.record(
            db,
            clock.now(),
            outcome_id=outcome_id,
            kind="secondary_capture",
            path="results/page",
            size=1,
            digest="",
            sop_instance_uid="2.25.99",
            sop_class_uid="1.2.840.10008.5.1.4.1.1.7",
        )
        outbox.add(db, clock.now(), artifact_id=made, study=STUDY, destination="PACS")
    [row] = [row for row in outbox.of_study(db, STUDY) if row.kind == "secondary_capture"]
    move(db, clock, [row], ResultState.SENT)
    return row


def test_a_page_of_all_models_is_taken_back_with_each_of_them_whichever_it_was_written_for(
    db: Database, clock: FakeClock
) -> None:
    one = site()
    both = (model(), model(name="lung"))
    live = policy(*both).settings.models
    used = Policy(one.settings.model_copy(update={"models": live}), both, ())
    closed_study(db, clock, used)
    ids = [read(db, clock, used) for _ in both]
    rows = report(db, clock, used, uid="2.25.5") and report(db, clock, used, uid="2.25.6")
    move(db, clock, rows, ResultState.SENT)
    page = a_summary(db, clock, ids[1])
    operations.withdraw(db, clock.now(), used, STUDY, "", lambda outcome: outcome.id == ids[0])
    assert states(db, [page]) == [ResultState.WITHDRAWN]
    [note] = withdrawal_notes.of_study(db, STUDY)
    assert {each.sop_instance_uid for each in withdrawal_notes.named_by(db, note.id)} == {
        *(row.sop_instance_uid for row in rows if row.outcome_id == ids[0]),
        "2.25.99",
    }
    assert states(db, [row for row in rows if row.outcome_id == ids[1]]) == [ResultState.SENT] * 2


def test_a_page_that_was_made_after_a_newer_run_stays(db: Database, clock: FakeClock) -> None:
    first_set(db, clock)
    [old] = outcomes.of_study(db, STUDY)
    clock.forward(1)
    second_set(db, clock)
    [new] = outcomes.current(db, STUDY)
    page = a_summary(db, clock, new.id)
    operations.withdraw(db, clock.now(), USED, STUDY, "", lambda outcome: outcome.id == old.id)
    assert states(db, [page]) == [ResultState.SENT]


@pytest.mark.parametrize("again", [ResultState.QUEUED, ResultState.DEAD])
def test_what_a_destination_has_and_was_to_be_sent_again_is_taken_back_too(
    db: Database, clock: FakeClock, again: ResultState
) -> None:
    closed_study(db, clock, USED)
    read(db, clock, USED)
    seg, _ = report(db, clock, USED)
    move(db, clock, [seg], ResultState.SENT)
    [seg] = [row for row in outbox.of_study(db, STUDY) if row.id == seg.id]
    move(db, clock, [seg], again)
    operations.withdraw(db, clock.now(), USED, STUDY, "")
    [note] = withdrawal_notes.of_study(db, STUDY)
    assert [each.outbox_id for each in withdrawal_notes.named_by(db, note.id)] == [seg.id]


def test_a_page_that_shows_what_a_model_finds_no_longer_goes_with_it(db: Database, clock: FakeClock) -> None:
    one = site(confirm="none")
    both = (model(), model(name="lung"))
    live = policy(*both).settings.models
    used = Policy(one.settings.model_copy(update={"models": live}), both, ())
    closed_study(db, clock, used)
    ids = [read(db, clock, used) for _ in both]
    rows = report(db, clock, used, uid="2.25.5") and report(db, clock, used, uid="2.25.6")
    move(db, clock, rows, ResultState.SENT)
    page = a_summary(db, clock, ids[1])
    [old] = [each for each in outcomes.current(db, STUDY) if each.id == ids[0]]
    clock.forward(60)
    with db.transaction():
        outcomes.move(db, clock.now(), old.id, OutcomeState.SUPERSEDED, "its input changed")
        outcomes.add(
            db,
            clock.now(),
            study=STUDY,
            revision=2,
            run_number=1,
            model=old.model,
            mode=old.mode,
            model_digest=old.model_digest,
            card_digest=old.card_digest,
            series_instance_uid="",
            content_digest="",
            series=(),
            state=OutcomeState.NOT_APPLICABLE,
        )
    assert take_back(db, clock, used) == 3
    assert states(db, [page]) == [ResultState.WITHDRAWN]
    assert states(db, [row for row in rows if row.outcome_id == ids[1]]) == [ResultState.SENT] * 2
    [note] = withdrawal_notes.of_study(db, STUDY)
    assert note.reason == "the model has no result for the study as it is now"
    assert take_back(db, clock, used) == 0
