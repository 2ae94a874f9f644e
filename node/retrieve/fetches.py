"""Work items `fetch`: one study had from one archive, until everything that the archive lists of it is here."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from node.config import Peer, Settings
from node.domain.retrieval import RetrievalState
from node.domain.time import Clock
from node.domain.work import WorkKind, WorkState
from node.errors import Failed, Transient
from node.loop import Handling, Stop
from node.retrieve import calls, making_way
from node.retrieve.found import FoundInstance
from node.retrieve.inquiry import handling_of
from node.retrieve.making_way import Overtaken
from node.retrieve.question import Errand, NotOffered, Portion, Reply, Tally, Way
from node.store import events, retrievals, work_items
from node.store.database import Database
from node.store.inbox import Inbox
from node.store.retrievals import Retrieval
from node.store.work_items import WorkItem
from node.workflow import prefetch

#: How often what did not come is asked for again in one try.
_ROUNDS = 3
#: After the archive is done: for what is on its way to be indexed, seconds since something last was.
_SETTLE_S = 5.0
_POLL_S = 0.2

log = structlog.get_logger()


class Ask(Protocol):
    """Puts an errand in a process of its own, as `asking.ask` does."""

    def __call__(
        self, errand: Errand, *, heard: Callable[[Tally], None] = ..., stirs: Callable[[], bool] = ...
    ) -> Reply:
        """Return the reply.

        Raises:
            Failed: the answer is that there is none.
            Transient: not now.
        """
        ...


@dataclass(slots=True, kw_only=True)
class _Course:
    """How one try goes."""

    item: WorkItem
    retrieval: Retrieval
    peer: Peer
    way: Way
    #: `None` where the archive does not list instances.
    contents: tuple[FoundInstance, ...] | None = None
    #: ... and whether all of them are wanted.
    is_whole: bool = True
    #: Why some of it did not come, as the archive says.
    reason: str = ""


class Fetches:
    """Work items `fetch` of one archive, one at a time."""

    def __init__(
        self,
        db: Database,
        clock: Clock,
        settings: Settings,
        peer: Peer,
        ask: Ask,
        stop: Stop,
        *,
        settle_s: float = _SETTLE_S,
    ) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._peer = peer
        self._ask = ask
        self._stop = stop
        self._settle_s = settle_s
        self._inbox = Inbox(settings.data.folder)

    def handling(self) -> Handling:
        """How the loop treats these items."""
        return handling_of(
            self._db,
            self._clock,
            WorkKind.FETCH,
            self.handle,
            lambda item, error: self._end(item, RetrievalState.FAILED, str(error)),
            died=self._died,
            subject_prefix=retrievals.subject_prefix(self._peer.name),
        )

    def handle(self, item: WorkItem) -> None:
        """Have the study sent, and finish the item with what came of it.

        Raises:
            Failed: it cannot be had, with the reason; nothing came.
            Transient: not now, and it has been tried fewer times than the settings say.
        """
        retrieval = retrievals.retrieval(self._db, retrievals.id_of(item.subject))
        if retrieval is None or not retrieval.is_open:
            with self._db.transaction():
                work_items.finish(self._db, self._clock.now(), item, "no longer wanted")
            return
        wait_s = prefetch.wait_s(self._clock.now(), self._settings, retrieval.purpose, item.hours)
        if wait_s:
            with self._db.transaction():
                reason = "it is not the hour in which such studies are fetched"
                work_items.give_back(self._db, self._clock.now(), item, reason, wait_s=wait_s)
            return
        course = _Course(item=item, retrieval=retrieval, peer=self._peer, way=calls.way_of(self._peer))
        try:
            self._check_room()
            self._move(retrieval, RetrievalState.RETRIEVING)
            self._fetch(course)
        except Overtaken as error:
            self._move(retrieval, RetrievalState.REQUESTED, str(error))
            with self._db.transaction():
                work_items.give_back(self._db, self._clock.now(), item, str(error), wait_s=0, fault=False)
            return
        except Transient as error:
            self._wait_or_give_up(item, course, str(error))
            return
        except Failed as error:
            if not self._held(course):
                raise
            course.reason = str(error)
        verdict = self._verdict(course)
        with self._db.transaction():
            self._end(item, *verdict)

    def _fetch(self, course: _Course) -> None:
        """Ask for what is missing, and again for what then still is.

        Raises:
            Failed, Transient: as the archive or the process that asks it says.
        """
        uid = course.retrieval.study_instance_uid
        listed = self._ask(calls.contents_query(self._settings, course.peer, uid)).contents
        if listed is not None:
            course.contents = tuple(each for each in listed if course.retrieval.wanted.takes(each.modality))
            course.is_whole = len(course.contents) == len(listed)
        for _ in range(_ROUNDS):
            missing = self._missing(course)
            if course.contents is not None and not missing:
                break
            before = self._count(uid)
            portions = [Portion()]
            if course.contents:
                portions = calls.portions_of(missing, course.contents, is_whole=course.is_whole)
            course.reason = self._transfer(course, missing, portions)
            self._settle(course)
            if course.contents is None or self._count(uid) == before:
                break

    def _transfer(self, course: _Course, missing: Sequence[FoundInstance], portions: Sequence[Portion]) -> str:
        """Have the portions sent; return why some did not come, as the archive says.

        Raises:
            Failed, Transient: as the archive or the process that asks it says.
        """
        uid, retrieval = course.retrieval.study_instance_uid, course.retrieval
        folder = self._inbox.folder_of(retrieval.id)
        seen = self._count(uid)

        def stirs() -> bool:
            nonlocal seen
            making_way.look(self._db, self._clock, self._settings, course.item, f"{self._peer.name}/")
            before, seen = seen, self._count(uid)
            return seen != before

        def heard(tally: Tally) -> None:
            self._record(course, failed=tally.failed)

        errand = calls.transfer(self._settings, course.peer, course.way, uid, missing, portions, folder)
        try:
            reply = self._ask(errand, heard=heard, stirs=stirs)
        except NotOffered:
            if course.way is not Way.MOVE:
                raise
            course.way = Way.GET
            return self._transfer(course, missing, portions)
        self._record(course, failed=reply.tally.failed)
        reasons = [reply.reason] if reply.reason else []
        for reason, number in reply.disbelieved.items():
            reasons.append(f"{number} left out: {reason}")
            with self._db.transaction():
                text = f"{number} object(s) of {course.peer.name}: {reason}"
                events.record(
                    self._db, self._clock.now(), "retrieval", retrieval.id, after="left out", reason=text, study=uid
                )
        return "; ".join(reasons)

    def _settle(self, course: _Course) -> None:
        """Wait until all of it is indexed, or nothing more is for a while."""
        uid = course.retrieval.study_instance_uid
        seen, last_s = (-1, -1), time.monotonic()
        while time.monotonic() - last_s < self._settle_s:
            if course.contents is not None and not self._missing(course):
                return
            if self._stop.wait(_POLL_S):
                raise Transient("the room ends")
            now = (self._count(uid), self._inbox.count(course.retrieval.id))
            if now != seen:
                seen, last_s = now, time.monotonic()
        if self._inbox.count(course.retrieval.id):
            raise Transient("the listener does not take what came; is it running?")

    def _verdict(self, course: _Course) -> tuple[RetrievalState, str]:
        held, missing = self._held(course), len(self._missing(course))
        self._record_progress(course, held=held)
        if course.contents is None:
            state = RetrievalState.INCOMPLETE if course.reason else RetrievalState.RETRIEVED
            return (state if held else RetrievalState.FAILED), course.reason or f"{held} instances are here"
        total = len(course.contents)
        if not missing:
            return RetrievalState.RETRIEVED, f"all {total} instances are here"
        reason = f"{held} of {total} instances are here" + (f"; {course.reason}" if course.reason else "")
        return (RetrievalState.INCOMPLETE if held else RetrievalState.FAILED), reason

    def _wait_or_give_up(self, item: WorkItem, course: _Course, reason: str) -> None:
        """Try again later, unless it was tried often enough.

        Raises:
            Transient: it is tried again.
        """
        tries = work_items.passing_faults(self._db, item) + 1
        if tries < self._settings.retrieve.tries or self._stop.is_set():
            self._move(course.retrieval, RetrievalState.REQUESTED, reason)
            raise Transient(reason)
        course.reason = f"{reason}; tried {tries} times"
        state, why = self._verdict(course)
        with self._db.transaction():
            self._end(item, state, course.reason if course.contents is None else why)

    def _died(self, item: WorkItem, reason: str) -> None:
        if work_items.give_up_or_retry(self._db, self._clock.now(), item, reason) is WorkState.PARKED:
            retrievals.move(self._db, self._clock.now(), retrievals.id_of(item.subject), RetrievalState.FAILED, reason)

    def _end(self, item: WorkItem, state: RetrievalState, reason: str) -> None:
        """Finish the item and its retrieval, inside the caller's transaction."""
        now = self._clock.now()
        if work_items.finish(self._db, now, item, reason):
            retrievals.move(self._db, now, retrievals.id_of(item.subject), state, reason)
            ended = retrievals.retrieval(self._db, retrievals.id_of(item.subject))
            if ended is not None and state is not RetrievalState.FAILED:
                prefetch.read_if_asked(self._db, now, ended)
            self._inbox.remove(retrievals.id_of(item.subject))

    def _move(self, retrieval: Retrieval, after: RetrievalState, reason: str = "") -> None:
        with self._db.transaction():
            retrievals.move(self._db, self._clock.now(), retrieval.id, after, reason)

    def _check_room(self) -> None:
        usage = shutil.disk_usage(self._settings.data.folder)
        reserve = self._settings.data.minimum_free_percent
        if 100.0 * usage.free / usage.total < reserve:
            raise Transient(f"less than {reserve:g} % of the disk is free; nothing is fetched until there is room")

    def _missing(self, course: _Course) -> list[FoundInstance]:
        here = retrievals.held_instances(self._db, course.retrieval.study_instance_uid)
        return [each for each in course.contents or () if each.sop_instance_uid not in here]

    def _held(self, course: _Course) -> int:
        if course.contents is None:
            return self._count(course.retrieval.study_instance_uid)
        return len(course.contents) - len(self._missing(course))

    def _count(self, study_instance_uid: str) -> int:
        return len(retrievals.held_instances(self._db, study_instance_uid))

    def _record(self, course: _Course, *, failed: int) -> None:
        self._record_progress(course, held=self._held(course), failed=failed)

    def _record_progress(self, course: _Course, *, held: int, failed: int | None = None) -> None:
        expected = None if course.contents is None else len(course.contents)
        with self._db.transaction():
            retrievals.record_progress(self._db, course.retrieval.id, expected=expected, held=held, failed=failed)
