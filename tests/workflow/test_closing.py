from __future__ import annotations

import pytest

from node.domain.patient import Patient
from node.domain.study import Order, StudyState
from node.domain.work import OutcomeState, WorkKind, WorkState
from node.store import events, instances, outcomes, studies, versions, work_items
from node.store.database import Database
from node.store.outcomes import Outcome
from node.store.studies import StudyRow
from node.workflow import operations
from node.workflow.closing import close_due
from tests.fakes import SERIES, SR, STUDY, FakeClock, arrive, model, policy, slice_of

QUIET_S = 601.0  # MR: 600 s


def send(db: Database, clock: FakeClock, count: int = 5, first: int = 0, **more: object) -> None:
    for number in range(first, first + count):
        arrive(db, clock.now(), slice_of(number, **more))  # type: ignore[arg-type]


def the_study(db: Database) -> StudyRow:
    study = studies.study(db, STUDY)
    assert study is not None
    return study


def the_outcome(db: Database) -> Outcome:
    (outcome,) = outcomes.current(db, STUDY)
    return outcome


def test_a_study_closes_only_after_its_modalitys_quiet_time(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    assert close_due(db, clock.forward(599), policy(model())) == 0
    send(db, clock, 1, first=5)
    assert close_due(db, clock.forward(599), policy(model())) == 0
    assert close_due(db, clock.forward(2), policy(model())) == 1
    assert (the_study(db).state, the_study(db).revision) == (StudyState.WAITING, 1)
    outcome = the_outcome(db)
    assert (outcome.state, outcome.series_instance_uid) == (OutcomeState.PENDING, SERIES)
    assert len(outcomes.inputs(db, outcome.id)) == 6
    assert work_items.state(db, WorkKind.INFER, outcome.id) is WorkState.READY


def test_a_step_of_the_wall_clock_closes_nothing(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    clock.wall = clock.wall.replace(year=2027)
    assert close_due(db, clock.now(), policy(model())) == 0


def test_a_study_waits_until_everything_is_described(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    arrive(db, clock.now(), slice_of(9), describe=False)
    assert close_due(db, clock.forward(QUIET_S), policy(model())) == 0


def test_the_forced_end_closes_what_never_goes_quiet(db: Database, clock: FakeClock) -> None:
    for number in range(8):
        send(db, clock, 1, first=number)
        assert close_due(db, clock.forward(500), policy(model())) == (1 if number == 7 else 0)
    assert "closed 3600 s after" in [e.reason for e in events.of_study(db, STUDY) if e.about == "revision"][0]


def test_a_late_slice_opens_the_next_revision_and_supersedes_the_result(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    close_due(db, clock.forward(QUIET_S), policy(model()))
    first = the_outcome(db)
    send(db, clock, 1, first=5)
    close_due(db, clock.forward(QUIET_S), policy(model()))
    second = the_outcome(db)
    assert the_study(db).revision == second.revision == 2
    assert second.content_digest != first.content_digest
    before = outcomes.outcome(db, first.id)
    assert before is not None
    assert before.state is OutcomeState.SUPERSEDED
    assert work_items.state(db, WorkKind.INFER, first.id) is WorkState.CANCELLED


def test_late_instances_that_no_model_reads_are_filed_without_a_revision(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    close_due(db, clock.forward(QUIET_S), policy(model()))
    first = the_outcome(db)
    arrive(db, clock.now(), slice_of(1, series="1.2.3.1.8", modality="CT"))
    assert close_due(db, clock.forward(QUIET_S), policy(model())) == 1
    assert the_study(db).revision == 1
    assert the_outcome(db).id == first.id
    assert {str(each["series_instance_uid"]) for each in the_outcome(db).series} == {SERIES, "1.2.3.1.8"}
    assert "no model's input changed" in [e.reason for e in events.of_study(db, STUDY) if e.about == "revision"][-1]


def test_documents_coming_back_start_nothing(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    close_due(db, clock.forward(QUIET_S), policy(model()))
    arrive(db, clock.now(), slice_of(1, series="1.2.3.1.9", sop_class_uid=SR, plane=None, pixels=None))
    assert close_due(db, clock.forward(QUIET_S), policy(model())) == 0
    assert the_study(db).revision == 1


def test_re_encoded_instances_are_no_change(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    close_due(db, clock.forward(QUIET_S), policy(model()))
    first = the_outcome(db)
    for number in range(5):
        arrive(db, clock.now(), slice_of(number), version="re-encoded")
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert the_outcome(db).id == first.id
    assert not versions.has_stale_input(db, first.id)


def test_order_and_associations_of_the_instances_make_no_difference(db: Database, clock: FakeClock) -> None:
    digests = set()
    for study, numbers in (("1.2.7.1", [0, 1, 2, 3]), ("1.2.7.1", [3, 1, 0, 2])):
        uid = f"{study}.{len(digests)}"
        for place, number in enumerate(numbers):
            source = ("SCANNER", "OTHER")[place % 2]
            for series in ("5", "6"):
                came = slice_of(number, study=uid, series=f"1.2.7.{series}", modality="MR" if series == "5" else "CT")
                arrive(db, clock.now(), came, source=source, version=uid)
        close_due(db, clock.forward(QUIET_S), policy(model()))
        (outcome,) = outcomes.current(db, uid)
        assert (outcome.revision, outcome.run_number, outcome.series_instance_uid) == (1, 1, "1.2.7.5")
        digests.add(outcome.content_digest)
    assert len(digests) == 1


def test_the_same_bytes_again_do_not_even_open_the_study(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    close_due(db, clock.forward(QUIET_S), policy(model()))
    send(db, clock)
    assert not the_study(db).open
    assert len(instances.of_study(db, STUDY, current_only=False)) == 5


def test_content_that_comes_back_gets_a_run_number_of_its_own(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    numbers = []
    for version, content in (("", ""), ("b", "other"), ("c", f"content-{SERIES}.0")):
        arrive(db, clock.now(), slice_of(0, content=content), version=version)
        close_due(db, clock.forward(QUIET_S), policy(model()))
        numbers.append((the_outcome(db).revision, the_outcome(db).run_number))
    assert numbers == [(1, 1), (2, 1), (3, 2)]


def test_two_patients_in_one_study_hold_it_and_nothing_is_read(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    arrive(db, clock.now(), slice_of(5, patient=Patient(patient_id="P2", issuer="A")))
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert the_study(db).state is StudyState.HELD
    assert "different patients: Patient ID differs" in the_study(db).reason
    assert "P2" not in the_study(db).reason
    assert outcomes.current(db, STUDY) == []
    assert close_due(db, clock.forward(QUIET_S), policy(model())) == 0


def test_a_released_study_is_held_again_while_the_conflict_stands(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    arrive(db, clock.now(), slice_of(5, patient=Patient(patient_id="P2", issuer="A")))
    close_due(db, clock.forward(QUIET_S), policy(model()))
    operations.release(db, clock.now(), STUDY)
    close_due(db, clock.forward(1), policy(model()))
    assert the_study(db).state is StudyState.HELD
    arrive(db, clock.now(), slice_of(5), version="corrected")
    operations.release(db, clock.now(), STUDY)
    close_due(db, clock.forward(1), policy(model()))
    assert the_study(db).state is StudyState.WAITING


def test_what_no_model_suits_has_an_outcome_with_the_reason(db: Database, clock: FakeClock) -> None:
    send(db, clock, modality="CT")
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert the_outcome(db).state is OutcomeState.NOT_APPLICABLE
    assert "Not MR" in the_outcome(db).reason
    assert the_study(db).state is StudyState.DONE


def test_only_undescribable_instances_still_end_in_an_outcome(db: Database, clock: FakeClock) -> None:
    arrive(db, clock.now(), slice_of(1), describe=False)
    (held,) = instances.of_study(db, STUDY)
    with db.transaction():
        instances.record_undescribable(db, clock.now(), held.id, "header ends early")
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert the_outcome(db).state is OutcomeState.NOT_APPLICABLE
    assert "header ends early" in the_outcome(db).reason


def test_a_model_that_may_not_run_fails_with_the_remedy(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    close_due(db, clock.forward(QUIET_S), policy(model(problem="not locked; run `matins models trust brain`")))
    assert the_outcome(db).state is OutcomeState.FAILED
    assert "matins models trust" in the_outcome(db).reason


def test_the_most_urgent_priority_of_any_instance_counts(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    arrive(db, clock.now(), slice_of(6, order=Order(requested_priority="STAT")))
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert the_study(db).lane == "STAT"
    assert [each["rule"] for each in the_study(db).reasons]


ARCHIVE = {
    "name": "ARCHIVE",
    "ae_title": "ARCHIVE",
    "host": "127.0.0.1",
    "port": 104,
    "addresses": ["127.0.0.1/32"],
    "roles": ["source", "archive"],
}


def test_an_archive_is_asked_how_many_instances_there_are(db: Database, clock: FakeClock) -> None:
    asking = policy(model(), more_peers=(ARCHIVE,))
    for number in range(5):
        arrive(db, clock.now(), slice_of(number), source="ARCHIVE")
    assert close_due(db, clock.forward(QUIET_S), asking) == 0
    (item,) = work_items.claim(db, clock.now(), WorkKind.EXPECTED_COUNT, "retrieve:1", 30)
    assert item.study_instance_uid == STUDY
    with db.transaction():
        studies.record_expected_count(db, STUDY, 6)
        work_items.finish(db, clock.now(), item)
    assert close_due(db, clock.forward(1), asking) == 0
    arrive(db, clock.now(), slice_of(5), source="ARCHIVE")
    assert close_due(db, clock.forward(QUIET_S), asking) == 0  # asked again, for the new count
    (item,) = work_items.claim(db, clock.now(), WorkKind.EXPECTED_COUNT, "retrieve:1", 30)
    with db.transaction():
        work_items.finish(db, clock.now(), item)
    assert close_due(db, clock.forward(1), asking) == 1


def test_an_archive_that_nobody_asks_is_not_waited_for_beyond_the_time_limit(db: Database, clock: FakeClock) -> None:
    asking = policy(model(), more_peers=(ARCHIVE,))
    arrive(db, clock.now(), slice_of(0), source="ARCHIVE")
    assert close_due(db, clock.forward(QUIET_S), asking) == 0
    assert close_due(db, clock.forward(2990), asking) == 0
    assert close_due(db, clock.forward(10), asking) == 1


def test_a_study_that_never_became_whole_is_incomplete_and_not_read(db: Database, clock: FakeClock) -> None:
    send(db, clock)
    with db.transaction():
        studies.record_expected_count(db, STUDY, 9)
    assert close_due(db, clock.forward(QUIET_S), policy(model())) == 0
    assert close_due(db, clock.forward(3600), policy(model())) == 1
    assert the_outcome(db).state is OutcomeState.INCOMPLETE
    assert "5 of 9" in the_outcome(db).reason
    send(db, clock, 4, first=5)
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert the_outcome(db).state is OutcomeState.PENDING


@pytest.mark.parametrize("expected", [None, 9])
def test_a_person_may_close_a_study_with_what_has_come(db: Database, clock: FakeClock, expected: int | None) -> None:
    send(db, clock)
    if expected:
        studies.record_expected_count(db, STUDY, expected)
    operations.force(db, clock.now(), policy(model()), STUDY)
    assert close_due(db, clock.now(), policy(model())) == 1
    assert the_outcome(db).state is OutcomeState.PENDING
