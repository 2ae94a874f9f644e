"""What is looked at around the sending to one destination: may a study leave, does it have an object, was it kept.

`Oversight` looks at nothing; what reconciles, queries back and asks for storage commitment takes its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from node.deliver.stored import StoredHeader
from node.domain.time import Instant
from node.store.outbox import OutboxRow


class Leave(StrEnum):
    """Whether the results of a study may go to a destination."""

    YES = "yes"
    #: Not yet (the study is not there, or nobody could be asked): looked at again later.
    WAIT = "wait"
    #: A person has to decide.
    HOLD = "hold"
    #: Under other values: whoever says so has moved the rows in a transaction of its own.
    REBUILD = "rebuild"


@dataclass(frozen=True, slots=True)
class Permit:
    """Whether rows of one study may leave, and why not."""

    leave: Leave = Leave.YES
    reason: str = ""


class Oversight:
    """Asked by the queue of one destination, in its process and on its thread. Lets everything pass."""

    def permit(self, study_instance_uid: str, rows: Sequence[OutboxRow]) -> Permit:  # noqa: ARG002
        """Say whether these rows of one study may leave; asked before the batch's association is opened.

        Raises:
            Transient: it cannot be found out now; the rows wait.
        """
        return Permit()

    def sent(self, now: Instant, row: OutboxRow) -> None:
        """Take note, inside the transaction that moves a row to SENT, so that neither is there without the other."""

    def holds(self, row: OutboxRow, stored: StoredHeader) -> bool | None:  # noqa: ARG002
        """Whether the destination has this very SOP Instance; `None` where it cannot be asked.

        Asked after 0x0111 (duplicate SOP Instance), when the association is closed.

        Raises:
            Transient: it gives no answer now; the row waits.
        """
        return None

    def step(self) -> bool:
        """Do what else is due at this destination, when nothing is to be sent; `True` if something was done."""
        return False
