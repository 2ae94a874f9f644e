"""What became of each row of one destination, written down at once."""

from __future__ import annotations

from collections.abc import Sequence

from node.config import DeliverSettings, Peer
from node.deliver.backoff import backoff_s
from node.deliver.oversight import Oversight
from node.deliver.statuses import MOST_REFUSALS
from node.domain.time import Clock
from node.domain.work import ResultState
from node.store import capabilities, events, outbox
from node.store.capabilities import ANY_SYNTAX, Capability
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.workflow import withdrawal
from node.workflow.refusal import refuse

#: Rows that wait for something of ours, or for the study there, are looked at again after this; doubles.
_WAITS_S = 5.0
_WAITS_MAXIMUM_S = 60.0


class Ledger:
    """The rows of one batch, until each is settled or waits again."""

    def __init__(self, db: Database, clock: Clock, peer: Peer, patience: DeliverSettings, oversight: Oversight) -> None:
        self._db = db
        self._clock = clock
        self._peer = peer
        self._patience = patience
        self._oversight = oversight
        #: Claimed and not yet settled, by row id.
        self._pending: dict[int, OutboxRow] = {}

    @property
    def pending(self) -> list[OutboxRow]:
        """Rows of which nothing has been written down yet."""
        return list(self._pending.values())

    def begin(self, rows: Sequence[OutboxRow]) -> None:
        """Take up a batch."""
        self._pending = {row.id: row for row in rows}

    def forget(self, row: OutboxRow) -> None:
        """Somebody else has moved the row."""
        self._pending.pop(row.id, None)

    def settle(self, row: OutboxRow, after: ResultState, reason: str) -> None:
        """Record what became of a row, in a transaction of its own."""
        now = self._clock.now()
        with self._db.transaction():
            moved = outbox.move(self._db, now, row, after, reason)
            if moved and after is ResultState.SENT:
                self._oversight.sent(now, row)
            if not moved and after is ResultState.SENT:
                # It was superseded or withdrawn while it was on its way; the destination has it.
                subject, study = f"{row.artifact_id}→{row.destination}", row.study_instance_uid
                text = "accepted by the destination after it was stopped here"
                events.record(self._db, now, "result", subject, after="arrived", reason=text, study=study)
                withdrawal.arrived(self._db, now, self._peer, row)
        self.forget(row)
        if after is ResultState.SENT:
            stored = Capability(sop_class_uid=row.sop_class_uid, transfer_syntax_uid=ANY_SYNTAX, accepted=True)
            self.learn(row.destination, [stored])

    def refuse(self, row: OutboxRow, reason: str, *, of_class: bool = False) -> None:
        """The destination does not take the row: another kind takes its place, if there is one."""
        if of_class:
            known = Capability(
                sop_class_uid=row.sop_class_uid, transfer_syntax_uid=ANY_SYNTAX, accepted=False, reason=reason
            )
            self.learn(row.destination, [known])
        with self._db.transaction():
            refuse(self._db, self._clock.now(), row, reason)
        self.forget(row)

    def refuse_for_now(self, row: OutboxRow, reason: str) -> bool:
        """Count a refusal that may pass: tried again slowly, dead after the last time; `True` if it is dead."""
        refusals = row.refusals + 1
        dead = refusals >= MOST_REFUSALS
        now, longest_s = self._clock.now(), self._patience.backoff_maximum_s
        after = ResultState.DEAD if dead else ResultState.QUEUED
        told = f"{reason} (refused {refusals} of {MOST_REFUSALS} times)"
        wait_s = backoff_s(1, first_s=longest_s, maximum_s=longest_s)
        with self._db.transaction():
            outbox.count_refusal(self._db, row)
            outbox.move(self._db, now, row, after, told, wait_s=0.0 if dead else wait_s)
        self.forget(row)
        return dead

    def put_back(self, rows: Sequence[OutboxRow], reason: str, until_boot_s: float) -> None:
        """Queue rows again until that boot time."""
        now = self._clock.now()
        with self._db.transaction():
            for row in rows:
                wait_s = max(0.0, until_boot_s - now.boottime_s)
                outbox.move(self._db, now, row, ResultState.QUEUED, reason, wait_s=wait_s)
        for row in rows:
            self.forget(row)

    def let_wait(self, row: OutboxRow, reason: str) -> None:
        """Look at a row again later: nothing is wrong with the destination."""
        wait_s = backoff_s(row.attempts, first_s=_WAITS_S, maximum_s=_WAITS_MAXIMUM_S)
        self.put_back([row], reason, self._clock.now().boottime_s + wait_s)

    def learn(self, destination: str, learnt: Sequence[Capability]) -> None:
        """Keep what the destination has shown of what it takes."""
        capabilities.record(self._db, self._clock.now(), destination, learnt)
