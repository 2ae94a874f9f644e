"""Results that were sent are confirmed: by storage commitment, or by asking the destination whether they are there.

`confirm` of the peer says how: "ask", "query", or "auto", which asks, and queries where the destination does not offer
commitment, refuses it, or has let two requests in a row go without a report.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from node.config import Peer, Settings
from node.deliver import commitment
from node.deliver.backoff import backoff_s
from node.deliver.carriage import Lost, Unreachable
from node.deliver.commitment import LINGER_S, Request
from node.deliver.dialogue import PROCESSING_FAILURE, SUCCESS, NotOffered, Unanswered, dialogue
from node.deliver.lifeline import IDLE_S, MARGIN_S, Pulse
from node.deliver.query import FIND, held_of, place_of
from node.domain.commitment import CommitmentReport
from node.domain.time import Clock
from node.errors import Failed
from node.loop import Stop
from node.store import commitments, outbox
from node.store.commitments import CommitmentState, Unconfirmed, Way
from node.store.database import Database
from node.workflow import commitment as workflow
from node.workflow.commitment import QUIET_S, confirms

#: Results of one request, and instances asked for over one association.
_MOST = 100
_MOST_QUERIES = 20
#: Requests in a row without a report, after which a destination that may be queried is.
_UNREPORTED = 2
#: PS3.7 Annex C: processing failure, duplicate invocation, resource limitation: it may be otherwise a while later.
_PASSING = frozenset({0x0110, 0x0210, 0x0213})

log = structlog.get_logger()


class Confirming:
    """Confirms the results of one destination, in its process."""

    def __init__(self, db: Database, clock: Clock, settings: Settings, peer: Peer, *, stop: Stop, pulse: Pulse) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._peer = peer
        self._stop = stop
        self._pulse = pulse
        #: In a row, and the boot time until which the destination is asked nothing.
        self._failures = 0
        self._rests_until_s = 0.0

    def step(self) -> bool:
        """Ask about some results if any are due; `True` if there were."""
        now = self._clock.now()
        if not confirms(self._peer) or now.boottime_s < self._rests_until_s:
            return False
        due = commitments.due(self._db, now, self._peer.name, quiet_s=QUIET_S, limit=_MOST)
        if not due:
            return False
        asked = [each.row for each in due if self._is_asked_about(each)]
        try:
            if asked:
                self._ask(asked)
            else:
                self._query(due[:_MOST_QUERIES])
        except Unreachable as error:
            self._rest(str(error), by_configuration=error.by_configuration)
        except (Lost, Unanswered) as error:
            self._rest(str(error))
        finally:
            self._pulse.quiet_for(IDLE_S)
        return True

    def _is_asked_about(self, each: Unconfirmed) -> bool:
        """Whether storage commitment is the way; a destination that owes reports is queried from now on."""
        if self._peer.confirm == "query" or each.way is Way.QUERY:
            return False
        if self._peer.confirm == "auto" and commitments.unreported(self._db, each.row) >= _UNREPORTED:
            reason = f"{self._peer.name} has not reported on {_UNREPORTED} requests; it is queried"
            with self._db.transaction():
                commitments.go_on_by(self._db, self._clock.now(), each.row, Way.QUERY, reason)
            return False
        return True

    def _ask(self, rows: Sequence[outbox.OutboxRow]) -> None:
        name, limits = self._peer.name, self._settings.deliver
        uid = commitment.new_transaction_uid()
        with self._db.transaction():
            commitments.record_asked(self._db, self._clock.now(), uid, name, rows, wait_s=limits.commitment_s)
        self._pulse.quiet_for(2 * limits.connect_s + 3 * limits.dimse_s + LINGER_S + MARGIN_S)
        request = Request(transaction_uid=uid, rows=rows)
        try:
            status = commitment.ask(
                self._peer,
                self._settings.node.ae_title,
                limits,
                request,
                report=self._reported,
                is_over=lambda: self._is_over(uid),
            )
        except NotOffered as error:
            self._refused(uid, rows, str(error))
            return
        except Unreachable as error:
            # It was not asked: it is, once the destination is back.
            self._unasked(uid, rows, str(error))
            raise
        if not status:
            self._failures = 0
            with self._db.transaction():
                commitments.move(self._db, self._clock.now(), uid, CommitmentState.ACCEPTED)
            log.info("commitment_asked", destination=name, transaction_uid=uid, results=len(rows))
        else:
            self._refused(uid, rows, f"{name} answered 0x{status:04X} to storage commitment", status)

    def _reported(self, report: CommitmentReport) -> int:
        """Take in a report on the association of a request; in pynetdicom's thread."""
        with self._db.transaction():
            known = workflow.apply(self._db, self._clock.now(), self._peer.name, report)
        return SUCCESS if known else PROCESSING_FAILURE

    def _is_over(self, transaction_uid: str) -> bool:
        asked = commitments.commitment(self._db, transaction_uid)
        reported = asked is not None and asked.state is CommitmentState.REPORTED
        return reported or self._stop.is_set() or bool(outbox.waiting(self._db).get(self._peer.name))

    def _unasked(self, transaction_uid: str, rows: Sequence[outbox.OutboxRow], reason: str) -> None:
        now = self._clock.now()
        with self._db.transaction():
            commitments.move(self._db, now, transaction_uid, CommitmentState.REFUSED, reason)
            for row in rows:
                commitments.count_question(self._db, row.id, -1)
                commitments.postpone(self._db, now, row.id, 0.0)

    def _refused(self, uid: str, rows: Sequence[outbox.OutboxRow], reason: str, status: int | None = None) -> None:
        """Commitment is not to be had: what may be queried is, the rest is asked again later."""
        now, limits = self._clock.now(), self._settings.deliver
        log.warning("commitment_refused", destination=self._peer.name, results=len(rows), reason=reason)
        with self._db.transaction():
            commitments.move(self._db, now, uid, CommitmentState.REFUSED, reason)
            for row in rows:
                if self._peer.confirm == "auto":
                    commitments.go_on_by(self._db, now, row, Way.QUERY, f"{reason}; it is queried")
                else:
                    known = commitments.unconfirmed(self._db, row.id)
                    passing = status in _PASSING and known is not None
                    wait_s = workflow.wait_s(known.questions) if passing and known else limits.commitment_s
                    commitments.postpone(self._db, now, row.id, wait_s, f"{reason}; it is asked again")

    def _query(self, due: Sequence[Unconfirmed]) -> None:
        limits = self._settings.deliver
        self._pulse.quiet_for(2 * limits.connect_s + (2 + len(due)) * limits.dimse_s + MARGIN_S)
        try:
            with dialogue(self._peer, self._settings.node.ae_title, limits, [FIND]) as asked:
                for each in due:
                    if self._stop.is_set():
                        break
                    try:
                        [held] = held_of(asked, [place_of(self._db.folder / each.row.path)], limit_s=limits.dimse_s)
                    except Failed as error:
                        self._give_up(each, str(error))
                        continue
                    self._failures = 0
                    self._found(each, held)
        except NotOffered:
            for each in due:
                self._give_up(each, self._unsayable())

    def _found(self, each: Unconfirmed, held: bool | None) -> None:
        name, now = self._peer.name, self._clock.now()
        if held is None:
            self._give_up(each, self._unsayable())
            return
        with self._db.transaction():
            if held:
                workflow.confirm(self._db, now, each.row, f"found at {name}")
            else:
                workflow.not_found(self._db, now, each.row)

    def _unsayable(self) -> str:
        return (
            f"{self._peer.name} offers neither storage commitment nor queries for objects: nobody knows what it keeps"
        )

    def _give_up(self, each: Unconfirmed, reason: str) -> None:
        with self._db.transaction():
            commitments.go_on_by(self._db, self._clock.now(), each.row, Way.ENDED, reason)

    def _rest(self, reason: str, *, by_configuration: bool = False) -> None:
        """Ask the destination nothing for a while."""
        self._failures += 1
        limits = self._settings.deliver
        wait_s = backoff_s(self._failures, first_s=limits.backoff_s, maximum_s=limits.backoff_maximum_s)
        wait_s = limits.backoff_maximum_s if by_configuration else wait_s
        self._rests_until_s = self._clock.now().boottime_s + wait_s
        log.warning("confirmation_waits", destination=self._peer.name, reason=reason, wait_s=round(wait_s, 1))
