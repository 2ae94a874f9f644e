"""The queue of one route: claims its notices, asks the gate, sends each as it was first written, records the answer."""

from __future__ import annotations

from contextlib import suppress

import structlog

from node.config import Route, Settings
from node.deliver.backoff import backoff_s
from node.deliver.carriage import Lost, Unreachable
from node.deliver.lifeline import IDLE_S, MARGIN_S, Pulse
from node.deliver.rest import Rest
from node.deliver.routes import Heard, Letter, Receiver, Reply, RouteKind, kind_of
from node.domain.notice import NoticeState, filler_number, said
from node.domain.time import Clock
from node.errors import Misconfigured, Transient, Unsuitable
from node.loop import Stop, describe_error
from node.store import notices
from node.store.database import Database
from node.store.notices import Notice
from node.workflow import listing
from node.workflow.policy import Policy

#: Frees a notice by itself only where everything else that frees it has failed.
_LEASE_S = 900.0
#: Refusals after which a notice is dead.
MOST_REFUSALS = 5
#: A notice that waits for something of ours is looked at again after this; doubles.
_WAITS_S, _WAITS_MAXIMUM_S = 5.0, 60.0

log = structlog.get_logger()


def letter_of(route: Route, notice: Notice, clock: Clock, *, told: bytes | None = None) -> Letter:
    """What a route may say of a notice that leaves now for the first time."""
    study = notice.study_instance_uid
    return Letter(
        flag=said(notice.flag, route.says),
        control_id=notice.control_id,
        filler_number=filler_number(study, route.name),
        version=notice.version,
        at=clock.now().wall,
        because=notice.because,
        link=f"{route.page.rstrip('/')}/studies/{study}" if route.page else "",
        told=told,
    )


class RouteQueue:
    """One route, served by one process: no route waits for another. Its failures decide when it is tried again."""

    def __init__(
        self, db: Database, clock: Clock, settings: Settings, route: Route, *, owner: str, stop: Stop, pulse: Pulse
    ) -> None:
        self._db = db
        self._clock = clock
        self._patience = settings.deliver
        self._route = route
        # The gate asks for settings alone.
        self._policy = Policy(settings, (), ())
        self._owner = owner
        self._stop = stop
        self._pulse = pulse
        self._rest = Rest(clock, settings.deliver)
        self._logged = log.bind(route=route.name)

    def step(self) -> bool:
        """Send what is due, the most urgent study first, over one connection; `True` if anything was done."""
        if not self._rest.is_due or not notices.is_due(self._db, self._clock.now(), self._route.name):
            return False
        kind = kind_of(self._route)
        if kind is None:
            self._hold_all(f"this version has no routes of the kind {self._route.kind}")
            return True
        notice = self._next()
        if notice is None:
            return False
        try:
            self._pulse.quiet_for(kind.limit_s(self._route, self._patience) + MARGIN_S)
            message = self._written(kind, notice)
            while message is None and notice is not None:
                notice = self._next()
                message = self._written(kind, notice) if notice else None
            if notice is not None and message is not None:
                with kind.opened(self._route, self._patience) as receiver:
                    self._send_all(kind, receiver, notice, message)
        except Unreachable as error:
            self._begin_rest(str(error), by_configuration=error.by_configuration)
        except Misconfigured as error:
            self._begin_rest(str(error), by_configuration=True)
        except Lost as error:
            self._logged.warning("notice_waits", reason=str(error))
        finally:
            self._pulse.quiet_for(IDLE_S)
            with suppress(Transient):
                notices.release(self._db, self._owner)
        return True

    def _next(self) -> Notice | None:
        return notices.claim(self._db, self._clock.now(), self._route.name, self._owner, _LEASE_S)

    def _send_all(self, kind: RouteKind, receiver: Receiver, notice: Notice | None, message: bytes | None) -> None:
        while notice is not None:
            if message is not None and not self._send(receiver, notice, message):
                return
            if self._stop.is_set():
                return
            self._pulse.quiet_for(kind.limit_s(self._route, self._patience) + MARGIN_S)
            notice = self._next()
            message = self._written(kind, notice) if notice else None

    def _written(self, kind: RouteKind, notice: Notice) -> bytes | None:
        """The message of a notice that may leave; `None` where it may not, and is settled or waits."""
        gate = listing.gate(self._db, self._policy, notice)
        if gate.state is NoticeState.QUEUED:
            wait_s = backoff_s(notice.attempts, first_s=_WAITS_S, maximum_s=_WAITS_MAXIMUM_S)
            self._move(notice, notice.state, gate.reason, wait_s=wait_s)
            return None
        if not gate.is_open:
            self._move(notice, gate.state, gate.reason)
            return None
        if notice.message is not None:
            return notice.message
        try:
            told = notices.last_message(self._db, notice)
            return kind.message(self._route, letter_of(self._route, notice, self._clock, told=told))
        except Unsuitable as error:
            self._move(notice, NoticeState.HELD, str(error))
            return None

    def _send(self, receiver: Receiver, notice: Notice, message: bytes) -> bool:
        """Send one message and record what came of it; `False` if the route is to be left alone now."""
        # Fixed before it leaves: whoever sends it again, after whatever, sends the very same.
        if not notices.begin(self._db, self._clock.now(), notice, message):
            return True
        try:
            reply = receiver.send(message, notice.control_id, self._clock.now().wall)
        except Unreachable:
            raise
        except Lost as error:
            self._fail(notice, str(error))
            raise
        except BaseException as error:
            # Whatever it is, it may come again with this notice: others go first.
            with suppress(Transient):
                self._fail(notice, describe_error(error))
            raise
        return self._record(notice, reply)

    def _record(self, notice: Notice, reply: Reply) -> bool:
        logged = self._logged.bind(study=notice.study_instance_uid, version=notice.version)
        if reply.heard is Heard.AGAIN:
            logged.warning("notice_waits", reason=reply.reason)
            self._fail(notice, reply.reason)
            return False
        was_away = self._rest.failures > 0
        self._rest.end()
        if was_away:
            notices.wake(self._db, self._route.name)
        if reply.heard is Heard.ACKNOWLEDGED:
            self._move(notice, NoticeState.ACKNOWLEDGED, reply.reason)
            logged.info("notice_acknowledged")
            return True
        refusals = notice.refusals + 1
        dead = refusals >= MOST_REFUSALS
        longest_s = self._patience.backoff_maximum_s
        wait_s = 0.0 if dead else backoff_s(refusals, first_s=self._patience.backoff_s, maximum_s=longest_s)
        reason = f"{reply.reason} (refused {refusals} of {MOST_REFUSALS} times)"
        with self._db.transaction():
            notices.count_refusal(self._db, notice)
            after = NoticeState.DEAD if dead else NoticeState.SENT
            notices.move(self._db, self._clock.now(), notice, after, reason, wait_s=wait_s)
        logged.error("notice_dead", reason=reason) if dead else logged.warning("notice_refused", reason=reason)
        return True

    def _move(self, notice: Notice, after: NoticeState, reason: str, *, wait_s: float = 0.0) -> None:
        with self._db.transaction():
            notices.move(self._db, self._clock.now(), notice, after, reason, wait_s=wait_s)

    def _fail(self, notice: Notice, reason: str) -> None:
        """A passing fault met this notice: it waits longer than the route rests, so that others go first."""
        rest_s = self._begin_rest(reason)
        patience = self._patience
        own_s = backoff_s(notice.attempts, first_s=patience.backoff_s, maximum_s=patience.backoff_maximum_s)
        self._move(notice, NoticeState.SENT, reason, wait_s=max(own_s, 1.5 * rest_s))

    def _begin_rest(self, reason: str, *, by_configuration: bool = False) -> float:
        wait_s = self._rest.begin(by_configuration=by_configuration)
        failures = self._rest.failures
        self._logged.warning("route_rests", reason=reason, failures=failures, wait_s=round(wait_s, 1))
        now = self._clock.now()
        with self._db.transaction():
            for notice in notices.owned(self._db, self._owner):
                notices.move(self._db, now, notice, notice.state, reason)
        return wait_s

    def _hold_all(self, reason: str) -> None:
        while (notice := self._next()) is not None:
            self._move(notice, NoticeState.HELD, reason)
