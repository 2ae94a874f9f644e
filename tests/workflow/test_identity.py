from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node.domain.model_card import Mode
from node.domain.patient import Patient
from node.domain.study import Order, StudyState
from node.domain.work import OutcomeState, ResultState, WorkKind
from node.errors import Failed
from node.store import events, identities, instances, outbox, outcomes, studies, work_items
from node.store.database import Database, open_database
from node.store.outbox import OutboxRow
from node.store.studies import StudyRow
from node.workflow import merging, operations
from node.workflow.closing import close_due
from node.workflow.identity import agreed_patient, destinations, gate
from node.workflow.story import study_story
from tests.fakes import PATIENT, SR, STUDY, FakeClock, arrive, model, policy, slice_of
from tests.workflow.test_reading import QUIET_S, closed_study, read, report

#: An archive that sends everything back to us; nothing of ours goes anywhere because of it.
BACK = {"name": "ARCHIVE", "ae_title": "ARCHIVE", "addresses": ["127.0.0.1/32"], "roles": ["source"]}


@pytest.fixture
def row(db: Database, clock: FakeClock) -> OutboxRow:
    used = policy(model())
    closed_study(db, clock, used)
    read(db, clock, used)
    return report(db, clock, used)[0]


def test_the_gate_lets_out_what_is_still_right(db: Database, row: OutboxRow) -> None:
    assert gate(db, policy(model()), row, PATIENT).is_open


@pytest.mark.parametrize("field", ["patient_id", "issuer", "birth_date", "sex"])
def test_the_gate_holds_an_object_of_another_patient(db: Database, row: OutboxRow, field: str) -> None:
    decided = gate(db, policy(model()), row, replace(PATIENT, **{field: "M" if field == "sex" else "X"}))
    assert decided.state is ResultState.HELD
    assert "another patient" in decided.reason


def test_the_gate_holds_everything_of_a_held_study(db: Database, clock: FakeClock, row: OutboxRow) -> None:
    with db.transaction():
        studies.move(db, clock.now(), STUDY, StudyState.HELD, "conflict")
    assert gate(db, policy(model()), row, PATIENT).state is ResultState.HELD


def test_results_of_a_held_study_wait_for_the_closing_after_its_release_and_then_go_on(
    db: Database, clock: FakeClock, row: OutboxRow
) -> None:
    with db.transaction():
        studies.move(db, clock.now(), STUDY, StudyState.HELD, "conflict")
        outbox.move(db, clock.now(), row, ResultState.HELD, "the study is held")
    operations.release(db, clock.now(), STUDY)
    assert gate(db, policy(model()), row, PATIENT).state is ResultState.QUEUED
    close_due(db, clock.forward(1), policy(model()))
    (again,) = [each for each in outbox.of_study(db, STUDY) if each.id == row.id]
    assert again.state is ResultState.QUEUED
    assert gate(db, policy(model()), again, PATIENT).is_open


def test_the_gate_holds_the_results_of_a_model_that_is_no_longer_live(db: Database, row: OutboxRow) -> None:
    assert gate(db, policy(model(Mode.SHADOW)), row, PATIENT).state is ResultState.HELD


def test_a_newer_version_of_an_input_makes_the_gate_wait_and_then_supersede(
    db: Database, clock: FakeClock, row: OutboxRow
) -> None:
    used = policy(model())
    for number in range(6):
        arrive(db, clock.now(), slice_of(number, content=f"new {number}"), version="2")
        assert gate(db, used, row, PATIENT).state is ResultState.QUEUED
    close_due(db, clock.forward(QUIET_S), used)
    assert gate(db, used, row, PATIENT).state is ResultState.SUPERSEDED


def test_a_re_encoded_copy_of_an_input_holds_nothing_up(db: Database, clock: FakeClock, row: OutboxRow) -> None:
    for number in range(6):
        arrive(db, clock.now(), slice_of(number), version="2", source="OTHER")
        assert gate(db, policy(model()), row, PATIENT).is_open


def test_a_copy_that_is_not_described_yet_or_names_the_patient_otherwise_does(
    db: Database, clock: FakeClock, row: OutboxRow
) -> None:
    copy = slice_of(0, patient=replace(PATIENT, sex="M"))
    arrive(db, clock.now(), copy, version="2", describe=False)
    assert gate(db, policy(model()), row, PATIENT).state is ResultState.QUEUED
    (item,) = work_items.claim(db, clock.now(), WorkKind.DESCRIBE, "describe:1", 30)
    with db.transaction():
        instances.record_description(db, int(item.subject), copy, ours=False)
        work_items.finish(db, clock.now(), item)
    assert gate(db, policy(model()), row, PATIENT).state is ResultState.QUEUED


def the_study(db: Database) -> StudyRow:
    study = studies.study(db, STUDY)
    assert study is not None
    return study


def send_all(db: Database, clock: FakeClock, version: str, patient: Patient, **more: object) -> None:
    for number in range(6):
        described = slice_of(number, patient=patient, **more)
        arrive(db, clock.now(), described, version=version)


CORRECTED = replace(PATIENT, patient_id="P9")


def test_a_patient_changed_on_every_instance_holds_the_study_until_a_person_has_looked(
    db: Database, clock: FakeClock, row: OutboxRow
) -> None:
    used = policy(model())
    send_all(db, clock, "2", CORRECTED, content="with P9")
    close_due(db, clock.forward(QUIET_S), used)
    assert the_study(db).state is StudyState.HELD
    assert "another patient than before: Patient ID differs" in the_study(db).reason
    assert "P9" not in the_study(db).reason
    assert events.of_study(db, STUDY)[-1].about == "study"
    assert gate(db, used, row, PATIENT).state is ResultState.HELD
    operations.release(db, clock.now(), STUDY)
    close_due(db, clock.forward(1), used)
    assert (the_study(db).patient, the_study(db).state) == (CORRECTED, StudyState.WAITING)
    assert gate(db, used, row, PATIENT).state is ResultState.SUPERSEDED
    (after,) = outcomes.current(db, STUDY)
    assert (after.revision, after.state) == (2, OutcomeState.PENDING)
    arrive(db, clock.now(), slice_of(6, patient=CORRECTED))
    close_due(db, clock.forward(QUIET_S), used)
    assert the_study(db).state is StudyState.WAITING  # once released, its patient stands


def test_a_release_believes_only_what_the_person_was_told(db: Database, clock: FakeClock, row: OutboxRow) -> None:
    used = policy(model())
    with db.transaction():
        studies.move(db, clock.now(), STUDY, StudyState.HELD, "the modality says that it was the wrong order")
    send_all(db, clock, "2", CORRECTED, content="with P9")
    operations.release(db, clock.now(), STUDY)
    close_due(db, clock.forward(1), used)
    assert the_study(db).state is StudyState.HELD
    assert "another patient than before" in the_study(db).reason
    clock.forward(5)
    send_all(db, clock, "3", replace(PATIENT, patient_id="P7"), content="with P7")
    operations.release(db, clock.now(), STUDY)
    close_due(db, clock.forward(1), used)
    assert the_study(db).state is StudyState.HELD  # P7 came after the person was told of P9
    operations.release(db, clock.forward(1), STUDY)
    close_due(db, clock.forward(1), used)
    assert the_study(db).patient.patient_id == "P7"
    assert the_study(db).state is StudyState.WAITING


def test_a_patient_changed_before_the_first_closing_holds_the_study_too(db: Database, clock: FakeClock) -> None:
    send_all(db, clock, "1", PATIENT)
    send_all(db, clock, "2", CORRECTED, content="with P9")
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert the_study(db).state is StudyState.HELD
    assert outcomes.current(db, STUDY) == []
    operations.release(db, clock.now(), STUDY)
    close_due(db, clock.forward(1), policy(model()))
    assert the_study(db).patient == CORRECTED
    assert len(outcomes.current(db, STUDY)) == 1


@pytest.mark.parametrize("added", [{"issuer": "B"}, {"sex": "O"}, {"birth_date": "19700102"}])
def test_what_contradicts_the_patient_runs_anew_and_what_an_archive_adds_does_not(
    db: Database, clock: FakeClock, added: dict[str, str]
) -> None:
    used = policy(model())
    unknown = Patient(patient_id="P1", name="Doe^Jane")
    send_all(db, clock, "1", unknown)
    close_due(db, clock.forward(QUIET_S), used)
    send_all(db, clock, "2", replace(unknown, **added, name="DOE^JANE"))
    close_due(db, clock.forward(QUIET_S), used)
    (first,) = outcomes.current(db, STUDY)
    assert (first.revision, first.run_number) == (1, 1)
    contrary = {name: value[::-1] + "1" for name, value in added.items()}
    send_all(db, clock, "3", replace(unknown, **contrary))
    close_due(db, clock.forward(QUIET_S), used)
    if "issuer" in added:
        assert the_study(db).state is StudyState.HELD
        operations.release(db, clock.now(), STUDY)
        close_due(db, clock.forward(1), used)
    (second,) = outcomes.current(db, STUDY)
    assert (second.revision, second.run_number) == (2, 2)


def test_results_go_where_the_scanner_said_though_an_archive_sends_everything_back(
    db: Database, clock: FakeClock, row: OutboxRow
) -> None:
    used = policy(model(), more_peers=(BACK,))
    for number in range(6):
        arrive(db, clock.now(), slice_of(number), version="2", source="ARCHIVE")
    close_due(db, clock.forward(QUIET_S), used)
    (outcome,) = outcomes.current(db, STUDY)
    assert [peer.name for peer in destinations(db, used, outcome)] == ["PACS"]
    assert gate(db, used, row, PATIENT).is_open


def test_another_content_from_another_source_opens_no_door(db: Database, clock: FakeClock, row: OutboxRow) -> None:
    used = policy(model())
    arrive(db, clock.now(), slice_of(0, content="other"), version="2", source="OTHER")
    close_due(db, clock.forward(QUIET_S), used)
    (outcome,) = outcomes.current(db, STUDY)
    assert destinations(db, used, outcome) == ()


def test_a_corrected_order_counts_at_the_next_closing_and_runs_nothing(db: Database, clock: FakeClock) -> None:
    used = policy(model())
    closed_study(db, clock, used)
    for number in range(6):
        arrive(
            db, clock.now(), slice_of(number, order=Order(accession_number="A2", study_date="20260102")), version="2"
        )
    close_due(db, clock.forward(QUIET_S), used)
    story = study_story(db, STUDY)
    assert story is not None
    assert (story["accession_number"], story["study_date"], story["revision"]) == ("A2", "20260102", 1)
    assert [each["run_number"] for each in story["outcomes"]] == [1]


def test_instances_that_come_again_in_another_study_hold_the_one_that_they_leave(
    db: Database, clock: FakeClock, row: OutboxRow
) -> None:
    moved = replace(slice_of(5), study_instance_uid="1.2.3.7", content_digest="elsewhere")
    arrive(db, clock.now(), moved, version="2")
    assert gate(db, policy(model()), row, PATIENT).state is ResultState.QUEUED
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert (the_study(db).state, the_study(db).reason.partition(".")[0]) == (
        *(StudyState.HELD, "1 of its instances came again in another study"),
    )
    operations.release(db, clock.now(), STUDY)
    close_due(db, clock.forward(1), policy(model()))
    (outcome,) = outcomes.current(db, STUDY)
    assert (outcome.revision, len(outcomes.inputs(db, outcome.id))) == (2, 5)
    arrive(db, clock.now(), slice_of(1, series="1.2.3.1.8", modality="CT"))
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert the_study(db).state is StudyState.WAITING


def test_what_we_made_ourselves_says_nothing_of_the_patient(db: Database, clock: FakeClock, row: OutboxRow) -> None:
    sr = slice_of(1, series="1.2.3.1.9", sop_class_uid=SR, plane=None, pixels=None, patient=CORRECTED)
    arrive(db, clock.now(), sr, describe=False)
    (item,) = work_items.claim(db, clock.now(), WorkKind.DESCRIBE, "describe:1", 30)
    with db.transaction():
        instances.record_description(db, int(item.subject), sr, ours=True)
        work_items.finish(db, clock.now(), item)
    arrive(db, clock.now(), slice_of(6))
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert the_study(db).state is StudyState.WAITING


names = st.sampled_from(["", "A", "B"])
people = st.builds(
    Patient, patient_id=names, issuer=names, birth_date=st.sampled_from(["", "19700101", "19800101"]), sex=names
)


@given(st.lists(people, min_size=2, max_size=5))
def test_agreement_does_not_depend_on_the_order_of_the_instances(patients: list[Patient]) -> None:
    described = [slice_of(number, patient=each) for number, each in enumerate(patients)]
    one, other = agreed_patient(described), agreed_patient(described[::-1])
    assert bool(one[1]) == bool(other[1])
    if not one[1]:
        assert one[0] == other[0]


SURVIVOR = replace(PATIENT, patient_id="P9")


def merged(db: Database, clock: FakeClock) -> None:
    with db.transaction():
        merging.merge(db, clock.now(), policy(model()), PATIENT, SURVIVOR, told_by="hl7 RIS")


def test_results_of_a_merged_patient_leave_only_for_who_is_asked_as_whom_it_has_the_study(
    db: Database, clock: FakeClock, row: OutboxRow
) -> None:
    used = policy(model())
    merged(db, clock)
    decided = gate(db, used, row, PATIENT)
    assert decided.state is ResultState.HELD
    assert "merged into another" in decided.reason
    peers = tuple(each.model_copy(update={"reconcile": each.name == "PACS"}) for each in used.settings.peers)
    asked = replace(used, settings=used.settings.model_copy(update={"peers": peers}))
    assert gate(db, asked, row, PATIENT).is_open
    with db.transaction():
        merging.separate(db, clock.now(), used, PATIENT, SURVIVOR, told_by="hl7 RIS")
    assert gate(db, used, row, PATIENT).is_open


def test_results_of_the_patient_who_survives_go_on(db: Database, clock: FakeClock, row: OutboxRow) -> None:
    with db.transaction():
        merging.merge(db, clock.now(), policy(model()), SURVIVOR, PATIENT, told_by="hl7 RIS")
    assert gate(db, policy(model()), row, PATIENT).is_open


def test_results_under_an_id_that_is_said_to_be_somebody_elses_are_held(
    db: Database, clock: FakeClock, row: OutboxRow
) -> None:
    for name, birth_date, is_open in (
        ("Roe^Richard", "19700101", True), ("Doe^Jane", "19710101", True), ("Roe^Richard", "19720101", False),
        ("Doe^Jane", "19700101", True),
    ):  # fmt: skip
        with db.transaction():
            told = replace(PATIENT, name=name, birth_date=birth_date)
            merging.correct(db, clock.now(), policy(model()), told, told_by="hl7 RIS")
        assert gate(db, policy(model()), row, PATIENT).is_open is is_open, (name, birth_date)


def test_images_that_come_again_as_the_patient_who_survives_are_read_as_theirs_and_hold_nothing(
    db: Database, clock: FakeClock, row: OutboxRow
) -> None:
    used = policy(model())
    merged(db, clock)
    send_all(db, clock, "2", SURVIVOR)
    close_due(db, clock.forward(QUIET_S), used)
    assert the_study(db).state is not StudyState.HELD
    assert the_study(db).patient == SURVIVOR
    assert not gate(db, used, row, PATIENT).is_open


def test_images_that_come_again_as_somebody_who_was_not_merged_hold_the_study(
    db: Database, clock: FakeClock, row: OutboxRow
) -> None:
    merged(db, clock)
    send_all(db, clock, "2", replace(PATIENT, patient_id="P7"))
    close_due(db, clock.forward(QUIET_S), policy(model()))
    assert the_study(db).state is StudyState.HELD


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (PATIENT, True), (SURVIVOR, True), (replace(SURVIVOR, birth_date="19990101"), False),
        (replace(SURVIVOR, issuer="B"), False), (replace(SURVIVOR, issuer=""), False),
        (replace(PATIENT, patient_id="P7"), False),
    ],
)  # fmt: skip
def test_a_study_is_a_siblings_under_any_identifier_of_the_patient(
    db: Database, clock: FakeClock, other: Patient, is_same: bool
) -> None:
    merged(db, clock)
    assert (identities.difference(db, PATIENT, other) == "") is is_same


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ABCDE"), st.sampled_from("ABCDE")), max_size=12))
def test_whatever_is_merged_everybody_has_one_survivor_and_nobody_is_in_two_places(
    pairs: list[tuple[str, str]],
) -> None:
    with TemporaryDirectory() as folder, closing(open_database(Path(folder), "test")) as db:
        clock, together = FakeClock(), {name: {name} for name in "ABCDE"}
        for one, other in pairs:
            with db.transaction(), suppress(Failed):
                whose = (Patient(patient_id=one, issuer="A"), Patient(patient_id=other, issuer="A"))
                merging.merge(db, clock.now(), policy(), *whose, told_by="test")
                for each in together[one] | together[other]:
                    together[each] = together[one] | together[other]
        for name, group in together.items():
            whose_one = Patient(patient_id=name, issuer="A")
            assert set(identities.identifiers(db, whose_one)) == group
            assert len({identities.survivor(db, replace(whose_one, patient_id=each)) for each in group}) == 1
