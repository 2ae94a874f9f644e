from __future__ import annotations

import json
from dataclasses import replace

import pytest

from node.domain.model_card import Mode
from node.domain.study import StudyState
from node.domain.work import OutcomeState, ResultState, WorkKind, WorkState
from node.errors import Failed, Unsuitable
from node.store import artifacts, findings, outbox, outcomes, studies, withdrawal_notes, work_items
from node.store.database import Database
from node.store.work_items import WorkItem
from node.workflow import operations, reading, recovery, reporting
from node.workflow.closing import close_due
from node.workflow.identity import gate
from node.workflow.policy import Policy
from node.workflow.reading import MadeFile
from node.workflow.reporting import BuiltResult
from node.workflow.story import study_story
from tests.fakes import PATIENT, STUDY, FakeClock, arrive, model, policy, slice_of, volume_finding

QUIET_S = 601.0


def closed_study(db: Database, clock: FakeClock, used: Policy, *, sources: tuple[str, ...] = ("SCANNER",)) -> None:
    for number in range(6):
        arrive(db, clock.now(), slice_of(number), source=sources[number % len(sources)])
    assert close_due(db, clock.forward(QUIET_S), used) == 1


def mask(item: WorkItem) -> MadeFile:
    return MadeFile(kind="mask", path=f"masks/{item.subject}.npz", size=10, digest="d" * 64)


def begun(db: Database, clock: FakeClock) -> WorkItem:
    (item,) = work_items.claim(db, clock.now(), WorkKind.INFER, "infer:1", 30)
    with db.transaction():
        assert reading.begin(db, clock.now(), item) is not None
    return item


def read(db: Database, clock: FakeClock, used: Policy) -> int:
    item = begun(db, clock)
    with db.transaction():
        assert reading.complete(db, clock.now(), used, item, [volume_finding()], [mask(item)], {"model_s": 1.0})
    return int(item.subject)


def report(db: Database, clock: FakeClock, used: Policy, uid: str = "2.25.5") -> list[outbox.OutboxRow]:
    (item,) = work_items.claim(db, clock.now(), WorkKind.REPORT, "report:1", 30)
    built = [
        BuiltResult(
            kind=kind,
            profile="standard",
            path=f"results/{uid}{number}.dcm",
            size=1,
            digest="",
            sop_instance_uid=f"{uid}{number}",
            sop_class_uid="1.2",
        )
        for number, kind in enumerate(("seg", "measurement_sr"))
    ]
    with db.transaction():
        assert reporting.complete(db, clock.now(), used, item, built)
    return outbox.of_study(db, STUDY)


def state(db: Database) -> StudyState:
    study = studies.study(db, STUDY)
    assert study is not None
    return study.state


def test_a_result_is_handed_on_and_queued_for_the_sources_destinations_only(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    closed_study(db, clock, used)
    outcome_id = read(db, clock, used)
    assert state(db) is StudyState.READING
    assert findings.of_outcome(db, outcome_id) == [volume_finding()]
    assert [each.path for each in artifacts.of_outcome(db, outcome_id)] == [f"masks/{outcome_id}.npz"]
    rows = report(db, clock, used)
    assert [(row.kind, row.destination, row.state) for row in rows] == [
        ("seg", "PACS", ResultState.QUEUED),
        ("measurement_sr", "PACS", ResultState.QUEUED),
    ]
    assert state(db) is StudyState.DONE


@pytest.mark.parametrize(
    ("sources", "expected"),
    [(("OTHER",), {"PACS2"}), (("SCANNER", "OTHER"), set()), (("import",), set()), (("SCANNER", "import"), set())],
)
def test_no_result_crosses_from_one_source_to_anothers_destination(
    db: Database, clock: FakeClock, sources: tuple[str, ...], expected: set[str]
) -> None:
    used = policy(model())
    closed_study(db, clock, used, sources=sources)
    read(db, clock, used)
    assert {row.destination for row in report(db, clock, used)} == expected


def test_a_shadow_model_stores_and_stays_silent(db: Database, clock: FakeClock) -> None:
    used = policy(model(Mode.SHADOW))
    closed_study(db, clock, used)
    outcome_id = read(db, clock, used)
    assert len(findings.of_outcome(db, outcome_id)) == 1
    assert work_items.state(db, WorkKind.REPORT, outcome_id) is None
    assert state(db) is StudyState.DONE


def test_what_does_not_suit_is_not_applicable_and_what_cannot_succeed_has_failed(
    db: Database, clock: FakeClock
) -> None:
    for study_number, (error, expected) in enumerate(
        ((Unsuitable("a gap"), OutcomeState.NOT_APPLICABLE), (Failed("NaN"), OutcomeState.FAILED))
    ):
        uid = f"1.2.4.{study_number}"
        for number in range(3):
            arrive(db, clock.now(), slice_of(number, study=uid, series=f"{uid}.1"))
        used = policy(model())
        close_due(db, clock.forward(QUIET_S), used)
        item = begun(db, clock)
        with db.transaction():
            reading.reject(db, clock.now(), used, item, error)
        (outcome,) = outcomes.current(db, uid)
        assert (outcome.state, outcome.reason) == (expected, str(error))
        study = studies.study(db, uid)
        assert study is not None
        assert study.state is StudyState.DONE


def test_three_deaths_end_in_a_failed_outcome_and_retry_keeps_the_run_number(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    closed_study(db, clock, used)
    for _ in range(3):
        item = begun(db, clock)
        with db.transaction():
            reading.died(db, clock.now(), used, item, "the model's child was killed by signal 11")
        clock.forward(60)
    (outcome,) = outcomes.current(db, STUDY)
    assert outcome.state is OutcomeState.FAILED
    assert "signal 11" in outcome.reason
    assert operations.retry(db, clock.now(), used, STUDY) == ["brain is tried again"]
    read(db, clock, used)
    (outcome,) = outcomes.current(db, STUDY)
    assert (outcome.state, outcome.run_number) == (OutcomeState.RESULT, 1)


def test_a_forced_run_adds_one_to_the_run_number_and_supersedes(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    closed_study(db, clock, used)
    first = read(db, clock, used)
    rows = report(db, clock, used)
    assert operations.force(db, clock.now(), used, STUDY) == ["brain runs again"]
    second = read(db, clock, used)
    (outcome,) = outcomes.current(db, STUDY)
    assert (outcome.id, outcome.run_number, outcome.revision) == (second, 2, 1)
    assert second != first
    assert gate(db, used, rows[0], PATIENT).state is ResultState.SUPERSEDED


def test_a_killed_rooms_items_are_ready_at_once_and_count_no_death(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    closed_study(db, clock, used)
    for _ in range(5):
        assert begun(db, clock).attempts == 1
        assert recovery.take_back(db, clock.now(), "infer:", (WorkKind.INFER,)) == 1
        assert outcomes.current(db, STUDY)[0].state is OutcomeState.PENDING
    read(db, clock, used)
    assert outcomes.current(db, STUDY)[0].state is OutcomeState.RESULT


def test_a_room_that_dies_again_and_again_over_one_item_parks_it(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    closed_study(db, clock, used)
    for _ in range(21):
        begun(db, clock)
        recovery.take_back(db, clock.now(), "infer:", (WorkKind.INFER,))
    assert outcomes.current(db, STUDY)[0].state is OutcomeState.FAILED
    assert state(db) is StudyState.DONE


def test_an_expired_lease_counts_a_death(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    closed_study(db, clock, used)
    item = begun(db, clock)
    assert recovery.recover_expired(db, clock.forward(31), used) == 1
    (again,) = work_items.claim(db, clock.forward(60), WorkKind.INFER, "infer:2", 30)
    assert (again.id, again.attempts) == (item.id, 2)


def test_a_worker_that_lost_its_item_writes_nothing(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    closed_study(db, clock, used)
    lost = begun(db, clock)
    recovery.recover_expired(db, clock.forward(31), used)
    with db.transaction():
        assert not reading.complete(db, clock.now(), used, lost, [volume_finding()], [mask(lost)], {})
    assert findings.of_outcome(db, int(lost.subject)) == []


def test_an_item_whose_outcome_was_superseded_is_not_begun(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    closed_study(db, clock, used)
    (item,) = work_items.claim(db, clock.now(), WorkKind.INFER, "infer:1", 30)
    with db.transaction():
        outcomes.move(db, clock.now(), int(item.subject), OutcomeState.SUPERSEDED, "newer")
        assert reading.begin(db, clock.now(), item) is None
    assert work_items.state(db, WorkKind.INFER, item.subject) is WorkState.FINISHED


def failed_and_told(db: Database, clock: FakeClock) -> tuple[Policy, WorkItem]:
    """A model that has failed, and the item by which a worklist is told."""
    worklist = {"name": "WORKLIST", "ae_title": "WL", "roles": ["destination", "worklist"], "rejection": "113001"}
    used = policy(model(), more_peers=({**worklist, "host": "127.0.0.1", "port": 4243},))
    told = {"results_to": ("PACS", "WORKLIST")}
    peers = tuple(each.model_copy(update=told) if each.name == "SCANNER" else each for each in used.settings.peers)
    used = Policy(used.settings.model_copy(update={"peers": peers}), used.models, used.rules)
    closed_study(db, clock, used)
    for _ in range(3):
        item = begun(db, clock)
        with db.transaction():
            reading.died(db, clock.now(), used, item, "the model's child was killed by signal 11")
        clock.forward(60)
    [item] = work_items.claim(db, clock.now(), WorkKind.REPORT, "report:1", 30)
    return used, item


NOT_READ = BuiltResult(
    kind="not_performed_sr",
    profile="standard",
    path="results/2.25.9.dcm",
    size=1,
    digest="",
    sop_instance_uid="2.25.9",
    sop_class_uid="1.2",
)


def test_a_model_that_reads_after_it_has_failed_is_reported_and_what_was_told_is_taken_back(
    db: Database, clock: FakeClock
) -> None:
    used, item = failed_and_told(db, clock)
    with db.transaction():
        assert reporting.complete(db, clock.now(), used, item, [NOT_READ])
        [told] = outbox.of_study(db, STUDY)
        assert outbox.move(db, clock.now(), told, ResultState.SENT, "")
    operations.retry(db, clock.now(), used, STUDY)
    read(db, clock, used)
    rows = {(row.kind, row.destination): row.state for row in report(db, clock, used)}
    assert rows["not_performed_sr", "WORKLIST"] is ResultState.WITHDRAWN
    assert rows["seg", "PACS"] is rows["seg", "WORKLIST"] is ResultState.QUEUED
    [note] = withdrawal_notes.of_study(db, STUDY)
    assert (note.destination, note.reason) == ("WORKLIST", "the model has read the study after all")


def test_that_a_model_has_failed_is_told_no_more_once_it_is_tried_again(db: Database, clock: FakeClock) -> None:
    used, item = failed_and_told(db, clock)
    operations.retry(db, clock.now(), used, STUDY)
    read(db, clock, used)
    with db.transaction():
        assert not reporting.complete(db, clock.now(), used, item, [NOT_READ])
    assert {row.kind for row in report(db, clock, used)} == {"seg", "measurement_sr"}


def test_a_report_that_failed_is_built_again_of_the_result(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    closed_study(db, clock, used)
    read(db, clock, used)
    [item] = work_items.claim(db, clock.now(), WorkKind.REPORT, "report:1", 30)
    with db.transaction():
        reading.reject(db, clock.now(), used, item, Failed("no place on the disk"))
    assert outcomes.current(db, STUDY)[0].state is OutcomeState.FAILED
    assert operations.retry(db, clock.now(), used, STUDY) == ["the report of brain is built again"]
    assert outcomes.current(db, STUDY)[0].state is OutcomeState.RESULT
    assert len(report(db, clock, used)) == 2


def test_what_is_said_of_how_a_result_was_computed_is_kept_with_it_and_told(db: Database, clock: FakeClock):
    used = policy(model())
    closed_study(db, clock, used)
    item = begun(db, clock)
    note = "Too little memory: computed in smaller windows."
    account = {"method": "grad-cam", "layer": "conv", "target": "brain", "figures": {"deletion_auc": 0.214}}
    saliency = MadeFile(
        kind="saliency",
        path="masks/one.saliency.npz",
        size=3,
        digest="e" * 64,
        profile="grad-cam/brain",
        account=json.dumps(account),
    )
    made = [mask(item), saliency]
    with db.transaction():
        assert reading.complete(db, clock.now(), used, item, [volume_finding()], made, {}, [note])
    outcome = outcomes.outcome(db, int(item.subject))
    assert outcome is not None
    assert outcome.notes == (note,)
    assert [each.kind for each in artifacts.of_outcome(db, outcome.id)] == ["mask", "saliency"]
    told = study_story(db, STUDY)
    assert told is not None
    assert told["outcomes"][0]["notes"] == [note]
    (explained,) = told["outcomes"][0]["explanations"]
    assert explained["sentence"] == "grad-cam at conv of brain: deletion 0.21"
    assert explained["figures"] == {"deletion_auc": 0.214}
    # Explained again, it takes its own place.
    with db.transaction():
        reading.keep(
            db, clock.now(), outcome.id, replace(saliency, size=4, account=json.dumps({**account, "figures": {}}))
        )
    told = study_story(db, STUDY)
    assert told is not None
    (explained,) = told["outcomes"][0]["explanations"]
    assert explained["sentence"].endswith("its faithfulness was not measured")


@pytest.mark.parametrize("attempts", [1, work_items.MAXIMUM_ATTEMPTS])
@pytest.mark.parametrize("read_first", [True, False])
def test_who_lost_a_study_to_another_room_cannot_undo_what_that_one_does(
    db: Database, clock: FakeClock, attempts: int, read_first: bool
):
    used = policy(model())
    closed_study(db, clock, used)
    db.execute("UPDATE work_item SET attempts = ? WHERE kind = 'infer'", (attempts - 1,))
    lost = begun(db, clock)
    recovery.take_back(db, clock.now(), "infer:", (WorkKind.INFER,))
    (item,) = work_items.claim(db, clock.now(), WorkKind.INFER, "infer:2", 30)
    with db.transaction():
        assert reading.begin(db, clock.now(), item) is not None

    def die() -> None:
        with db.transaction():
            reading.died(db, clock.now(), used, lost, "its model died")
            assert not work_items.give_back(db, clock.now(), lost, "stopped")

    if not read_first:
        die()
    with db.transaction():
        assert reading.complete(db, clock.now(), used, item, [volume_finding()], [mask(item)], {})
    if read_first:
        die()
    found = outcomes.outcome(db, int(item.subject))
    assert found is not None
    assert found.state is OutcomeState.RESULT
