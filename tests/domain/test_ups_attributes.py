from __future__ import annotations

from typing import Any

import pytest

from node.domain.dicom_json import Attributes, coded, element, items
from node.domain.ups import UpsState
from node.domain.ups_attributes import (
    PERFORMED,
    PRIORITY,
    PROGRESS,
    READINESS,
    START,
    STATE,
    STEP_LABEL,
    TRANSACTION_UID,
    WORKLIST_LABEL,
    completed_creation,
    fault_of_creation,
    fault_of_setting,
    unmet,
    with_cancellation,
)

CODE = coded("110005", "DCM", "Interpretation")
CREATION = {
    STATE: element("CS", "SCHEDULED"),
    PRIORITY: element("CS", "HIGH"),
    STEP_LABEL: element("LO", "Read"),
    START: element("DT", "20260102030405"),
    READINESS: element("CS", "READY"),
    TRANSACTION_UID: element("UI"),
}
DONE: Attributes = {
    "00404028": element("SQ", CODE),
    "00404050": element("DT", "20260102030405"),
    "00404019": element("SQ", CODE),
    "00404051": element("DT", "20260102040405"),
    "00404033": element("SQ"),
}


def test_a_step_that_says_what_it_must_is_created() -> None:
    assert fault_of_creation(CREATION) is None


@pytest.mark.parametrize(
    ("tag", "value", "status"),
    [
        (STATE, None, 0x0120),
        (STATE, element("CS", "IN PROGRESS"), 0xC309),
        (STATE, element("CS"), 0xC309),
        (TRANSACTION_UID, element("UI", "1.2"), 0x0106),
        *((tag, None, 0x0120) for tag in (PRIORITY, STEP_LABEL, START, READINESS)),
        *((tag, {"vr": "LO"}, 0x0121) for tag in (PRIORITY, STEP_LABEL, START, READINESS)),
        (PRIORITY, element("CS", "STAT"), 0x0106),
        (READINESS, element("CS", "SOON"), 0x0106),
    ],
)
def test_a_step_that_does_not_is_refused(tag: str, value: dict[str, Any] | None, status: int) -> None:
    changed = {key: each for key, each in (CREATION | {tag: value}).items() if each is not None}
    fault = fault_of_creation(changed)
    assert fault is not None
    assert fault[0] == status


def test_what_a_new_step_leaves_out_is_there_and_empty_and_the_lock_is_not() -> None:
    made = completed_creation(dict(CREATION), worklist_label="READING")
    assert (made["00404025"], made[PROGRESS]) == ({"vr": "SQ"}, {"vr": "SQ"})
    assert made[WORKLIST_LABEL] == element("LO", "READING")
    assert TRANSACTION_UID not in made


@pytest.mark.parametrize(
    ("tag", "value", "status"),
    [
        (STATE, element("CS", "SCHEDULED"), 0xC303),
        (STATE, element("CS", "COMPLETED"), 0x0105),
        ("00100020", element("LO", "P2"), 0x0105),
        ("00100010", element("PN", "Other"), 0x0105),
        ("0020000D", element("UI", "1.2"), 0x0105),
        ("00080018", element("UI", "1.2"), 0x0105),
        (PRIORITY, element("CS", "NOW"), 0x0106),
        (STEP_LABEL, element("LO"), 0x0121),
        (PRIORITY, element("CS", "LOW"), None),
        (PROGRESS, element("SQ"), None),
    ],
)
def test_what_may_be_set_is_not_whom_it_is_about(tag: str, value: dict[str, Any], status: int | None) -> None:
    fault = fault_of_setting({tag: value})
    assert (fault and fault[0]) == status


def test_a_step_is_completed_only_with_what_was_done() -> None:
    assert unmet({PERFORMED: element("SQ", DONE)}, UpsState.COMPLETED) == ""
    assert unmet({PERFORMED: element("SQ")}, UpsState.COMPLETED)
    for tag in DONE:
        less = {key: value for key, value in DONE.items() if key != tag}
        assert unmet({PERFORMED: element("SQ", DONE, less)}, UpsState.COMPLETED), tag


def test_a_step_is_canceled_only_with_time_and_reason() -> None:
    assert unmet({PROGRESS: element("SQ")}, UpsState.CANCELED)
    timed = with_cancellation({PROGRESS: element("SQ", {"00741004": element("DS", 30)})}, at="20260102", reason=None)
    assert "Reason" in unmet(timed, UpsState.CANCELED)
    full = with_cancellation(timed, at="20270102", reason=CODE)
    assert unmet(full, UpsState.CANCELED) == ""
    [item] = items(full, PROGRESS)
    assert item["00404052"] == element("DT", "20260102")
    assert item["00741004"] == element("DS", 30)
