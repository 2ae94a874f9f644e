"""The queue of one destination: claims its rows, asks the gate, sends the stored bytes, records each answer at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from node.config import Peer, Settings
from node.deliver.backoff import backoff_s
from node.deliver.cstore import Answer, Lost, Session, Unreachable, answer_limit_s, associated, association_limit_s
from node.deliver.lifeline import IDLE_S, MARGIN_S, Pulse
from node.deliver.oversight import Leave, Oversight, Permit
from node.deliver.statuses import Verdict, meaning_of, status_reason
from node.deliver.stored import StoredHeader, read_dataset, read_header
from node.domain.time import Clock
from node.domain.work import ResultState
from node.errors import Failed, Transient
from node.loop import Stop, describe_error
from node.store import artifacts, events, outbox
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.workflow import identity
from node.workflow.policy import Policy

#: Rows sent over one association.
_BATCH = 16
#: Frees rows by itself only where everything else that frees them has failed; each row's is renewed before it is sent.
_LEASE_S = 900.0
#: Rows that the gate makes wait are looked at again after this; doubles up to the maximum.
_GATE_WAITS_S = 5.0
_GATE_WAITS_MAXIMUM_S = 60.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Letter:
    """A row that passed the gate, with the header of its object."""

    row: OutboxRow
    stored: StoredHeader


class Destination:
    """One destination, served by one process. Its failures decide when it is called again."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        settings: Settings,
        peer: Peer,
        *,
        owner: str,
        stop: Stop,
        pulse: Pulse,
        limit_memory: Callable[[int], None],
        oversight: Oversight | None = None,
    ) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._patience = settings.deliver
        self._peer = peer
        # The gate asks for settings alone; models and rules stay with those who use them.
        self._policy = Policy(settings, (), ())
        self._owner = owner
        self._stop = stop
        self._pulse = pulse
        #: Told the size of the largest object of a batch before it is sent, bytes.
        self._limit_memory = limit_memory
        self._oversight = oversight or Oversight()
        #: In a row, and the boot time until which it is left alone.
        self._failures = 0
        self._rests_until_s = 0.0
        #: Claimed and not yet settled, by row id.
        self._pending: dict[int, OutboxRow] = {}

    def step(self) -> bool:
        """Send one batch, most urgent study first; `True` if there was one."""
        now = self._clock.now()
        name = self._peer.name
        if now.boottime_s < self._rests_until_s or not outbox.waiting(self._db).get(name):
            return self._oversight.step()
        # After a failure one row finds out whether the destination is back.
        limit = 1 if self._failures else _BATCH
        rows = outbox.claim(self._db, now, name, self._owner, _LEASE_S, limit=limit)
        self._pending = {row.id: row for row in rows}
        try:
            self._deliver(rows)
        finally:
            if self._pending:
                with suppress(Transient):
                    outbox.release(self._db, self._owner)
        return bool(rows)

    def _deliver(self, rows: Sequence[OutboxRow]) -> None:
        letters = self._permitted([letter for row in rows if (letter := self._letter(row)) is not None])
        if not letters:
            return
        self._limit_memory(max(letter.stored.size for letter in letters))
        wanted = sorted({(letter.stored.sop_class_uid, letter.stored.transfer_syntax_uid) for letter in letters})
        self._pulse.quiet_for(2 * association_limit_s(self._patience) + MARGIN_S)
        try:
            with associated(self._peer, self._settings.node.ae_title, self._patience, wanted) as session:
                for letter in letters:
                    if self._stop.is_set() or not self._send(session, letter):
                        break
                self._pulse.quiet_for(association_limit_s(self._patience) + MARGIN_S)
        except Unreachable as error:
            self._rest(by_configuration=error.by_configuration)
            self._put_back(list(self._pending.values()), str(error), self._rests_until_s)
        except Lost as error:
            # The row that was on its way has been put back for longer.
            self._put_back(list(self._pending.values()), str(error), self._rests_until_s)
        finally:
            self._pulse.quiet_for(IDLE_S)

    def _permitted(self, letters: Sequence[Letter]) -> list[Letter]:
        """Those of studies that may leave; the others are settled, or wait."""
        allowed: list[Letter] = []
        for study in dict.fromkeys(letter.row.study_instance_uid for letter in letters):
            of_study = [letter for letter in letters if letter.row.study_instance_uid == study]
            rows = [letter.row for letter in of_study]
            try:
                permit = self._oversight.permit(study, rows)
            except Transient as error:
                permit = Permit(Leave.WAIT, str(error))
            if permit.leave is Leave.YES:
                allowed += of_study
            for row in rows if permit.leave is not Leave.YES else ():
                if permit.leave is Leave.WAIT:
                    self._let_wait(row, permit.reason)
                elif permit.leave is Leave.HOLD:
                    self._settle(row, ResultState.HELD, permit.reason)
                else:
                    self._pending.pop(row.id, None)
        return allowed

    def _letter(self, row: OutboxRow) -> Letter | None:
        """Read the object's header and ask the gate; settle the row if it may not leave."""
        try:
            letter = Letter(row, read_header(self._db.folder / row.path))
        except Failed as error:
            self._settle(row, ResultState.DEAD, str(error))
            return None
        return letter if self._may_leave(letter) else None

    def _may_leave(self, letter: Letter) -> bool:
        row, stored = letter.row, letter.stored
        if (stored.sop_instance_uid, stored.sop_class_uid) != (row.sop_instance_uid, row.sop_class_uid):
            self._settle(row, ResultState.HELD, "the stored file bears other UIDs than were recorded")
            return False
        gate = identity.gate(self._db, self._policy, row, stored.patient)
        if gate.state is ResultState.QUEUED:
            self._let_wait(row, gate.reason)
        elif not gate.is_open:
            self._settle(row, gate.state, gate.reason)
        return gate.is_open

    def _let_wait(self, row: OutboxRow, reason: str) -> None:
        """Look at a row again later: nothing is wrong with the destination."""
        wait_s = backoff_s(row.attempts, first_s=_GATE_WAITS_S, maximum_s=_GATE_WAITS_MAXIMUM_S)
        self._put_back([row], reason, self._clock.now().boottime_s + wait_s)

    def _send(self, session: Session, letter: Letter) -> bool:
        """Send one object and record what came of it; `False` if the destination is to be left alone now."""
        row, stored = letter.row, letter.stored
        refusal = session.refusal(stored)
        if refusal:
            self._settle(row, ResultState.DEAD, refusal)
            return True
        try:
            dataset = read_dataset(stored, self._digest(row))
        except Failed as error:
            self._settle(row, ResultState.DEAD, str(error))
            return True
        limit_s = answer_limit_s(self._patience, stored.size)
        self._pulse.quiet_for(limit_s + MARGIN_S)
        if not self._may_leave(letter):
            return True
        if not outbox.heartbeat(self._db, self._clock.now(), row, _LEASE_S):
            # Superseded or withdrawn a moment ago.
            self._pending.pop(row.id)
            return True
        started_s = time.monotonic()
        try:
            answer = session.send(stored, dataset, limit_s=limit_s)
        except Lost as error:
            self._fail(row, str(error))
            raise
        except BaseException as error:
            # Whatever it is, it may come again with this row: others go first.
            with suppress(Transient):
                self._fail(row, describe_error(error))
            raise
        return self._record(row, answer, time.monotonic() - started_s)

    def _digest(self, row: OutboxRow) -> str:
        artifact = artifacts.artifact(self._db, row.artifact_id)
        return artifact.digest if artifact else ""

    def _record(self, row: OutboxRow, answer: Answer, duration_s: float) -> bool:
        meaning = meaning_of(answer.status)
        reason = status_reason(answer.status, answer.comment)
        # Not the comment: a peer may name the patient in it.
        logged = log.bind(destination=row.destination, kind=row.kind, sop_instance_uid=row.sop_instance_uid)
        logged = logged.bind(study=row.study_instance_uid, status=f"0x{answer.status:04X} {meaning.meaning}")
        if meaning.verdict is Verdict.AGAIN:
            logged.warning("result_waits")
            self._fail(row, reason)
            return False
        self._failures = 0
        if meaning.verdict is Verdict.SENT:
            self._settle(row, ResultState.SENT, reason)
            logged.info("result_sent", duration_s=round(duration_s, 3))
        else:
            self._settle(row, ResultState.DEAD, reason)
            logged.error("result_dead")
        return True

    def _fail(self, row: OutboxRow, reason: str) -> None:
        """A passing fault met this row: it waits longer than the destination rests, so that others go first."""
        rest_s = self._rest()
        own_s = backoff_s(row.attempts, first_s=self._patience.backoff_s, maximum_s=self._patience.backoff_maximum_s)
        self._put_back([row], reason, self._clock.now().boottime_s + max(own_s, 1.5 * rest_s))

    def _rest(self, *, by_configuration: bool = False) -> float:
        """Leave the destination alone, for half of the longest wait at most; return how long, seconds.

        What a person has to mend first is tried again slowly, but it is tried: no result is lost over it.
        """
        longest_s = self._patience.backoff_maximum_s
        self._failures += 1
        wait_s = backoff_s(self._failures, first_s=self._patience.backoff_s, maximum_s=longest_s / 2)
        wait_s = longest_s if by_configuration else wait_s
        self._rests_until_s = self._clock.now().boottime_s + wait_s
        log.warning("destination_rests", destination=self._peer.name, failures=self._failures, wait_s=round(wait_s, 1))
        return wait_s

    def _settle(self, row: OutboxRow, after: ResultState, reason: str) -> None:
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
        self._pending.pop(row.id, None)

    def _put_back(self, rows: Sequence[OutboxRow], reason: str, until_boot_s: float) -> None:
        """Queue rows again until that boot time."""
        now = self._clock.now()
        with self._db.transaction():
            for row in rows:
                wait_s = max(0.0, until_boot_s - now.boottime_s)
                outbox.move(self._db, now, row, ResultState.QUEUED, reason, wait_s=wait_s)
        for row in rows:
            self._pending.pop(row.id, None)
