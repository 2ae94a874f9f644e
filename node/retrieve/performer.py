"""Performs the steps of one manager: looks for those that are meant for us, claims them, says how far they are.

What we are about to ask is durable before it is asked, and asking it twice does nothing twice: whoever starts again
after a crash goes on where it was, with the same Transaction UID.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Protocol

import structlog

from node.domain.dicom_json import Attributes, element, text
from node.domain.performance import PROGRESS_OF, PerformanceState, asked_of, given_up, performed, progress
from node.domain.time import Clock, Instant
from node.domain.ups import UpsState, UpsStatus
from node.domain.ups_attributes import SOP_INSTANCE_UID, STATE, TRANSACTION_UID
from node.errors import Failed, Transient
from node.store import performing
from node.store.database import Database
from node.store.performing import Performance
from node.workflow import performer as work
from node.workflow import ups
from node.workflow.policy import Policy

_P, _S = PerformanceState, UpsStatus
#: The step is not ours: another performer's, final, or gone.
_NOT_OURS = frozenset({_S.WRONG_TRANSACTION_UID, _S.MAY_NO_LONGER_BE_UPDATED, _S.NO_SUCH_UPS, 0x0112})
#: Statuses that leave a change made: success, and warnings (PS3.7 Annex C; PS3.4 §CC.2).
_WARNINGS = range(0xB000, 0xC000)

log = structlog.get_logger()


class Manager(Protocol):
    """Who has the steps: a peer, or our own list. Each returns a status, PS3.4 Annex CC.

    Each may raise `Transient` (no answer: it was done or not) and `Failed` (it will never answer as it is set up).
    """

    def offered(self) -> list[Attributes]:
        """Steps that are SCHEDULED and ready, as far as the manager can tell which may be meant for us."""
        ...

    def read(self, ups: str) -> tuple[int, Attributes]:
        """One step, all that it says."""
        ...

    def move(self, ups: str, state: UpsState, transaction_uid: str) -> int:
        """Claim a step, complete or cancel it."""
        ...

    def tell(self, ups: str, said: Attributes) -> int:
        """Set attributes; the Transaction UID is among them."""
        ...

    def watch(self, ups: str) -> int:
        """Have the manager report on a step to us."""
        ...


class Performer:
    """The steps of one manager."""

    def __init__(
        self, db: Database, clock: Clock, policy: Callable[[], Policy], name: str, manager: Manager
    ) -> None:  # fmt: skip
        self._db = db
        self._clock = clock
        self._policy = policy
        self._name = name
        self._manager = manager
        self._looked_s: float | None = None

    def step(self) -> bool:
        """Look for new steps in time, and move on those that are ours; `False`: what comes next takes a while."""
        settings = self._policy().settings.perform
        is_time = self._looked_s is None or time.monotonic() - self._looked_s >= settings.interval_s
        mine = performing.unfinished(self._db, self._name)
        if is_time:
            self._looked_s = time.monotonic()
        faults: list[Transient] = []
        for row in mine:
            try:
                self._go_on(row, is_time=is_time)
            except Transient as error:
                # It holds up no other.
                faults.append(error)
        if is_time:
            self._look(settings.at_once)
        if faults:
            raise faults[0]
        return False

    def _look(self, at_once: int) -> None:
        settings = self._policy().settings.perform
        for said in self._manager.offered():
            mine = performing.unfinished(self._db, self._name)
            if len(mine) >= at_once:
                return
            uid = text(said, SOP_INSTANCE_UID)
            if not uid or text(said, STATE) not in ("", UpsState.SCHEDULED) or not work.is_meant(settings, said):
                continue
            with self._db.transaction():
                # Durable before the manager hears it: whoever comes after us claims by the same.
                made = performing.add(self._db, self._now(), self._name, uid, f"2.25.{uuid.uuid4().int}")
            row = performing.of_step(self._db, self._name, uid)
            if made and row is not None:
                self._go_on(row, is_time=True)

    def _go_on(self, row: Performance, *, is_time: bool) -> None:
        if row.state is _P.OFFERED:
            row = self._claim(row)
        if row.state is _P.CLAIMED or (row.state.works and is_time):
            row = self._read(row)
        if row.state.works:
            if not row.watched:
                self._watch(row)
            with self._db.transaction():
                row = work.advance(self._db, self._now(), self._policy(), row)
        if row.state in PROGRESS_OF and row.told != row.state:
            row = self._tell(row)
        if row.state in (_P.COMPLETING, _P.CANCELING):
            self._end(row)

    def _claim(self, row: Performance) -> Performance:
        status = self._manager.move(row.ups, UpsState.IN_PROGRESS, row.transaction_uid)
        if status == _S.ALREADY_IN_PROGRESS:
            # By us, before we were killed, or by another: only by our own Transaction UID it can be set.
            status = self._manager.tell(row.ups, progress(_P.CLAIMED) | _by(row))
        if _is_done(status):
            return self._move(row, _P.CLAIMED)
        if status in _NOT_OURS:
            return self._move(row, _P.LOST, "another performer has the step, or it is over")
        raise Transient(f"the claim of a step was answered with 0x{status:04X}")

    def _read(self, row: Performance) -> Performance:
        """See what the step says, and that it is still ours."""
        status, said = self._manager.read(row.ups)
        if status in _NOT_OURS:
            return self._lost(row, "its manager knows the step no more")
        if not _is_done(status):
            raise Transient(f"a step that is ours cannot be read: 0x{status:04X}")
        state = text(said, STATE)
        if state not in ("", UpsState.IN_PROGRESS):
            return self._lost(row, f"its manager has the step {state}")
        if row.state is _P.CLAIMED:
            with self._db.transaction():
                performing.record_step(self._db, row, said, asked_of(said).study_instance_uid)
        return performing.performance(self._db, row.id) or row

    def _watch(self, row: Performance) -> None:
        """Have it told to us that the step is to be canceled; a manager that does not offer it is asked no more."""
        try:
            status = self._manager.watch(row.ups)
        except Failed as error:
            log.warning("step_not_watched", manager=self._name, reason=str(error))
        else:
            if not _is_done(status):
                log.warning("step_not_watched", manager=self._name, status=f"0x{status:04X}")
        with self._db.transaction():
            performing.record_told(self._db, row, watched=True)

    def _tell(self, row: Performance) -> Performance:
        status = self._manager.tell(row.ups, progress(row.state) | _by(row))
        if status in _NOT_OURS:
            return self._lost(row, "its manager takes nothing more of us on the step")
        with self._db.transaction():
            performing.record_told(self._db, row, told=row.state)
        return performing.performance(self._db, row.id) or row

    def _end(self, row: Performance) -> None:
        """Say what came of it, and end the step; whichever answer was lost, the same is asked again."""
        done = row.state is _P.COMPLETING
        status = self._manager.tell(row.ups, self._last_words(row) | _by(row))
        if status not in _NOT_OURS and not _is_done(status):
            raise Transient(f"what came of a step was answered with 0x{status:04X}")
        asked = UpsState.COMPLETED if done else UpsState.CANCELED
        status = self._manager.move(row.ups, asked, row.transaction_uid)
        if _is_done(status):
            self._move(row, _P.COMPLETED if done else _P.CANCELED, row.reason, code=row.code)
        elif status in _NOT_OURS or status == _S.NOT_IN_PROGRESS:
            self._move(row, _P.LOST, f"its manager had ended the step before it could be told that it is {asked}")
        else:
            raise Transient(f"the end of a step was answered with 0x{status:04X}")

    def _last_words(self, row: Performance) -> Attributes:
        settings = self._policy().settings
        if row.state is _P.CANCELING:
            return given_up(row.code, row.reason, at=ups.date_time(self._now().wall))
        return performed(
            station=settings.perform.station or settings.node.ae_title,
            codes=asked_of(row.step).codes,
            begun=ups.date_time(row.found.wall),
            ended=ups.date_time(self._now().wall),
            outputs=work.outputs(self._db, settings, row),
        )

    def _lost(self, row: Performance, reason: str) -> Performance:
        with self._db.transaction():
            work.stop_retrieval(self._db, self._now(), row)
        return self._move(row, _P.LOST, reason)

    def _move(self, row: Performance, after: PerformanceState, reason: str = "", *, code: str = "") -> Performance:
        with self._db.transaction():
            performing.move(self._db, self._now(), row, after, reason, code=code)
        return performing.performance(self._db, row.id) or row

    def _now(self) -> Instant:
        return self._clock.now()


def _by(row: Performance) -> Attributes:
    return {TRANSACTION_UID: element("UI", row.transaction_uid)}


def _is_done(status: int) -> bool:
    return status == _S.SUCCESS or status in _WARNINGS
