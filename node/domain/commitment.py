"""What an archive promises of what it was sent: Storage Commitment (PS3.4 Annex J)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

#: Storage Commitment Push Model SOP Class, and its one well-known SOP Instance (PS3.4 §J.3).
PUSH_MODEL = "1.2.840.10008.1.20.1"
PUSH_MODEL_INSTANCE = "1.2.840.10008.1.20.1.1"
#: Action Type ID of a request (PS3.4 §J.3.2), and the Event Type IDs of its two reports (PS3.4 §J.3.3).
REQUEST = 1
ALL_COMMITTED, SOME_FAILED = 1, 2


class Remedy(StrEnum):
    """What we do about an instance that an archive does not commit itself to."""

    #: It does not have it: the same bytes are sent again.
    SEND_AGAIN = "send again"
    #: A passing fault: it is asked again later.
    ASK_AGAIN = "ask again"
    #: It would say the same for ever: the result stays sent, with the reason.
    NONE = "none"


#: Failure Reason (0008,1197), PS3.3 §C.14.1.1 → the standard's words, and what we do.
FAILURES: Mapping[int, tuple[str, Remedy]] = {
    0x0110: ("processing failure", Remedy.ASK_AGAIN),
    0x0112: ("no such object instance", Remedy.SEND_AGAIN),
    0x0119: ("class / instance conflict", Remedy.NONE),
    0x0122: ("referenced SOP Class not supported", Remedy.NONE),
    0x0131: ("duplicate Transaction UID", Remedy.ASK_AGAIN),
    0x0213: ("resource limitation", Remedy.ASK_AGAIN),
}


def failure(reason: int) -> tuple[str, Remedy]:
    """Return what a Failure Reason says, and what is to be done; one that the standard does not know is asked again."""
    words, remedy = FAILURES.get(reason, ("a reason of its own", Remedy.ASK_AGAIN))
    return f"0x{reason:04X} {words}", remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentReport:
    """An N-EVENT-REPORT as it was read: UIDs in it are only believed where we asked for them."""

    transaction_uid: str
    #: SOP Instance UID → SOP Class UID of what it keeps.
    committed: Mapping[str, str]
    #: SOP Instance UID → Failure Reason (0008,1197) of what it does not.
    failed: Mapping[str, int]


def promises(report: CommitmentReport, sop_instance_uid: str, sop_class_uid: str) -> bool:
    """Whether the report promises to keep this very object: named as kept, as nothing else, and not as failed too."""
    if sop_instance_uid in report.failed:
        return False
    return report.committed.get(sop_instance_uid) == sop_class_uid
