"""The upper layer's state machine for an association acceptor, as a table (PS3.8 §9.2, Table 9-10).

States that only a requestor is in (Sta4, Sta5), and those of a release that we ask for (Sta7, Sta9 to Sta12), are not
here: we never ask for one. AE-6 goes to Sta3 alone: what the provider itself rejects is rejected from there by AE-8.
"""

from __future__ import annotations

import struct
from enum import IntEnum, StrEnum

from node.errors import MatinsError


class PduType(IntEnum):
    """The first byte of a PDU (PS3.8 §9.3)."""

    ASSOCIATE_RQ = 0x01
    ASSOCIATE_AC = 0x02
    ASSOCIATE_RJ = 0x03
    P_DATA_TF = 0x04
    RELEASE_RQ = 0x05
    RELEASE_RP = 0x06
    ABORT = 0x07


class AbortSource(IntEnum):
    """Who ends an association (PS3.8 Table 9-26)."""

    SERVICE_USER = 0
    SERVICE_PROVIDER = 2


class AbortReason(IntEnum):
    """Why the provider ends it (PS3.8 Table 9-26); a user gives no reason."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER_VALUE = 6


# Text, since each PDU looks a pair of them up, and text has its hash at hand.
class State(StrEnum):
    """Where an acceptor is (PS3.8 §9.2.1)."""

    #: No association, or none any more.
    IDLE = "Sta1"
    #: Transport connection open, awaiting A-ASSOCIATE-RQ.
    AWAITING_REQUEST = "Sta2"
    #: Awaiting our own verdict.
    AWAITING_VERDICT = "Sta3"
    #: Association established.
    ESTABLISHED = "Sta6"
    #: Awaiting our own consent to a release.
    AWAITING_RELEASE = "Sta8"
    #: Awaiting the end of the transport connection.
    CLOSING = "Sta13"


class Event(StrEnum):
    """What may happen (PS3.8 Table 9-10)."""

    ASSOCIATE_AC = "Evt3"
    ASSOCIATE_RJ = "Evt4"
    CONNECTED = "Evt5"
    ASSOCIATE_RQ = "Evt6"
    ACCEPT = "Evt7"
    REJECT = "Evt8"
    P_DATA_REQUEST = "Evt9"
    P_DATA_TF = "Evt10"
    RELEASE_RQ = "Evt12"
    RELEASE_RP = "Evt13"
    RELEASE_RESPONSE = "Evt14"
    ABORT_REQUEST = "Evt15"
    ABORT = "Evt16"
    CLOSED = "Evt17"
    ARTIM_EXPIRED = "Evt18"
    INVALID_PDU = "Evt19"


class Action(StrEnum):
    """What is done (PS3.8 Tables 9-6 to 9-9)."""

    #: Issue transport connection response; start ARTIM (Table 9-6).
    AE_5 = "AE-5"
    #: Stop ARTIM and ask for the verdict (Table 9-6).
    AE_6 = "AE-6"
    #: Send A-ASSOCIATE-AC (Table 9-6).
    AE_7 = "AE-7"
    #: Send A-ASSOCIATE-RJ; start ARTIM (Table 9-6).
    AE_8 = "AE-8"
    #: Send P-DATA-TF (Table 9-7).
    DT_1 = "DT-1"
    #: Hand on what P-DATA-TF holds (Table 9-7).
    DT_2 = "DT-2"
    #: A release is asked for (Table 9-8).
    AR_2 = "AR-2"
    #: Send A-RELEASE-RP; start ARTIM (Table 9-8).
    AR_4 = "AR-4"
    #: Stop ARTIM (Table 9-8).
    AR_5 = "AR-5"
    #: Send P-DATA-TF though a release was asked for (Table 9-8).
    AR_7 = "AR-7"
    #: Send A-ABORT; start ARTIM (Table 9-9).
    AA_1 = "AA-1"
    #: Stop ARTIM; close the transport connection (Table 9-9).
    AA_2 = "AA-2"
    #: The peer aborted: close the transport connection (Table 9-9).
    AA_3 = "AA-3"
    #: The transport connection is lost (Table 9-9).
    AA_4 = "AA-4"
    #: Stop ARTIM: the transport connection is lost (Table 9-9).
    AA_5 = "AA-5"
    #: Ignore the PDU (Table 9-9).
    AA_6 = "AA-6"
    #: Send A-ABORT (Table 9-9).
    AA_7 = "AA-7"
    #: Send A-ABORT as provider; start ARTIM (Table 9-9).
    AA_8 = "AA-8"


_S, _E, _A = State, Event, Action
_ABORTED = (_A.AA_8, _S.CLOSING)
_UNEXPECTED = dict.fromkeys((_S.AWAITING_VERDICT, _S.ESTABLISHED, _S.AWAITING_RELEASE), _ABORTED)
#: A PDU of which nothing good can come in any state: out of turn, but no more than ignored while closing.
_NEVER = {_S.AWAITING_REQUEST: (_A.AA_1, _S.CLOSING), **_UNEXPECTED, _S.CLOSING: (_A.AA_6, _S.CLOSING)}
_IN_ASSOCIATION = (_S.AWAITING_VERDICT, _S.ESTABLISHED, _S.AWAITING_RELEASE)

_BY_EVENT: dict[Event, dict[State, tuple[Action, State]]] = {
    _E.ASSOCIATE_AC: _NEVER,
    _E.ASSOCIATE_RJ: _NEVER,
    _E.CONNECTED: {_S.IDLE: (_A.AE_5, _S.AWAITING_REQUEST)},
    _E.ASSOCIATE_RQ: {
        _S.AWAITING_REQUEST: (_A.AE_6, _S.AWAITING_VERDICT),
        **_UNEXPECTED,
        _S.CLOSING: (_A.AA_7, _S.CLOSING),
    },
    _E.ACCEPT: {_S.AWAITING_VERDICT: (_A.AE_7, _S.ESTABLISHED)},
    _E.REJECT: {_S.AWAITING_VERDICT: (_A.AE_8, _S.CLOSING)},
    _E.P_DATA_REQUEST: {
        _S.ESTABLISHED: (_A.DT_1, _S.ESTABLISHED),
        _S.AWAITING_RELEASE: (_A.AR_7, _S.AWAITING_RELEASE),
    },
    _E.P_DATA_TF: {**_NEVER, _S.ESTABLISHED: (_A.DT_2, _S.ESTABLISHED)},
    _E.RELEASE_RQ: {**_NEVER, _S.ESTABLISHED: (_A.AR_2, _S.AWAITING_RELEASE)},
    _E.RELEASE_RP: _NEVER,
    _E.RELEASE_RESPONSE: {_S.AWAITING_RELEASE: (_A.AR_4, _S.CLOSING)},
    _E.ABORT_REQUEST: dict.fromkeys(_IN_ASSOCIATION, (_A.AA_1, _S.CLOSING)),
    _E.ABORT: {
        _S.AWAITING_REQUEST: (_A.AA_2, _S.IDLE),
        **dict.fromkeys(_IN_ASSOCIATION, (_A.AA_3, _S.IDLE)),
        _S.CLOSING: (_A.AA_2, _S.IDLE),
    },
    _E.CLOSED: {
        _S.AWAITING_REQUEST: (_A.AA_5, _S.IDLE),
        **dict.fromkeys(_IN_ASSOCIATION, (_A.AA_4, _S.IDLE)),
        _S.CLOSING: (_A.AR_5, _S.IDLE),
    },
    _E.ARTIM_EXPIRED: dict.fromkeys((_S.AWAITING_REQUEST, _S.CLOSING), (_A.AA_2, _S.IDLE)),
    _E.INVALID_PDU: {
        _S.AWAITING_REQUEST: (_A.AA_1, _S.CLOSING),
        **_UNEXPECTED,
        _S.CLOSING: (_A.AA_7, _S.CLOSING),
    },
}

#: (event, state) -> (action, next state); what is not here cannot happen.
TRANSITIONS = {(event, state): transition for event, row in _BY_EVENT.items() for state, transition in row.items()}

#: The event that the arrival of a PDU is, by the PDU's type.
EVENT_OF: dict[int, Event] = {
    PduType.ASSOCIATE_RQ: Event.ASSOCIATE_RQ,
    PduType.ASSOCIATE_AC: Event.ASSOCIATE_AC,
    PduType.ASSOCIATE_RJ: Event.ASSOCIATE_RJ,
    PduType.P_DATA_TF: Event.P_DATA_TF,
    PduType.RELEASE_RQ: Event.RELEASE_RQ,
    PduType.RELEASE_RP: Event.RELEASE_RP,
    PduType.ABORT: Event.ABORT,
}


class InvalidPdu(MatinsError):
    """A PDU that breaks the protocol: the association is aborted by the provider, with this reason."""

    def __init__(self, reason: AbortReason, what: str) -> None:
        self.reason = reason
        super().__init__(what)


def abort_pdu(source: AbortSource, reason: AbortReason) -> bytes:
    """Return an A-ABORT PDU (PS3.8 §9.3.8)."""
    return struct.pack(">BxIxxBB", PduType.ABORT, 4, source, reason)


#: An A-RELEASE-RP PDU (PS3.8 §9.3.7).
RELEASE_RP = struct.pack(">BxI4x", PduType.RELEASE_RP, 4)
