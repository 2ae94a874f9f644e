"""Questions to others as work items; one put to several archives in turn: each answers, or it is known why not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from node.config import Peer
from node.domain.time import Clock
from node.domain.work import WorkKind
from node.errors import Failed, MatinsError, Transient
from node.loop import Handling
from node.store import work_items
from node.store.database import Database
from node.store.work_items import WorkItem

#: Whoever works on an item, with the number of the process.
OWNER = "retrieve:"
LEASE_S = 60.0
#: A study waits for the answers, so a peer that does not answer is asked only this often.
_TRIES = 3

Answer = TypeVar("Answer")


def handling_of(
    db: Database,
    clock: Clock,
    kind: WorkKind,
    handle: Callable[[WorkItem], None],
    reject: Callable[[WorkItem, MatinsError], None],
    *,
    died: Callable[[WorkItem, str], None] | None = None,
    subject_prefix: str = "",
) -> Handling:
    """How the loop treats items that this process asks others about; one that it dies of is tried again or given up."""

    def given_up_or_tried_again(item: WorkItem, reason: str) -> None:
        work_items.give_up_or_retry(db, clock.now(), item, reason)

    return Handling(
        kind=kind,
        owner=f"{OWNER}{os.getpid()}",
        lease_s=LEASE_S,
        handle=handle,
        reject=reject,
        died=died or given_up_or_tried_again,
        subject_prefix=subject_prefix,
    )


def answers(
    db: Database, item: WorkItem, peers: Iterable[Peer], ask: Callable[[Peer], Answer]
) -> Iterator[tuple[Peer, Answer | str]]:
    """Ask one peer after the other, and yield what each answers, or in a sentence why it does not.

    Raises:
        Transient: a peer does not answer now, and has been asked fewer than three times.
    """
    for peer in peers:
        try:
            answer = ask(peer)
        except Failed as error:
            yield peer, str(error)
        except Transient as error:
            if work_items.passing_faults(db, item) + 1 < _TRIES:
                raise
            yield peer, f"{error}; asked {_TRIES} times"
        else:
            yield peer, answer
