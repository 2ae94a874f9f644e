"""PS3.4 Table CC.1.1-2, written down a second time, by hand."""

from __future__ import annotations

import pytest
from pynetdicom.status import UNIFIED_PROCEDURE_STEP_SERVICE_CLASS_STATUS

from node.domain.ups import TABLE, UpsEvent, UpsState, UpsStatus, event_of, judge_setting

#: Event: what it does to no step, and to one that is SCHEDULED, IN PROGRESS, COMPLETED, CANCELED. A state is the move
#: to it; with `!`, only where the final state requirements are met.
TWIN = {
    UpsEvent.CREATE: ("SCHEDULED", "0111", "0111", "0111", "0111"),
    UpsEvent.CLAIM: ("C307", "IN PROGRESS", "C302", "C300", "C300"),
    UpsEvent.CLAIM_WRONGLY: ("C307", "C301", "C301", "C301", "C301"),
    UpsEvent.RESCHEDULE: ("C307", "C303", "C303", "C303", "C303"),
    UpsEvent.COMPLETE: ("C307", "C310", "COMPLETED!", "B306", "C300"),
    UpsEvent.COMPLETE_WRONGLY: ("C307", "C301", "C301", "C301", "C301"),
    UpsEvent.REQUEST_CANCEL: ("C307", "CANCELED>", "ask", "C311", "B304"),
    UpsEvent.CANCEL: ("C307", "C310", "CANCELED!", "C300", "B304"),
    UpsEvent.CANCEL_WRONGLY: ("C307", "C301", "C301", "C301", "C301"),
}
STATES = (None, UpsState.SCHEDULED, UpsState.IN_PROGRESS, UpsState.COMPLETED, UpsState.CANCELED)
CELLS = [(event, state, said) for event, row in TWIN.items() for state, said in zip(STATES, row, strict=True)]


@pytest.mark.parametrize(("event", "state", "said"), CELLS)
def test_a_cell_is_that_of_the_standard(event: UpsEvent, state: UpsState | None, said: str) -> None:
    cell = TABLE[event, state]
    shown = f"{cell.status:04X}"
    if cell.after is not None:
        shown = cell.after + ("!" if cell.if_final_met else "") + (">" if cell.through_in_progress else "")
        assert cell.status == 0
    if cell.asks_performer:
        shown = "ask"
        assert (cell.status, cell.after) == (0, None)
    assert shown == said


def test_there_is_a_cell_for_every_event_in_every_state_and_no_other() -> None:
    assert set(TABLE) == {(event, state) for event in UpsEvent for state in STATES}
    assert set(TWIN) == set(UpsEvent)


#: Asked, state, Transaction UID held, told, and what it is.
ASKED = [
    ("IN PROGRESS", "SCHEDULED", "", "1.2", UpsEvent.CLAIM),
    ("IN PROGRESS", "SCHEDULED", "", "", UpsEvent.CLAIM_WRONGLY),
    ("IN PROGRESS", "IN PROGRESS", "1.2", "1.2", UpsEvent.CLAIM),
    ("IN PROGRESS", "IN PROGRESS", "1.2", "1.3", UpsEvent.CLAIM_WRONGLY),
    ("IN PROGRESS", "CANCELED", "", "1.3", UpsEvent.CLAIM),
    ("SCHEDULED", "IN PROGRESS", "1.2", "1.2", UpsEvent.RESCHEDULE),
    ("COMPLETED", "IN PROGRESS", "1.2", "1.2", UpsEvent.COMPLETE),
    ("COMPLETED", "IN PROGRESS", "1.2", "", UpsEvent.COMPLETE_WRONGLY),
    ("COMPLETED", "SCHEDULED", "", "1.2", UpsEvent.COMPLETE),
    ("CANCELED", "COMPLETED", "1.2", "1.3", UpsEvent.CANCEL_WRONGLY),
    ("CANCELED", "IN PROGRESS", "1.2", "1.2", UpsEvent.CANCEL),
]


@pytest.mark.parametrize(("asked", "state", "held", "told", "event"), ASKED)
def test_a_transaction_uid_is_correct_or_not(asked: str, state: str, held: str, told: str, event: UpsEvent) -> None:
    assert event_of(UpsState(asked), UpsState(state), held=held, told=told) is event


@pytest.mark.parametrize(
    ("state", "told", "status"),
    [
        ("SCHEDULED", "", 0x0000),
        ("SCHEDULED", "1.2", 0xC310),
        ("IN PROGRESS", "1.2", 0x0000),
        ("IN PROGRESS", "1.3", 0xC301),
        ("IN PROGRESS", "", 0xC301),
        ("COMPLETED", "1.2", 0xC300),
        ("CANCELED", "1.2", 0xC300),
    ],
)
def test_attributes_are_set_by_whom_the_state_allows(state: str, told: str, status: int) -> None:
    held = "" if state == "SCHEDULED" else "1.2"
    assert judge_setting(UpsState(state), held=held, told=told) == status


def test_every_status_is_one_of_the_service_class_with_that_meaning() -> None:
    for status in UpsStatus:
        category, meaning = UNIFIED_PROCEDURE_STEP_SERVICE_CLASS_STATUS[status]
        assert category == ("Success" if not status else "Warning" if status >> 12 == 0xB else "Failure")
        assert not status or meaning
    assert "Transaction UID" in UNIFIED_PROCEDURE_STEP_SERVICE_CLASS_STATUS[UpsStatus.WRONG_TRANSACTION_UID][1]
    assert "IN PROGRESS" in UNIFIED_PROCEDURE_STEP_SERVICE_CLASS_STATUS[UpsStatus.ALREADY_IN_PROGRESS][1]
