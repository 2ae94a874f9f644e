from __future__ import annotations

from dataclasses import replace

import pytest

from node.domain.alignment import Correspondence
from node.domain.change import Verdict
from node.domain.finding import Finding
from node.domain.patient import Patient
from node.domain.report_state import ReportState
from node.domain.study import Order, StudyState
from node.domain.work import OutcomeState, WorkKind, WorkState
from node.errors import Failed
from node.store import findings, outcomes, studies, work_items
from node.store.database import Database
from node.triage.change import changes
from node.triage.change_sizes import Read
from node.workflow import changed, comparing, rank_facts, reading
from node.workflow.closing import close_due
from node.workflow.policy import Policy
from node.workflow.story import study_story
from tests.fakes import PATIENT, FakeClock, arrive, model, policy, slice_of, volume_finding

NOW, BEFORE, LONG_BEFORE = "1.2.3.9", "1.2.3.5", "1.2.3.4"
QUIET_S = 5000


def measured(volume_ml: float, **more: object) -> Finding:
    made = volume_finding(volume_ml)
    sizes = tuple(replace(each, repeats_within=0.05 * volume_ml) for each in made.measurements)
    return replace(made, measurements=sizes, tracking_uid="", **more)  # type: ignore[arg-type]


def closed(
    db: Database, clock: FakeClock, study: str, day: str, used: Policy, patient: Patient = PATIENT, **of: bool
) -> None:
    for number in range(3):
        instance = slice_of(number, study=study, series=f"{study}.1", patient=patient, order=Order(study_date=day))
        arrive(db, clock.now(), instance, **of)
    close_due(db, clock.forward(QUIET_S), used)


def read(
    db: Database,
    clock: FakeClock,
    study: str,
    day: str,
    *found: Finding,
    patient: Patient = PATIENT,
    **of_model: str,
) -> int:
    """A study of that day that is read and comes to these findings; return the outcome's id."""
    used = policy(replace(model(), **of_model))  # type: ignore[arg-type]
    closed(db, clock, study, day, used, patient)
    (item,) = work_items.claim(db, clock.now(), WorkKind.INFER, "infer", 60)
    with db.transaction():
        reading.begin(db, clock.now(), item)
        assert reading.complete(db, clock.now(), used, item, found, [], {})
    return int(item.subject)


def compare(db: Database, clock: FakeClock) -> list[str]:
    """Do what the infer room does, without images; return the priors that were compared with."""
    told = []
    for item in work_items.claim(db, clock.now(), WorkKind.COMPARE, "infer", 60, limit=9):
        with db.transaction():
            pairing = comparing.begin(db, clock.now(), item)
        if pairing is None:
            continue
        sides = [
            Read(
                study_instance_uid=study.study_instance_uid,
                study_date=study.order.study_date,
                model=outcome.model,
                model_digest=outcome.model_digest,
                card_digest=outcome.card_digest,
                findings=found,
            )
            for study, outcome, found in (
                (pairing.study, pairing.outcome, pairing.found),
                (pairing.prior_study, pairing.prior, pairing.prior_found),
            )
        ]
        made = changes(sides[0], sides[1], Correspondence())
        with db.transaction():
            assert comparing.complete(db, clock.now(), policy(model()), item, pairing, made, None, 1.0)
        told.append(pairing.prior_study.study_instance_uid)
    return told


def verdicts(db: Database, study: str = NOW) -> list[Verdict]:
    row = studies.study(db, study)
    assert row is not None
    facts = rank_facts.facts_of(db, [row])[study]
    return [each.verdict for each in facts.changes]


def test_a_result_is_compared_with_the_latest_prior_and_rules_are_told(db: Database, clock: FakeClock) -> None:
    read(db, clock, LONG_BEFORE, "20251230", measured(1500.0))
    read(db, clock, BEFORE, "20251231", measured(1180.0))
    assert compare(db, clock) == [LONG_BEFORE]
    read(db, clock, NOW, "20260101", measured(1439.0))
    assert verdicts(db) == []
    assert compare(db, clock) == [BEFORE]
    assert verdicts(db) == [Verdict.GROWN]


def test_the_order_in_which_the_studies_are_read_is_no_matter(db: Database, clock: FakeClock) -> None:
    read(db, clock, NOW, "20260101", measured(1439.0))
    assert compare(db, clock) == []
    read(db, clock, LONG_BEFORE, "20251230", measured(1439.0))
    assert (compare(db, clock), verdicts(db)) == ([LONG_BEFORE], [Verdict.STABLE])
    read(db, clock, BEFORE, "20251231", measured(1180.0))
    # The new one has a prior of its own.
    assert sorted(compare(db, clock)) == [LONG_BEFORE, BEFORE]
    assert verdicts(db) == [Verdict.GROWN]


@pytest.mark.parametrize(
    ("day", "patient"),
    [
        ("20260102", PATIENT),
        ("20260101", PATIENT),
        ("someday", PATIENT),
        ("20251231", replace(PATIENT, patient_id="P2")),
        ("20251231", replace(PATIENT, issuer="B")),
        ("20251231", replace(PATIENT, issuer="")),
        ("20251231", replace(PATIENT, birth_date="19700102")),
        ("20251231", replace(PATIENT, sex="M")),
        ("20251231", replace(PATIENT, name="Roe^Richard")),
    ],
    ids=["later", "same day", "no day", "another ID", "another issuer", "no issuer", "birth date", "sex", "name"],
)
def test_what_is_not_beyond_doubt_an_earlier_study_of_the_patient_is_never_compared(
    db: Database, clock: FakeClock, day: str, patient: Patient
) -> None:
    read(db, clock, BEFORE, day, measured(1180.0), patient=patient)
    now = read(db, clock, NOW, "20260101", measured(1439.0))
    outcome = outcomes.outcome(db, now)
    assert outcome is not None
    assert comparing.pairing_of(db, outcome) is None
    assert verdicts(db) == []


def test_a_patient_whom_nobody_knows_has_no_prior(db: Database, clock: FakeClock) -> None:
    nobody = Patient(patient_id="UNKNOWN", issuer="A")
    read(db, clock, BEFORE, "20251231", measured(1180.0), patient=nobody)
    read(db, clock, NOW, "20260101", measured(1439.0), patient=nobody)
    assert compare(db, clock) == []


def test_a_prior_that_turns_out_to_be_another_patients_is_told_no_more(db: Database, clock: FakeClock) -> None:
    read(db, clock, BEFORE, "20251231", measured(1180.0))
    read(db, clock, NOW, "20260101", measured(1439.0))
    compare(db, clock)
    assert verdicts(db) == [Verdict.GROWN]
    with db.transaction():
        studies.move(db, clock.now(), BEFORE, StudyState.HELD, "a conflict")
    assert verdicts(db) == []
    row = studies.study(db, NOW)
    assert row is not None
    assert changed.comparisons_of(db, [row]) == {NOW: []}


@pytest.mark.parametrize("side", ["now", "before"])
def test_a_withdrawn_side_takes_the_comparison_with_it(db: Database, clock: FakeClock, side: str) -> None:
    before = read(db, clock, BEFORE, "20251231", measured(1180.0))
    now = read(db, clock, NOW, "20260101", measured(1439.0))
    compare(db, clock)
    with db.transaction():
        chosen = now if side == "now" else before
        outcomes.move(db, clock.now(), chosen, OutcomeState.SUPERSEDED, "forced")
    assert verdicts(db) == []


def test_another_version_of_the_model_is_the_last_choice_and_says_so(db: Database, clock: FakeClock) -> None:
    read(db, clock, LONG_BEFORE, "20251230", measured(1180.0))
    read(db, clock, BEFORE, "20251231", measured(1180.0), model_digest="older")
    compare(db, clock)
    read(db, clock, NOW, "20260101", measured(1439.0))
    assert compare(db, clock) == [LONG_BEFORE]
    read(db, clock, "1.2.3.99", "20260102", measured(1439.0), model_digest="newest")
    compare(db, clock)
    assert verdicts(db, "1.2.3.99") == [Verdict.NOT_COMPARABLE]


def test_what_has_no_size_is_compared_with_nothing(db: Database, clock: FakeClock) -> None:
    bare = replace(volume_finding(), measurements=())
    read(db, clock, BEFORE, "20251231", bare)
    now = read(db, clock, NOW, "20260101", bare)
    assert work_items.state(db, WorkKind.COMPARE, now) is None
    assert work_items.state(db, WorkKind.REPORT, now) is WorkState.READY


def test_the_report_waits_for_the_comparison_and_is_written_without_it_where_that_fails(
    db: Database, clock: FakeClock
) -> None:
    read(db, clock, BEFORE, "20251231", measured(1180.0))
    now = read(db, clock, NOW, "20260101", measured(1439.0))
    assert work_items.state(db, WorkKind.REPORT, now) is None
    row = studies.study(db, NOW)
    assert row is not None
    assert row.state is not StudyState.DONE
    (item,) = work_items.claim(db, clock.now(), WorkKind.COMPARE, "infer", 60)
    with db.transaction():
        comparing.reject(db, clock.now(), item, "no")
    assert work_items.state(db, WorkKind.REPORT, now) is WorkState.READY


def test_a_study_that_is_reported_stays_where_it_was_whatever_has_changed(db: Database, clock: FakeClock) -> None:
    read(db, clock, NOW, "20260101", measured(1439.0))
    with db.transaction():
        db.execute("UPDATE study SET report_state = ? WHERE study_instance_uid = ?", (ReportState.FINAL, NOW))
    read(db, clock, BEFORE, "20251231", measured(1180.0))
    assert compare(db, clock) == [BEFORE]


def test_priors_that_today_s_model_has_not_read_are_named_and_read_in_the_shadow(
    db: Database, clock: FakeClock
) -> None:
    used = policy(model())
    closed(db, clock, BEFORE, "20251231", used, retrieved=True)
    prior = studies.study(db, BEFORE)
    assert prior is not None
    assert prior.prior
    read(db, clock, NOW, "20260101", measured(1439.0))
    assert list(comparing.priors_to_rerun(db, used, [NOW])) == [(BEFORE, "brain")]
    with db.transaction():
        assert comparing.rerun(db, clock.now(), used, BEFORE, "brain")
    assert list(comparing.priors_to_rerun(db, used, [NOW])) == []
    (item,) = work_items.claim(db, clock.now(), WorkKind.INFER, "infer", 60)
    with db.transaction():
        reading.begin(db, clock.now(), item)
        reading.complete(db, clock.now(), used, item, [measured(1180.0)], [], {})
    assert work_items.state(db, WorkKind.REPORT, item.subject) is None
    assert compare(db, clock) == [BEFORE]
    assert verdicts(db) == [Verdict.GROWN]


def read_again(db: Database, clock: FakeClock, used: Policy, *found: Finding) -> int:
    """Have the prior read by today's model, as the night does; return the outcome's id."""
    with db.transaction():
        assert comparing.rerun(db, clock.now(), used, BEFORE, "brain")
        assert not comparing.rerun(db, clock.now(), used, BEFORE, "brain")
    (item,) = work_items.claim(db, clock.now(), WorkKind.INFER, "infer", 60)
    with db.transaction():
        reading.begin(db, clock.now(), item)
        assert reading.complete(db, clock.now(), used, item, found, [], {})
    return int(item.subject)


def reported(db: Database, clock: FakeClock) -> None:
    """Write every report that waits."""
    for item in work_items.claim(db, clock.now(), WorkKind.REPORT, "report", 60, limit=9):
        with db.transaction():
            work_items.finish(db, clock.now(), item)
            reading.settle(db, clock.now(), item.study_instance_uid)


def test_what_an_older_version_read_in_its_own_time_is_read_again_aside_and_what_it_was_told_stays(
    db: Database, clock: FakeClock
) -> None:
    used = policy(model())
    old = read(db, clock, BEFORE, "20251231", measured(1180.0), model_digest="older")
    reported(db, clock)
    read(db, clock, NOW, "20260101", measured(1439.0))
    assert (compare(db, clock), verdicts(db)) == ([BEFORE], [Verdict.NOT_COMPARABLE])
    assert list(comparing.priors_to_rerun(db, used, [NOW])) == [(BEFORE, "brain")]
    before = studies.study(db, BEFORE)
    again = read_again(db, clock, used, measured(1000.0, present=True))
    assert list(comparing.priors_to_rerun(db, used, [NOW])) == []
    assert (compare(db, clock), verdicts(db)) == ([BEFORE], [Verdict.GROWN])
    # Nothing of the old study has moved: neither its outcome, nor its state, place or reports.
    assert [each.id for each in outcomes.current(db, BEFORE)] == [old]
    assert [each.id for each in outcomes.asides(db, BEFORE)] == [again]
    assert studies.study(db, BEFORE) == before
    assert work_items.state(db, WorkKind.REPORT, again) is None
    assert set(findings.results_of(db, [BEFORE])[BEFORE]) == {old}
    story = study_story(db, BEFORE)
    assert story is not None
    assert [each["model_digest"] for each in story["outcomes"]] == ["older"]
    assert [each["model_digest"] for each in story["read_again"]] == [model().model_digest]


def test_what_today_s_model_cannot_read_of_the_past_is_not_tried_every_night(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    read(db, clock, BEFORE, "20251231", measured(1180.0), model_digest="older")
    reported(db, clock)
    read(db, clock, NOW, "20260101", measured(1439.0))
    with db.transaction():
        assert comparing.rerun(db, clock.now(), used, BEFORE, "brain")
    (item,) = work_items.claim(db, clock.now(), WorkKind.INFER, "infer", 60)
    before = studies.study(db, BEFORE)
    with db.transaction():
        reading.begin(db, clock.now(), item)
        reading.reject(db, clock.now(), used, item, Failed("it cannot"))
    assert studies.study(db, BEFORE) == before
    assert list(comparing.priors_to_rerun(db, used, [NOW])) == []


def test_a_prior_in_which_no_version_has_found_a_size_or_that_is_still_read_is_not_read_again(
    db: Database, clock: FakeClock
) -> None:
    used, bare = policy(model()), replace(volume_finding(), measurements=())
    read(db, clock, LONG_BEFORE, "20251230", bare, model_digest="older")
    reported(db, clock)
    read(db, clock, BEFORE, "20251231", measured(1180.0), model_digest="older")
    read(db, clock, NOW, "20260101", measured(1439.0))
    assert list(comparing.priors_to_rerun(db, used, [BEFORE, NOW])) == []


def test_what_was_read_aside_no_longer_counts_once_the_prior_has_another_content(
    db: Database, clock: FakeClock
) -> None:
    used = policy(model())
    read(db, clock, BEFORE, "20251231", measured(1180.0), model_digest="older")
    reported(db, clock)
    now = read(db, clock, NOW, "20260101", measured(1439.0))
    again = read_again(db, clock, used, measured(1000.0))
    outcome = outcomes.outcome(db, now)
    assert outcome is not None
    pairing = comparing.pairing_of(db, outcome)
    assert pairing is not None
    assert pairing.prior.id == again
    with db.transaction():
        db.execute("UPDATE study SET revision = revision + 1 WHERE study_instance_uid = ?", (BEFORE,))
    pairing = comparing.pairing_of(db, outcome)
    assert pairing is not None
    assert pairing.prior.id != again
