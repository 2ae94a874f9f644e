"""Messages are acted upon in the order in which they came, each once, in a thread beside those that receive.

What a message sets off and the word that it has been acted upon are one transaction: whoever is killed in between has
done nothing, and whoever starts again does it.
"""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing
from datetime import UTC, timedelta

import structlog

from node.config import Settings
from node.domain.time import Clock
from node.errors import Failed, Transient
from node.loop import guarded
from node.receive.hl7.keeping import own_names
from node.receive.hl7.syntax import NotUnderstood
from node.receive.hl7.understanding import NotTaken, understood
from node.store import hl7_messages
from node.store.database import Database, open_database
from node.store.hl7_messages import HeldMessage, MessageState
from node.workflow.policy import Policies, Policy
from node.workflow.tellings import act_upon

#: Without being woken it looks so often.
_LOOK_S = 1.0
#: After a message that could not be acted upon now.
_PAUSE_S = 0.25
#: A message over which this often something unforeseen happened is left aside.
_MOST_ATTEMPTS = 3
#: Old messages are removed so often, and so many at once: they may be large.
_FORGETTING_S, _MOST_FORGOTTEN = 3600.0, 50

log = structlog.get_logger()


class Applier:
    """Acts upon what waits, from its start until it is stopped."""

    def __init__(self, settings: Settings, room: str, clock: Clock) -> None:
        self._settings = settings
        self._room = room
        self._clock = clock
        #: As `apply_next` says; a fault ends the connection, and not this.
        self._owed = Counter[int]()
        self._policies = Policies(settings)
        self._wanted = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hl7 applier", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """There may be something to do."""
        self._wanted.set()

    def is_alive(self) -> bool:
        """Whether it still works."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Finish the message at hand, and end; what waits is for the next start."""
        self._stopping.set()
        self._wanted.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            guarded(self._serve)()
            self._stopping.wait(_PAUSE_S)

    def _serve(self) -> None:
        with closing(open_database(self._settings.data.folder, self._room)) as db:
            forgotten_s = -_FORGETTING_S
            while not self._stopping.is_set():
                self._wanted.clear()
                while not self._stopping.is_set() and apply_next(db, self._clock, self._policies.current(), self._owed):
                    pass
                now = self._clock.now()
                if now.boottime_s - forgotten_s >= _FORGETTING_S:
                    before = now.wall.astimezone(UTC) - timedelta(days=self._settings.receive.hl7.keep_days)
                    # What came meanwhile goes first.
                    if not hl7_messages.forget(db, before.isoformat(timespec="microseconds"), limit=_MOST_FORGOTTEN):
                        forgotten_s = now.boottime_s
                    continue
                self._wanted.wait(_LOOK_S)


def apply_next(db: Database, clock: Clock, policy: Policy, owed: Counter[int] | None = None) -> bool:
    """Act upon the oldest message that waits; whether there was one. Opens its own transactions.

    A fault that passes counts for nothing; over any other the message is tried thrice in all, and then left aside.
    `owed`: attempts by message that were to count for nothing, and could not be taken back.

    Raises:
        Transient: the database stayed busy; it is tried again.
    """
    message = hl7_messages.next_waiting(db)
    if message is None:
        return False
    owed = Counter() if owed is None else owed
    if message.attempts - owed[message.id] >= _MOST_ATTEMPTS:
        reason = f"something unforeseen happened {message.attempts} times; the log says what"
        _end(db, clock, message, MessageState.FAILED, reason)
        return True
    with db.transaction():
        hl7_messages.count_attempt(db, message.id)
    sender = policy.settings.receive.hl7.sender_named(message.sender)
    if sender is None:
        _end(db, clock, message, MessageState.UNUSED, "its sender is not listed any more")
        return True
    try:
        found = understood(message.content, sender, ours=own_names(policy.settings.node.ae_title))
        with db.transaction():
            now = clock.now()
            studies = act_upon(db, now, policy, found.told, told_by=f"hl7 {sender.name}")
            after = MessageState.UNUSED if found.told.unused else MessageState.APPLIED
            hl7_messages.move(db, now, message, after, found.told.unused)
    except (Failed, NotUnderstood, NotTaken) as error:
        _end(db, clock, message, MessageState.REFUSED, str(error))
    except Transient:
        # Whatever keeps the database busy may keep this out, too.
        owed[message.id] += 1
        with db.transaction():
            hl7_messages.count_attempt(db, message.id, back=True)
        owed[message.id] -= 1
        raise
    else:
        told = {"sender": sender.name, "kind": message.kind, "state": after.value, "reason": found.told.unused}
        log.info("message_applied", **told, studies=len(studies))
    return True


def _end(db: Database, clock: Clock, message: HeldMessage, after: MessageState, reason: str) -> None:
    with db.transaction():
        hl7_messages.move(db, clock.now(), message, after, reason)
    log.warning("message_not_applied", sender=message.sender, kind=message.kind, state=after.value, reason=reason)
