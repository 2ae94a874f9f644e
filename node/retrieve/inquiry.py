"""One question put to several archives in turn: each answers, or it is known why it did not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from node.config import Peer
from node.errors import Failed, Transient
from node.store import work_items
from node.store.database import Database
from node.store.work_items import WorkItem

#: A study waits for the answers, so a peer that does not answer is asked only this often.
_TRIES = 3

Answer = TypeVar("Answer")


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
