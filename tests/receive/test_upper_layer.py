from __future__ import annotations

import pytest
from pynetdicom.fsm import ACTIONS, EVENTS, STATES, TRANSITION_TABLE
from pynetdicom.pdu import A_ABORT_RQ, A_RELEASE_RP

from node.receive.upper_layer import (
    EVENT_OF,
    RELEASE_RP,
    TRANSITIONS,
    AbortReason,
    AbortSource,
    Event,
    PduType,
    State,
    abort_pdu,
)

CELLS = [(event, state) for event in Event for state in State]


@pytest.mark.parametrize(("event", "state"), CELLS, ids=lambda each: each.value)
def test_each_cell_is_as_the_standard_has_it(event: Event, state: State):
    expected = TRANSITION_TABLE.get((event.value, state.value))
    found = TRANSITIONS.get((event, state))
    assert (found[0].value if found else None) == expected
    if found:
        following = ACTIONS[found[0].value][2]
        assert found[1].value in ([following] if isinstance(following, str) else following)


def test_only_what_an_acceptor_never_meets_is_left_out():
    states, events = {state.value for state in State}, {event.value for event in Event}
    # Sta4 and Sta5 are a requestor's; Sta7 and Sta9 to Sta12 belong to a release that we never ask for.
    assert set(STATES) - states == {"Sta4", "Sta5", "Sta7", "Sta9", "Sta10", "Sta11", "Sta12"}
    assert set(EVENTS) - events == {"Evt1", "Evt2", "Evt11"}
    assert {following.value for _, following in TRANSITIONS.values()} <= states


def test_every_state_is_reached_and_left():
    reached, pending = {State.IDLE}, [State.IDLE]
    while pending:
        here = pending.pop()
        for (_, state), (_, following) in TRANSITIONS.items():
            if state is here and following not in reached:
                reached.add(following)
                pending.append(following)
    assert reached == set(State)
    for state in set(State) - {State.IDLE}:
        assert any(following is State.IDLE or following is State.CLOSING
                   for (_, here), (_, following) in TRANSITIONS.items() if here is state)  # fmt: skip


def test_every_pdu_type_is_an_event():
    assert set(EVENT_OF) == set(PduType)


@pytest.mark.parametrize("reason", AbortReason)
def test_an_abort_is_encoded_as_pynetdicom_does(reason: AbortReason):
    pdu = A_ABORT_RQ()
    pdu.source, pdu.reason_diagnostic = 2, reason.value
    assert abort_pdu(AbortSource.SERVICE_PROVIDER, reason) == pdu.encode()


def test_a_release_is_answered_as_pynetdicom_does():
    assert A_RELEASE_RP().encode() == RELEASE_RP
