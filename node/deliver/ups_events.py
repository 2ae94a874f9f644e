"""The process that tells one peer what becomes of the Unified Procedure Steps that it watches (PS3.4 §CC.2.4).

Started by the room with an errand, like the child of a destination. Reports go out one after the other in the order in
which things happened; one that is not answered keeps the others back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import structlog
from pydicom import Dataset
from pydicom.uid import UID
from pynetdicom.dimse_primitives import N_EVENT_REPORT

from node.config import Peer, Settings
from node.deliver import child
from node.deliver.carriage import Lost, Unreachable, answer_limit_s, opening_limit_s
from node.deliver.dialogue import Dialogue, NotOffered, dialogue
from node.deliver.lifeline import IDLE_S, MARGIN_S, Pulse
from node.deliver.rest import Rest
from node.domain.time import Clock
from node.domain.ups import EVENT, PUSH
from node.loop import Stop
from node.store import events, ups_watch
from node.store.database import Database
from node.store.ups_watch import UpsNotice

_BATCH = 100
#: A report that is refused so often is given up: it would keep all later ones back.
_MOST_ATTEMPTS = 5

log = structlog.get_logger()


class Reporting:
    """The reports of one peer."""

    def __init__(self, db: Database, clock: Clock, settings: Settings, peer: Peer, *, stop: Stop, pulse: Pulse) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._peer = peer
        self._stop = stop
        self._pulse = pulse
        self._rest = Rest(clock, settings.deliver)

    def step(self) -> bool:
        """Send what waits; `True` if there was anything and all of it went."""
        if not self._rest.is_due:
            return False
        notices = ups_watch.next_notices(self._db, self._peer.name, limit=_BATCH)
        if not notices:
            return False
        self._pulse.quiet_for(2 * opening_limit_s(self._settings.deliver) + MARGIN_S)
        try:
            self._send(notices)
        except (Unreachable, Lost, NotOffered) as error:
            self._rest.begin(
                by_configuration=isinstance(error, NotOffered) or getattr(error, "by_configuration", False)
            )
            log.warning("ups_reports_wait", peer=self._peer.name, reason=str(error))
            return False
        finally:
            self._pulse.quiet_for(IDLE_S)
        self._rest.end()
        return True

    def _send(self, notices: list[UpsNotice]) -> None:
        ours, limits = self._settings.node.ae_title, self._settings.deliver
        with dialogue(self._peer, ours, limits, [EVENT], as_scp=True) as open_dialogue:
            for notice in notices:
                if self._stop.is_set():
                    break
                self._pulse.quiet_for(answer_limit_s(limits, 0) + MARGIN_S)
                self._report(open_dialogue, notice)
            self._pulse.quiet_for(opening_limit_s(limits) + MARGIN_S)

    def _report(self, open_dialogue: Dialogue, notice: UpsNotice) -> None:
        request = N_EVENT_REPORT()
        # Every step is an instance of UPS Push, whatever was negotiated (PS3.4 §CC.2.4.3).
        request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = UID(PUSH), UID(notice.ups)
        request.EventTypeID = int(notice.type)
        content = Dataset.from_json({**notice.content, "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}})
        answer = open_dialogue.ask(EVENT, request, content, limit_s=self._settings.deliver.dimse_s)
        with self._db.transaction():
            if not answer.status or notice.attempts + 1 >= _MOST_ATTEMPTS:
                ups_watch.settle(self._db, notice)
            else:
                ups_watch.count_attempt(self._db, notice)
            if answer.status:
                reason = f"{self._peer.name} answered the report with 0x{answer.status:04X}"
                events.record(self._db, self._clock.now(), "ups", notice.ups, after="report refused", reason=reason)
        if answer.status and notice.attempts + 1 < _MOST_ATTEMPTS:
            raise Lost(f"{self._peer.name} answered 0x{answer.status:04X}")


def main() -> int:
    """Report to one peer until SIGTERM, or until the room is gone; return the exit code."""
    return child.serve(_reporting)


def _reporting(
    db: Database, clock: Clock, settings: Settings, peer: Peer, stop: Stop, pulse: Pulse
) -> Callable[[], bool]:
    return Reporting(db, clock, settings, peer, stop=stop, pulse=pulse).step


if __name__ == "__main__":
    sys.exit(main())
