"""The digest of the night, to people: one letter a morning and route, in numbers; of patients nothing at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, cast

import structlog

from node.config import Route, Settings
from node.deliver.carriage import Lost, Unreachable
from node.deliver.lifeline import IDLE_S, MARGIN_S, Pulse
from node.deliver.rest import Rest
from node.deliver.routes import Heard, kind_of
from node.domain.notice import NoticeState
from node.domain.time import Clock
from node.errors import Misconfigured
from node.store import digests
from node.store.database import Database
from node.store.digests import DigestLetter

#: Refusals after which a letter is dead.
MOST_REFUSALS = 5
#: Makes a message of the numbers, its control ID, when it leaves and a link.
Written = Callable[[Route, Mapping[str, Any], str, datetime, str], bytes]

log = structlog.get_logger()


def numbers(body: Mapping[str, Any]) -> dict[str, Any]:
    """What leaves of a digest: counts, and names of models, routes, archives and servers of ours."""
    return {
        "day": body["day"],
        "arrived": body["arrived"],
        "unread": body["unread"],
        "moved": body["moved_total"],
        "not_acknowledged": len(body["unacknowledged"]),
        "discrepancies": body["discrepancies"],
        "never_arrived": body["never_arrived_total"],
        "models_failed": {each["model"]: each["number"] for each in body["failed"]["models"]},
        "models_pending": {each["model"]: each["number"] for each in body["pending"]},
        "results_stopped": sum(each["number"] for each in body["failed"]["results"]),
        "unreachable": [each["what"] for each in body["unreachable"]],
        "longest_wait_min": max((each["waits_min"] for each in body["longest_waits"]), default=0),
        "wait_too_long": sum(bool(each["too_long"]) for each in body["longest_waits"]),
    }


class DigestQueue:
    """The letters of one route; it rests by itself where the receiver is away."""

    def __init__(self, db: Database, clock: Clock, settings: Settings, route: Route, *, pulse: Pulse) -> None:
        self._db = db
        self._clock = clock
        self._patience = settings.deliver
        self._route = route
        self._pulse = pulse
        self._rest = Rest(clock, settings.deliver)

    def step(self) -> bool:
        """Send the letter that waits, if one does; `True` if anything was done."""
        if "digest" not in self._route.tells_when or not self._rest.is_due:
            return False
        letter = digests.waiting_letter(self._db, self._route.name)
        if letter is None:
            return False
        try:
            self._send(letter)
        except (Unreachable, Lost, Misconfigured) as error:
            locked = isinstance(error, Misconfigured) or getattr(error, "by_configuration", False)
            self._rest.begin(by_configuration=locked)
            standing = digests.waiting_letter(self._db, self._route.name)
            if standing is not None:
                digests.move_letter(self._db, self._clock.now(), standing, standing.state, str(error))
            log.warning("digest_waits", route=self._route.name, reason=str(error))
        finally:
            self._pulse.quiet_for(IDLE_S)
        return True

    def _send(self, letter: DigestLetter) -> None:
        kind, now = kind_of(self._route), self._clock.now()
        written = cast(Written | None, getattr(kind, "digest", None))
        told = digests.of_day(self._db, letter.day)
        if kind is None or written is None or told is None:
            digests.move_letter(self._db, now, letter, NoticeState.HELD, "this route takes no digest")
            return
        link = f"{self._route.page.rstrip('/')}/" if self._route.page else ""
        message = letter.message or written(self._route, numbers(told.body), letter.control_id, now.wall, link)
        self._pulse.quiet_for(2 * kind.limit_s(self._route, self._patience) + MARGIN_S)
        if not digests.begin_letter(self._db, now, letter, message):
            return
        with kind.opened(self._route, self._patience) as receiver:
            reply = receiver.send(message, letter.control_id, self._clock.now().wall)
        if reply.heard is Heard.ACKNOWLEDGED:
            self._rest.end()
            digests.move_letter(self._db, self._clock.now(), letter, NoticeState.ACKNOWLEDGED, reply.reason)
            log.info("digest_acknowledged", route=self._route.name, day=letter.day.isoformat())
            return
        refused = reply.heard is Heard.REFUSED
        dead = refused and letter.refusals + 1 >= MOST_REFUSALS
        self._rest.begin(by_configuration=False)
        after = NoticeState.DEAD if dead else NoticeState.SENT
        digests.move_letter(self._db, self._clock.now(), letter, after, reply.reason, refused=refused)
        log.warning("digest_refused" if refused else "digest_waits", route=self._route.name, reason=reply.reason)
