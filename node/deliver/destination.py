"""The queue of one destination: claims its rows, asks the gate, sends the stored bytes, records each answer at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from node.config import Peer, Settings
from node.deliver.backoff import backoff_s
from node.deliver.carriage import Lost, Session, Unreachable, answer_limit_s, opened, opening_limit_s
from node.deliver.ledger import Ledger
from node.deliver.lifeline import IDLE_S, MARGIN_S, Pulse
from node.deliver.oversight import Leave, Oversight, Permit
from node.deliver.rest import Rest
from node.deliver.statuses import Answer, Verdict
from node.deliver.stored import StoredHeader, read_file, read_header
from node.domain.rejection import REJECTION_NOTE
from node.domain.time import Clock
from node.domain.work import ResultState
from node.errors import Failed, Transient
from node.loop import Stop, describe_error
from node.store import artifacts, outbox
from node.store.database import Database
from node.store.outbox import OutboxRow
from node.workflow import identity
from node.workflow.policy import Policy

#: Rows sent over one association.
_BATCH = 16
#: Frees rows by itself only where everything else that frees them has failed; each row's is renewed before it is sent.
_LEASE_S = 900.0
_NOT_THERE = "See the destination's log: it says that it has the object, and does not find it; then `matins retry`"

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
        self._rest = Rest(clock, self._patience)
        self._ledger = Ledger(db, clock, peer, self._patience, self._oversight)
        #: Of which the destination says that it has them already.
        self._doubtful: list[tuple[Letter, Answer]] = []

    def step(self) -> bool:
        """Send one batch, most urgent study first; `True` if there was one."""
        name = self._peer.name
        if not self._rest.is_due or not outbox.waiting(self._db).get(name):
            return self._oversight.step()
        # After a failure one row finds out whether the destination is back.
        limit = 1 if self._rest.failures else _BATCH
        rows = outbox.claim(self._db, self._clock.now(), name, self._owner, _LEASE_S, limit=limit)
        self._ledger.begin(rows)
        try:
            self._deliver(rows)
        finally:
            if self._ledger.pending:
                with suppress(Transient):
                    outbox.release(self._db, self._owner)
        return bool(rows) or self._oversight.step()

    def _deliver(self, rows: Sequence[OutboxRow]) -> None:
        letters = self._permitted([letter for row in rows if (letter := self._letter(row)) is not None])
        if not letters:
            return
        self._limit_memory(max(letter.stored.size for letter in letters))
        self._doubtful = []
        self._pulse.quiet_for(2 * opening_limit_s(self._patience) + MARGIN_S)
        try:
            with opened(self._peer, self._settings, [letter.stored for letter in letters]) as session:
                self._ledger.learn(self._peer.name, session.learnt)
                for letter in letters:
                    if self._stop.is_set() or not self._send(session, letter):
                        break
                self._pulse.quiet_for(opening_limit_s(self._patience) + MARGIN_S)
        except Unreachable as error:
            self._begin_rest(by_configuration=error.by_configuration)
            self._ledger.put_back(self._ledger.pending, str(error), self._rest.until_s)
        except Lost as error:
            # The row that was on its way has been put back for longer.
            self._ledger.put_back(self._ledger.pending, str(error), self._rest.until_s)
        finally:
            self._pulse.quiet_for(IDLE_S)
        for letter, answer in self._doubtful:
            self._look_up(letter, answer)

    def _permitted(self, letters: Sequence[Letter]) -> list[Letter]:
        """Those of studies that may leave; the others are settled, or wait."""
        # A note takes back what is there as it was sent, whoever the archive thinks it is by now.
        allowed = [letter for letter in letters if letter.row.kind == REJECTION_NOTE]
        asked = [letter for letter in letters if letter.row.kind != REJECTION_NOTE]
        for study in dict.fromkeys(letter.row.study_instance_uid for letter in asked):
            of_study = [letter for letter in asked if letter.row.study_instance_uid == study]
            rows = [letter.row for letter in of_study]
            try:
                permit = self._oversight.permit(study, rows)
            except Transient as error:
                permit = Permit(Leave.WAIT, str(error))
            if permit.leave is Leave.YES:
                allowed += of_study
            for row in rows if permit.leave is not Leave.YES else ():
                if permit.leave is Leave.WAIT:
                    self._ledger.let_wait(row, permit.reason)
                elif permit.leave is Leave.HOLD:
                    self._ledger.settle(row, ResultState.HELD, permit.reason)
                else:
                    self._ledger.forget(row)
        return allowed

    def _letter(self, row: OutboxRow) -> Letter | None:
        """Read the object's header and ask the gate; settle the row if it may not leave."""
        try:
            letter = Letter(row, read_header(self._db.folder / row.path))
        except Failed as error:
            self._ledger.settle(row, ResultState.DEAD, str(error))
            return None
        return letter if self._may_leave(letter) else None

    def _may_leave(self, letter: Letter) -> bool:
        row, stored = letter.row, letter.stored
        if (stored.sop_instance_uid, stored.sop_class_uid) != (row.sop_instance_uid, row.sop_class_uid):
            self._ledger.settle(row, ResultState.HELD, "the stored file bears other UIDs than were recorded")
            return False
        gate = identity.gate(self._db, self._policy, row, stored.patient)
        if gate.state is ResultState.QUEUED:
            self._ledger.let_wait(row, gate.reason)
        elif not gate.is_open:
            self._ledger.settle(row, gate.state, gate.reason)
        return gate.is_open

    def _send(self, session: Session, letter: Letter) -> bool:
        """Send one object and record what came of it; `False` if the destination is to be left alone now."""
        row, stored = letter.row, letter.stored
        refusal = session.refusal(stored)
        if refusal:
            self._ledger.refuse(row, refusal)
            log.warning("result_refused", destination=row.destination, kind=row.kind, study=row.study_instance_uid)
            return True
        limit_s = answer_limit_s(self._patience, stored.size)
        self._pulse.quiet_for(limit_s + MARGIN_S)
        try:
            content = read_file(stored, self._digest(row))
            if not self._may_leave(letter):
                return True
            if not outbox.heartbeat(self._db, self._clock.now(), row, _LEASE_S):
                # Superseded or withdrawn a moment ago.
                self._ledger.forget(row)
                return True
            started_s = time.monotonic()
            # What was refused deflated may be taken as it is.
            answer = session.send(stored, content, plainly=bool(row.refusals), limit_s=limit_s)
        except Failed as error:
            self._ledger.settle(row, ResultState.DEAD, str(error))
            return True
        except Unreachable:
            raise
        except Lost as error:
            self._fail(row, str(error))
            raise
        except BaseException as error:
            # Whatever it is, it may come again with this row: others go first.
            with suppress(Transient):
                self._fail(row, describe_error(error))
            raise
        return self._record(letter, answer, time.monotonic() - started_s)

    def _digest(self, row: OutboxRow) -> str:
        artifact = artifacts.artifact(self._db, row.artifact_id)
        return artifact.digest if artifact else ""

    def _record(self, letter: Letter, answer: Answer, duration_s: float) -> bool:
        row = letter.row
        # Not the reason: a peer may name the patient in its comment.
        logged = log.bind(destination=row.destination, kind=row.kind, sop_instance_uid=row.sop_instance_uid)
        logged = logged.bind(study=row.study_instance_uid, answer=answer.logged)
        if answer.verdict is Verdict.AGAIN:
            logged.warning("result_waits")
            self._fail(row, answer.reason)
            return False
        if self._rest.end():
            outbox.wake(self._db, self._peer.name)
        if answer.verdict is Verdict.SENT:
            self._ledger.settle(row, ResultState.SENT, answer.reason)
            logged.info("result_sent", duration_s=round(duration_s, 3))
        elif answer.verdict is Verdict.LOOK:
            self._doubtful.append((letter, answer))
        elif answer.verdict is Verdict.SLOWLY:
            dead = self._ledger.refuse_for_now(row, answer.reason)
            logged.error("result_dead") if dead else logged.warning("result_waits")
        elif answer.verdict is Verdict.UNWANTED:
            self._ledger.refuse(row, answer.reason, of_class=answer.of_class)
            logged.warning("result_refused")
        else:
            self._ledger.settle(row, ResultState.DEAD, answer.reason)
            logged.error("result_dead")
        return True

    def _look_up(self, letter: Letter, answer: Answer) -> None:
        """See whether the destination has what it says that it has, where it can be asked."""
        row = letter.row
        try:
            there = self._oversight.holds(row, letter.stored)
        except Transient as error:
            self._ledger.let_wait(row, f"{answer.reason}; {error}")
            return
        if there is False:
            self._ledger.refuse_for_now(row, f"{answer.reason}; but it is not found there. {_NOT_THERE}")
            return
        found = "found there" if there else "it cannot be asked"
        self._ledger.settle(row, ResultState.SENT, f"{answer.reason}; {found}")

    def _fail(self, row: OutboxRow, reason: str) -> None:
        """A passing fault met this row: it waits longer than the destination rests, so that others go first."""
        rest_s = self._begin_rest()
        own_s = backoff_s(row.attempts, first_s=self._patience.backoff_s, maximum_s=self._patience.backoff_maximum_s)
        self._ledger.put_back([row], reason, self._clock.now().boottime_s + max(own_s, 1.5 * rest_s))

    def _begin_rest(self, *, by_configuration: bool = False) -> float:
        wait_s = self._rest.begin(by_configuration=by_configuration)
        name, failures = self._peer.name, self._rest.failures
        log.warning("destination_rests", destination=name, failures=failures, wait_s=round(wait_s, 1))
        return wait_s
