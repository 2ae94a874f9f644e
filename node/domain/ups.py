"""The Unified Procedure Step (PS3.4 Annex CC): its SOP classes, states, statuses, and the table of its moves.

`TABLE` is PS3.4 Table CC.1.1-2, cell by cell. Whether a Transaction UID is the correct one is told by `event_of`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum, StrEnum

#: SOP classes (PS3.4 §CC.3.1). Every step is an instance of the first, whichever of them is negotiated.
PUSH = "1.2.840.10008.5.1.4.34.6.1"
WATCH = "1.2.840.10008.5.1.4.34.6.2"
PULL = "1.2.840.10008.5.1.4.34.6.3"
EVENT = "1.2.840.10008.5.1.4.34.6.4"
QUERY = "1.2.840.10008.5.1.4.34.6.5"
#: Well-known instances to which one subscribes: all steps, and those that match (PS3.4 §CC.2.3.2, §CC.2.3.3).
GLOBAL_SUBSCRIPTION = "1.2.840.10008.5.1.4.34.5"
FILTERED_GLOBAL_SUBSCRIPTION = "1.2.840.10008.5.1.4.34.5.1"

#: Peers that ask for work, those that do it, and those that read studies.
REQUESTER, PERFORMER, READER = "requester", "performer", "reader"
#: Peers that may work on a step.
WORKING = (PERFORMER, READER)
#: Peers that may know of a step.
KNOWING = (REQUESTER, *WORKING)


class UpsState(StrEnum):
    """Procedure Step State (0074,1000)."""

    #: It waits for a performer.
    SCHEDULED = "SCHEDULED"
    #: A performer has claimed it and holds its Transaction UID.
    IN_PROGRESS = "IN PROGRESS"
    #: Done; it changes no more.
    COMPLETED = "COMPLETED"
    #: Given up; it changes no more.
    CANCELED = "CANCELED"

    @property
    def is_final(self) -> bool:
        """Whether it changes no more."""
        return self in (UpsState.COMPLETED, UpsState.CANCELED)


class Action(IntEnum):
    """Action Type ID of an N-ACTION (PS3.4 Tables CC.2.1-1, CC.2.2-1, CC.2.3-1)."""

    CHANGE_STATE = 1
    REQUEST_CANCEL = 2
    SUBSCRIBE = 3
    UNSUBSCRIBE = 4
    SUSPEND_GLOBAL = 5


class Report(IntEnum):
    """Event Type ID of an N-EVENT-REPORT (PS3.4 Table CC.2.4-1)."""

    STATE = 1
    CANCEL_REQUESTED = 2
    PROGRESS = 3
    ASSIGNED = 5


class UpsStatus(IntEnum):
    """Statuses of this service class, beside the general ones of PS3.7 Annex C."""

    SUCCESS = 0x0000
    #: N-SET: an attribute that may not be set.
    NO_SUCH_ATTRIBUTE = 0x0105
    INVALID_ATTRIBUTE_VALUE = 0x0106
    #: N-CREATE: there is a step with this UID.
    DUPLICATE_SOP_INSTANCE = 0x0111
    MISSING_ATTRIBUTE = 0x0120
    MISSING_ATTRIBUTE_VALUE = 0x0121
    #: No action of this SOP class.
    NO_SUCH_ACTION = 0x0123
    #: More than is kept for one peer (PS3.7 Annex C).
    RESOURCE_LIMITATION = 0x0213
    #: It is already in the requested state of CANCELED.
    ALREADY_CANCELED = 0xB304
    #: It is already in the requested state of COMPLETED.
    ALREADY_COMPLETED = 0xB306
    #: It may no longer be updated.
    MAY_NO_LONGER_BE_UPDATED = 0xC300
    #: The correct Transaction UID was not provided.
    WRONG_TRANSACTION_UID = 0xC301
    ALREADY_IN_PROGRESS = 0xC302
    #: It may only become SCHEDULED via N-CREATE.
    SCHEDULED_BY_CREATION_ALONE = 0xC303
    #: It has not met the final state requirements.
    FINAL_STATE_NOT_MET = 0xC304
    #: No step with this UID is managed here.
    NO_SUCH_UPS = 0xC307
    #: The Receiving AE is unknown here.
    RECEIVING_AE_UNKNOWN = 0xC308
    #: The state of a step that is to be created is not SCHEDULED.
    NOT_CREATED_SCHEDULED = 0xC309
    NOT_IN_PROGRESS = 0xC310
    COMPLETED_ALREADY = 0xC311
    #: The performer cannot be contacted.
    PERFORMER_OUT_OF_REACH = 0xC312
    #: The action is not appropriate for the instance.
    NOT_FOR_THIS_INSTANCE = 0xC314


class UpsEvent(Enum):
    """What is asked of a step: the rows of the table."""

    CREATE = "N-CREATE"
    CLAIM = "to IN PROGRESS, correct Transaction UID"
    CLAIM_WRONGLY = "to IN PROGRESS, without the correct Transaction UID"
    RESCHEDULE = "to SCHEDULED"
    COMPLETE = "to COMPLETED, correct Transaction UID"
    COMPLETE_WRONGLY = "to COMPLETED, without the correct Transaction UID"
    REQUEST_CANCEL = "Request Cancel"
    CANCEL = "to CANCELED, correct Transaction UID"
    CANCEL_WRONGLY = "to CANCELED, without the correct Transaction UID"


@dataclass(frozen=True, slots=True)
class Cell:
    """What an event does to a step in one state."""

    status: UpsStatus
    #: The state that it moves to; `None` where it stays.
    after: UpsState | None = None
    #: Only where the final state requirements are met; else the answer is 0xC304.
    if_final_met: bool = False
    #: It passes through IN PROGRESS, and both moves are reported.
    through_in_progress: bool = False
    #: It stays; those who watch it are told that somebody wants it canceled.
    asks_performer: bool = False


_Row = tuple[Cell, Cell, Cell, Cell, Cell]
_STATES = (None, UpsState.SCHEDULED, UpsState.IN_PROGRESS, UpsState.COMPLETED, UpsState.CANCELED)
_S, _UNKNOWN = UpsStatus, Cell(UpsStatus.NO_SUCH_UPS)
_DUPLICATE, _FINAL = Cell(_S.DUPLICATE_SOP_INSTANCE), Cell(_S.MAY_NO_LONGER_BE_UPDATED)
_NOT_YET, _WRONG = Cell(_S.NOT_IN_PROGRESS), Cell(_S.WRONG_TRANSACTION_UID)
_NEVER, _CANCELED = Cell(_S.SCHEDULED_BY_CREATION_ALONE), Cell(_S.ALREADY_CANCELED)
_WRONGLY: _Row = (_UNKNOWN, _WRONG, _WRONG, _WRONG, _WRONG)
#: Columns: no such step, SCHEDULED, IN PROGRESS, COMPLETED, CANCELED.
_ROWS: dict[UpsEvent, _Row] = {
    UpsEvent.CREATE: (Cell(_S.SUCCESS, UpsState.SCHEDULED), _DUPLICATE, _DUPLICATE, _DUPLICATE, _DUPLICATE),
    UpsEvent.CLAIM: (
        *(_UNKNOWN, Cell(_S.SUCCESS, UpsState.IN_PROGRESS), Cell(_S.ALREADY_IN_PROGRESS)),
        *(_FINAL, _FINAL),
    ),
    UpsEvent.CLAIM_WRONGLY: _WRONGLY,
    UpsEvent.RESCHEDULE: (_UNKNOWN, _NEVER, _NEVER, _NEVER, _NEVER),
    UpsEvent.COMPLETE: (
        *(_UNKNOWN, _NOT_YET, Cell(_S.SUCCESS, UpsState.COMPLETED, if_final_met=True)),
        *(Cell(_S.ALREADY_COMPLETED), _FINAL),
    ),
    UpsEvent.COMPLETE_WRONGLY: _WRONGLY,
    UpsEvent.REQUEST_CANCEL: (
        *(_UNKNOWN, Cell(_S.SUCCESS, UpsState.CANCELED, through_in_progress=True)),
        *(Cell(_S.SUCCESS, asks_performer=True), Cell(_S.COMPLETED_ALREADY), _CANCELED),
    ),
    UpsEvent.CANCEL: (
        *(_UNKNOWN, _NOT_YET, Cell(_S.SUCCESS, UpsState.CANCELED, if_final_met=True)),
        *(_FINAL, _CANCELED),
    ),
    UpsEvent.CANCEL_WRONGLY: _WRONGLY,
}
#: (event, state) → what happens; the state `None` is that of a step that does not exist.
TABLE: dict[tuple[UpsEvent, UpsState | None], Cell] = {
    (event, state): cell for event, row in _ROWS.items() for state, cell in zip(_STATES, row, strict=True)
}

_RIGHTLY = {
    UpsState.IN_PROGRESS: (UpsEvent.CLAIM, UpsEvent.CLAIM_WRONGLY),
    UpsState.COMPLETED: (UpsEvent.COMPLETE, UpsEvent.COMPLETE_WRONGLY),
    UpsState.CANCELED: (UpsEvent.CANCEL, UpsEvent.CANCEL_WRONGLY),
}


def event_of(asked: UpsState, state: UpsState | None, *, held: str, told: str) -> UpsEvent:
    """Which event a request to change the state is.

    `held`: the Transaction UID by which the step was claimed, empty if it never was; `told`: that of the request. Of
    a step that nobody has claimed any one is correct, but none is not; of one that was claimed, only that one.
    """
    if asked is UpsState.SCHEDULED:
        return UpsEvent.RESCHEDULE
    correct, wrong = _RIGHTLY[asked]
    return correct if told and (told == held or not held or state is None) else wrong


def judge_setting(state: UpsState, *, held: str, told: str) -> UpsStatus:
    """The status of an N-SET by state and Transaction UID (PS3.4 §CC.2.6.2, §CC.2.6.3)."""
    if state.is_final:
        return UpsStatus.MAY_NO_LONGER_BE_UPDATED
    if state is UpsState.SCHEDULED:
        return UpsStatus.NOT_IN_PROGRESS if told else UpsStatus.SUCCESS
    return UpsStatus.SUCCESS if told == held else UpsStatus.WRONG_TRANSACTION_UID
