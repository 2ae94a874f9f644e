"""When studies close, by a clock that is turned by hand: a night takes milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from node.config.sections import ModelSettings
from node.domain.model_card import Mode
from node.domain.procedure_step import StepState
from node.domain.study import StudyState
from node.domain.work import OutcomeState, WorkKind, WorkState
from node.store import events, outcomes, procedure_steps, studies, work_items
from node.store.database import Database
from node.store.studies import StudyRow
from node.workflow import operations, procedure
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from node.workflow.signals import Looks
from tests.fakes import SERIES, STUDY, FakeClock, arrive, model, policy, slice_of

QUIET_S = 601.0  # MR: 600 s
STEP = "1.2.7.1"


def with_completeness(used: Policy, **mr: object) -> Policy:
    """The policy with these keys in [completeness.MR]."""
    document = used.settings.model_dump(exclude={"quiet_s", "completeness"})
    settings = type(used.settings).model_validate({**document, "completeness": {"MR": mr}})
    return replace(used, settings=settings)


def send(db: Database, clock: FakeClock, numbers: Sequence[int], **more: object) -> None:
    for number in numbers:
        arrive(db, clock.now(), slice_of(number, **more))  # type: ignore[arg-type]


def begin(db: Database, clock: FakeClock, step: str = STEP, study: str = STUDY) -> None:
    with db.transaction():
        assert procedure_steps.add(db, clock.now(), step, [study], {}, source="SCANNER")


def end(
    db: Database,
    clock: FakeClock,
    numbers: Sequence[int],
    *,
    step: str = STEP,
    series: str = SERIES,
    state: StepState = StepState.COMPLETED,
    code: str = "",
) -> None:
    listed = {series: [f"{series}.{number}" for number in numbers]}
    with db.transaction():
        procedure.changed(db, clock.now(), step, state, listed, reason_code=code)


def the_study(db: Database, uid: str = STUDY) -> StudyRow:
    study = studies.study(db, uid)
    assert study is not None
    return study


def closings(db: Database, uid: str = STUDY) -> list[str]:
    return [each.reason for each in events.of_study(db, uid) if (each.about, each.after) == ("revision", "closed")]


def runs(db: Database, uid: str = STUDY) -> list[tuple[int, int]]:
    """(revision, run number) of everything that was ever given to a model."""
    rows = db.rows("SELECT revision, run_number FROM outcome WHERE study_instance_uid = ? ORDER BY id", (uid,))
    return [(row["revision"], row["run_number"]) for row in rows]


# What the modality says


def test_a_study_closes_at_once_when_the_modality_is_through_and_all_is_here(db: Database, clock: FakeClock) -> None:
    begin(db, clock)
    send(db, clock, range(5))
    assert close_due(db, clock.forward(1), policy(model())) == 0
    end(db, clock, range(5))
    assert close_due(db, clock.forward(0.2), policy(model())) == 1
    assert closings(db) == [
        "the modality completed its procedure step (MPPS) and all 5 instances that it lists are here"
    ]
    assert the_study(db).state is StudyState.WAITING


def test_the_modality_may_be_through_before_its_images_are_here(db: Database, clock: FakeClock) -> None:
    begin(db, clock)
    end(db, clock, range(5))
    send(db, clock, range(4))
    assert close_due(db, clock.forward(1), policy(model())) == 0
    arrive(db, clock.now(), slice_of(4), describe=False)
    assert close_due(db, clock.forward(1), policy(model())) == 0


def test_what_is_listed_and_missing_of_a_series_is_waited_for_and_then_the_study_is_incomplete(
    db: Database, clock: FakeClock
) -> None:
    begin(db, clock)
    send(db, clock, [*range(137), *range(138, 300)])
    end(db, clock, range(300))
    assert close_due(db, clock.forward(QUIET_S), policy(model())) == 0
    assert close_due(db, clock.forward(3600), policy(model())) == 1
    (outcome,) = outcomes.current(db, STUDY)
    assert outcome.state is OutcomeState.INCOMPLETE
    assert "299 of 300 instances are here" in outcome.reason
    assert "299 of 300 instances are here" in closings(db)[0]
    send(db, clock, [137])
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert [each.state for each in outcomes.current(db, STUDY)] == [OutcomeState.PENDING]


def test_series_that_are_listed_but_never_sent_here_lengthen_nothing(db: Database, clock: FakeClock) -> None:
    begin(db, clock)
    send(db, clock, range(5))
    end(db, clock, range(5))
    begin(db, clock, "1.2.7.2")
    end(db, clock, range(40), step="1.2.7.2", series="1.2.3.1.77")
    assert close_due(db, clock.forward(599), policy(model())) == 0
    assert close_due(db, clock.forward(2), policy(model())) == 1
    assert "of 40 instances that the modality lists (MPPS) in other series none came" in closings(db)[0]


@pytest.mark.parametrize("ends", [False, True])
def test_a_step_that_never_ends_changes_nothing_against_the_quiet_time(
    db: Database, clock: FakeClock, ends: bool
) -> None:
    begin(db, clock)
    begin(db, clock, "1.2.7.2")
    if ends:
        end(db, clock, range(5))
    send(db, clock, range(5))
    assert close_due(db, clock.forward(599), policy(model())) == 0
    assert close_due(db, clock.forward(2), policy(model())) == 1
    assert "a procedure step (MPPS) is still in progress" in closings(db)[0]


def test_a_discontinued_step_shortens_nothing_and_is_told(db: Database, clock: FakeClock) -> None:
    begin(db, clock)
    send(db, clock, range(5))
    end(db, clock, range(9), state=StepState.DISCONTINUED, code="(110513, DCM)")
    assert close_due(db, clock.forward(599), policy(model())) == 0
    assert close_due(db, clock.forward(2), policy(model())) == 1
    assert "discontinued a procedure step (110513, DCM)" in closings(db)[0]
    assert [each.state for each in outcomes.current(db, STUDY)] == [OutcomeState.PENDING]


def test_what_comes_after_the_modality_was_through_is_late_and_waits_for_silence(
    db: Database, clock: FakeClock
) -> None:
    begin(db, clock)
    end(db, clock, range(5))
    send(db, clock, range(5))
    close_due(db, clock.now(), policy(model()))
    for number in range(5, 9):
        send(db, clock, [number])
        assert close_due(db, clock.forward(60), policy(model())) == 0
    assert close_due(db, clock.forward(QUIET_S), policy(model())) == 1
    assert runs(db) == [(1, 1), (2, 1)]


def test_the_wrong_worklist_entry_holds_a_study_until_a_person_releases_it(db: Database, clock: FakeClock) -> None:
    begin(db, clock)
    send(db, clock, range(5))
    end(db, clock, (), state=StepState.DISCONTINUED, code="(110514, DCM)")
    assert the_study(db).state is StudyState.HELD
    assert close_due(db, clock.forward(QUIET_S), policy(model())) == 0
    operations.release(db, clock.now(), STUDY)
    assert close_due(db, clock.forward(1), policy(model())) == 1
    assert the_study(db).state is StudyState.WAITING
    assert [each.state for each in outcomes.current(db, STUDY)] == [OutcomeState.PENDING]


def test_the_wrong_worklist_entry_holds_a_study_that_was_read_already(db: Database, clock: FakeClock) -> None:
    begin(db, clock)
    send(db, clock, range(5))
    close_due(db, clock.forward(QUIET_S), policy(model()))
    end(db, clock, (), state=StepState.DISCONTINUED, code="(110514, DCM)")
    assert the_study(db).state is StudyState.HELD


# What the site requires

T1 = {"field": "series_description", "op": "has", "value": "t1"}
FLAIR = {"field": "series_description", "op": "has", "value": "flair"}
ENOUGH = {"field": "slice_count", "op": ">=", "value": 5}
REQUIRED = [{"name": "T1", "when": {"all": [T1, ENOUGH]}}, {"name": "FLAIR", "when": FLAIR}]


def test_required_series_that_are_here_and_quiet_close_a_study_before_its_quiet_time(
    db: Database, clock: FakeClock
) -> None:
    used = with_completeness(policy(model()), required=REQUIRED)
    send(db, clock, range(4))
    send(db, clock, range(3), series="1.2.3.1.2", series_description="FLAIR")
    assert close_due(db, clock.forward(60), used) == 0
    send(db, clock, [4])
    send(db, clock, range(3), series="1.2.3.1.3", series_description="localizer")
    assert close_due(db, clock.forward(14), used) == 0
    send(db, clock, [3], series="1.2.3.1.3", series_description="localizer")
    assert close_due(db, clock.forward(1), used) == 1
    assert closings(db) == ["every required series (T1, FLAIR) is here and quiet for 15 s"]


def test_without_its_required_series_a_study_waits_for_the_limit_and_is_incomplete(
    db: Database, clock: FakeClock
) -> None:
    used = with_completeness(policy(model()), required=REQUIRED)
    send(db, clock, range(5))
    assert close_due(db, clock.forward(3599), used) == 0
    assert close_due(db, clock.forward(2), used) == 1
    assert "no series that is required as FLAIR" in closings(db)[0]
    (outcome,) = outcomes.current(db, STUDY)
    assert (outcome.state, outcome.reason) == (OutcomeState.INCOMPLETE, "no series that is required as FLAIR")
    operations.force(db, clock.now(), used, STUDY)
    assert [each.state for each in outcomes.current(db, STUDY)] == [OutcomeState.PENDING]


def test_what_an_archive_counts_is_told_where_the_study_closes(db: Database, clock: FakeClock) -> None:
    send(db, clock, range(5))
    with db.transaction():
        studies.record_expected_count(db, STUDY, 5)
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert closings(db) == ["5 instances, quiet for 600 s, all 5 expected are here"]


# Nights


def test_eight_series_that_arrive_five_minutes_apart_give_one_result_set(db: Database, clock: FakeClock) -> None:
    used, looks = policy(model()), Looks()
    for number in range(8):
        for position in range(20):
            arrive(db, clock.forward(1), slice_of(position, series=f"1.2.3.1.{number}"))
        for _ in range(14):
            assert close_due(db, clock.forward(20), used, looks) == 0
    assert close_due(db, clock.forward(QUIET_S), used, looks) == 1
    assert runs(db) == [(1, 1)]
    assert len(closings(db)) == 1


def test_a_study_over_several_associations_and_ae_titles_is_one_study_and_one_run(
    db: Database, clock: FakeClock
) -> None:
    for number in range(40):
        arrive(db, clock.forward(7), slice_of(number), source=("SCANNER", "OTHER", "import")[number % 3])
        assert close_due(db, clock.now(), policy(model())) == 0
    assert close_due(db, clock.forward(QUIET_S), policy(model())) == 1
    assert runs(db) == [(1, 1)]
    (outcome,) = outcomes.current(db, STUDY)
    assert len(outcomes.inputs(db, outcome.id)) == 40
    assert outcomes.sources(db, outcome.id) == ["OTHER", "SCANNER", "import"]


@pytest.mark.parametrize("order", [range(19, -1, -1), [*range(0, 20, 2), *range(1, 20, 2)]])
def test_the_order_of_arrival_changes_neither_the_content_nor_the_number_of_runs(
    db: Database, clock: FakeClock, order: Sequence[int]
) -> None:
    for uid, numbers in ((STUDY, range(20)), ("1.2.3.2", order)):
        for number in numbers:
            arrive(db, clock.forward(1), slice_of(number, study=uid, series=f"{uid}.1"))
            arrive(db, clock.forward(1), slice_of(number, study=uid, series=f"{uid}.2", modality="CT"))
            close_due(db, clock.now(), policy(model()))
    close_due(db, clock.forward(QUIET_S), policy(model()))
    for uid in (STUDY, "1.2.3.2"):
        assert runs(db, uid) == [(1, 1)]
        (outcome,) = outcomes.current(db, uid)
        assert len(outcomes.inputs(db, outcome.id)) == 20


@pytest.mark.parametrize("step", [timedelta(days=1), timedelta(days=-1), timedelta(hours=1), timedelta(seconds=-3)])
def test_a_step_of_the_wall_clock_neither_hastens_nor_delays(db: Database, clock: FakeClock, step: timedelta) -> None:
    begin(db, clock)
    send(db, clock, range(5))
    clock.wall += step
    assert close_due(db, clock.forward(599), policy(model())) == 0
    clock.wall -= 2 * step
    send(db, clock, [5])
    clock.wall += step
    assert close_due(db, clock.forward(599), policy(model())) == 0
    assert close_due(db, clock.forward(2), policy(model())) == 1


def test_an_archive_that_sends_everything_back_for_a_night_causes_no_second_run(db: Database, clock: FakeClock) -> None:
    send(db, clock, range(20))
    close_due(db, clock.forward(QUIET_S), policy(model()))
    for _ in range(10):
        for number in range(20):
            arrive(db, clock.forward(30), slice_of(number), source="OTHER", version="lossless")
        close_due(db, clock.forward(QUIET_S), policy(model()))
    assert runs(db) == [(1, 1)]
    assert the_study(db).revision == 1


# The early trigger


def early_policy(**mr: object) -> Policy:
    used = with_completeness(policy(model()), **mr)
    sections = {"brain": ModelSettings(mode=Mode.LIVE, early=True)}
    return replace(used, settings=used.settings.model_copy(update={"models": sections}))


def test_a_model_that_reads_early_does_not_wait_for_other_series(db: Database, clock: FakeClock) -> None:
    used = early_policy()
    send(db, clock, range(10))
    for number in range(14):
        send(db, clock, [number], series="1.2.3.1.5", series_description="scout", modality="CT")
        assert close_due(db, clock.forward(1), used) == 0
    assert runs(db) == []
    assert close_due(db, clock.forward(1), used) == 0
    study = the_study(db)
    assert (study.revision, study.early, study.open, study.state) == (1, True, True, StudyState.WAITING)
    (outcome,) = outcomes.current(db, STUDY)
    assert (outcome.state, outcome.revision) == (OutcomeState.PENDING, 1)
    assert work_items.state(db, WorkKind.INFER, outcome.id) is WorkState.READY
    (event,) = [each for each in events.of_study(db, STUDY) if each.after == "early"]
    assert "its slices lie at regular distances without a gap, quiet for 15 s" in event.reason


def test_the_closing_that_changes_nothing_opens_no_other_revision(db: Database, clock: FakeClock) -> None:
    used = early_policy()
    send(db, clock, range(10))
    close_due(db, clock.forward(15), used)
    (before,) = outcomes.current(db, STUDY)
    send(db, clock, range(3), series="1.2.3.1.5", modality="CT")
    assert close_due(db, clock.forward(15), used) == 0
    assert close_due(db, clock.forward(QUIET_S), used) == 1
    (after,) = outcomes.current(db, STUDY)
    study = the_study(db)
    assert (after.id, study.revision, study.early, runs(db)) == (before.id, 1, False, [(1, 1)])
    assert closings(db)[0].endswith("what was read early stands")
    reasons = [row["reason"] for row in db.rows("SELECT reason FROM revision")]
    assert len(reasons) == 1
    assert "reads before the study is complete" in reasons[0]
    assert "quiet for 600 s" in reasons[0]


def test_an_input_that_changes_before_the_closing_supersedes_what_was_read_early(
    db: Database, clock: FakeClock
) -> None:
    used = early_policy()
    send(db, clock, range(10))
    close_due(db, clock.forward(15), used)
    (before,) = outcomes.current(db, STUDY)
    send(db, clock, range(10, 20))
    for _ in range(3):
        assert close_due(db, clock.forward(15), used) == 0
    assert close_due(db, clock.forward(QUIET_S), used) == 1
    (after,) = outcomes.current(db, STUDY)
    assert (after.revision, the_study(db).revision, runs(db)) == (2, 2, [(1, 1), (2, 1)])
    superseded = outcomes.outcome(db, before.id)
    assert superseded is not None
    assert superseded.state is OutcomeState.SUPERSEDED
    assert closings(db)[0].endswith("replaces what was read early")


def test_a_study_that_was_read_early_is_done_only_when_it_is_closed(db: Database, clock: FakeClock) -> None:
    from tests.workflow.test_reading import read, report

    used = early_policy()
    send(db, clock, range(10))
    close_due(db, clock.forward(15), used)
    read(db, clock, used)
    assert {row.destination for row in report(db, clock, used)} == {"PACS"}
    assert the_study(db).state is StudyState.RECEIVING
    close_due(db, clock.forward(QUIET_S), used)
    assert the_study(db).state is StudyState.DONE


def test_a_further_model_joins_the_revision_that_was_opened_early(db: Database, clock: FakeClock) -> None:
    both = early_policy()
    other = model(name="second")
    both = replace(both, models=(*both.models, other))
    send(db, clock, range(10))
    close_due(db, clock.forward(15), both)
    assert [each.model for each in outcomes.current(db, STUDY)] == ["brain"]
    close_due(db, clock.forward(QUIET_S), both)
    assert [(each.model, each.revision) for each in outcomes.current(db, STUDY)] == [("brain", 1), ("second", 1)]
    assert the_study(db).revision == 1


@pytest.mark.parametrize("numbers", [[0, 1, 2, 4, 5], [0, 2, 4, 6], [0]])
def test_a_series_that_does_not_look_whole_is_not_read_early(
    db: Database, clock: FakeClock, numbers: list[int]
) -> None:
    used = early_policy()
    send(db, clock, numbers)
    close_due(db, clock.forward(60), used)
    assert runs(db) == []


def test_a_series_of_which_more_is_listed_is_not_read_early_until_it_is_here(db: Database, clock: FakeClock) -> None:
    used = early_policy()
    begin(db, clock)
    begin(db, clock, "1.2.7.2")
    send(db, clock, range(9))
    end(db, clock, range(10))
    close_due(db, clock.forward(60), used)
    assert runs(db) == []
    send(db, clock, [9])
    close_due(db, clock.forward(15), used)
    assert runs(db) == [(1, 1)]
    (event,) = [each for each in events.of_study(db, STUDY) if each.after == "early"]
    assert "all 10 instances that the modality lists (MPPS) are here" in event.reason


def test_no_model_reads_early_unless_the_site_says_so(db: Database, clock: FakeClock) -> None:
    send(db, clock, range(10))
    close_due(db, clock.forward(60), policy(model()))
    assert runs(db) == []


def test_two_patients_in_one_study_are_not_read_early_either(db: Database, clock: FakeClock) -> None:
    used = early_policy()
    send(db, clock, range(10))
    other = replace(slice_of(0).patient, patient_id="P2")
    send(db, clock, range(3), series="1.2.3.1.5", modality="CT", patient=other)
    close_due(db, clock.forward(60), used)
    assert runs(db) == []
