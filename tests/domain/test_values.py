from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import UID

from node.domain.patient import Patient, conflict
from node.domain.priority import Lane, lane_of_requested_priority
from node.domain.study import is_image
from node.domain.time import Instant, SystemClock, elapsed_s
from node.domain.uid import derived_uid, is_valid_uid
from node.domain.work import FINAL_OUTCOMES, OUTCOME_MOVES, RESULT_MOVES, WORK_MOVES

texts = st.lists(st.text(max_size=20), min_size=1, max_size=4)


@given(texts, texts)
def test_derived_uids_are_valid_and_differ_exactly_when_their_parts_do(one: list[str], other: list[str]) -> None:
    assert UID(derived_uid(*one)).is_valid
    assert is_valid_uid(derived_uid(*one))
    assert (derived_uid(*one) == derived_uid(*other)) == (one == other)


def test_derived_uids_never_change_between_versions() -> None:
    assert derived_uid("1.2.3", "seg", 1) == "2.25.296243365642544273307730990388002496072"


@pytest.mark.parametrize(
    "text", ["", "1", ".1", "1.", "1..2", "1.02", "1.2.a", "1.2\n", "../1", "1." + "2" * 63, " 1.2"]
)
def test_what_is_no_uid_is_refused(text: str) -> None:
    assert not is_valid_uid(text)


@pytest.mark.parametrize("text", ["1.2", "0.0", "2.25.123", "1." + "2" * 62])
def test_uids_of_legal_form_pass(text: str) -> None:
    assert is_valid_uid(text)


@pytest.mark.parametrize("patient_id", ["", " ", "0", "UNKNOWN", "anonymous", "AB*", "A?", "A\\B"])
def test_placeholders_and_wildcards_identify_nobody(patient_id: str) -> None:
    assert not Patient(patient_id=patient_id).is_identified


def test_an_id_against_no_id_is_a_conflict_but_a_missing_issuer_is_not() -> None:
    assert conflict(Patient(patient_id="1"), Patient()) == "Patient ID differs"
    assert conflict(Patient(patient_id="1", issuer="A"), Patient(patient_id="1")) is None
    assert conflict(Patient(patient_id="1", issuer="A"), Patient(patient_id="1", issuer="B")) is not None


def test_names_are_not_compared() -> None:
    assert conflict(Patient(patient_id="1", name="Müller"), Patient(patient_id="1", name="Mueller")) is None


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        Instant(datetime(2026, 1, 1), 0.0, "b")  # noqa: DTZ001


def test_intervals_come_from_the_steady_clock_within_a_boot_and_are_never_negative() -> None:
    early = Instant(datetime(2026, 1, 1, tzinfo=UTC), 100.0, "b")
    stepped_back = Instant(datetime(2025, 1, 1, tzinfo=UTC), 160.0, "b")
    assert elapsed_s(early, stepped_back) == 60.0
    rebooted = Instant(datetime(2026, 1, 1, 0, 5, tzinfo=UTC), 1.0, "c")
    assert elapsed_s(early, rebooted) == 300.0
    assert elapsed_s(rebooted, early) == 0.0


def test_the_systems_clock_runs_forward() -> None:
    clock = SystemClock()
    assert elapsed_s(clock.now(), clock.now()) >= 0


@pytest.mark.parametrize(
    ("text", "lane"),
    [("STAT", Lane.STAT), ("high", Lane.URGENT), ("ROUTINE", Lane.ROUTINE), ("", Lane.ROUTINE), ("soon", Lane.ROUTINE)],
)
def test_an_orders_priority_gives_its_lane(text: str, lane: Lane) -> None:
    assert lane_of_requested_priority(text) is lane


@pytest.mark.parametrize(
    ("uid", "image"),
    [
        ("1.2.840.10008.5.1.4.1.1.4", True),
        ("1.2.840.10008.5.1.4.1.1.2", True),
        ("1.2.840.10008.5.1.4.1.1.7", True),
        ("1.2.840.10008.5.1.4.1.1.1.1", True),
        ("1.2.840.10008.5.1.4.1.1.88.34", False),
        ("1.2.840.10008.5.1.4.1.1.66.4", False),
        ("1.2.840.10008.5.1.4.1.1.66.7", False),
        ("1.2.840.10008.5.1.4.1.1.11.1", False),
        ("1.2.840.10008.5.1.4.1.1.30", False),
        ("1.2.840.10008.5.1.4.1.1.88.59", False),
        ("1.2.840.10008.5.1.4.1.1.104.1", False),
        ("1.2.840.10008.5.1.4.1.1.481.3", False),
    ],
)
def test_documents_and_results_are_no_images(uid: str, image: bool) -> None:
    assert is_image(uid) is image


@pytest.mark.parametrize("moves", [WORK_MOVES, OUTCOME_MOVES, RESULT_MOVES])
def test_every_state_has_its_moves(moves: dict[object, frozenset[object]]) -> None:
    (kind,) = {type(state) for state in moves}
    assert set(moves) == set(kind)  # type: ignore[call-overload]
    assert all(target in moves for targets in moves.values() for target in targets)


def test_a_superseded_outcome_never_comes_back() -> None:
    assert all(not OUTCOME_MOVES[state] for state in OUTCOME_MOVES if state.value == "superseded")
    assert {state for state, targets in OUTCOME_MOVES.items() if not targets} <= FINAL_OUTCOMES
