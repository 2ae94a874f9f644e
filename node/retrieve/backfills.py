"""Work items `backfill`: which studies of one day an archive holds, to be fetched in spare time."""

from __future__ import annotations

from collections.abc import Callable

from node.config import Settings
from node.domain.night import BackfillState
from node.domain.time import Clock
from node.domain.work import WorkHours, WorkKind, WorkState
from node.errors import Failed, Transient
from node.loop import Handling
from node.retrieve import calls
from node.retrieve.inquiry import handling_of
from node.retrieve.keys import StudyKeys
from node.retrieve.question import Reply, StudyQuery
from node.store import backfills, work_items
from node.store.database import Database
from node.store.work_items import WorkItem
from node.workflow import night_hours

#: Two hours and a half of growing waits; then a person looks.
_TRIES = 38

#: Asks one archive.
Ask = Callable[[StudyQuery], Reply]


class Backfills:
    """Work items `backfill`, each of one backfill and day."""

    def __init__(self, db: Database, clock: Clock, settings: Settings, ask: Ask) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._ask = ask

    def handling(self) -> Handling:
        """How the loop treats these items."""
        return handling_of(self._db, self._clock, WorkKind.BACKFILL, self.handle, self._fail, died=self._died)

    def handle(self, item: WorkItem) -> None:
        """Ask, and keep what is listed in the transaction that finishes the item.

        Raises:
            Failed: nobody is to be asked, or the archive will never answer as it is set up.
            Transient: it does not answer now.
        """
        number, _, day = item.subject.partition("/")
        backfill = backfills.one(self._db, int(number))
        peers = [peer for peer in calls.archives(self._settings) if backfill is not None and peer.name == backfill.peer]
        if backfill is None or not peers:
            raise Failed("no such archive is configured")
        if backfill.state is not BackfillState.RUNNING:
            raise Transient("a person has stopped it")
        wait_s = night_hours.until_night_s(self._clock.now(), self._settings) if item.hours is WorkHours.NIGHT else 0
        if wait_s:
            with self._db.transaction():
                work_items.give_back(self._db, self._clock.now(), item, "by night", wait_s=wait_s, fault=False)
            return
        keys = StudyKeys(since=day, until=day, modality=backfill.modality)
        try:
            reply = self._ask(calls.day_query(self._settings, peers[0], keys))
        except Transient as error:
            with self._db.transaction():
                backfills.note(self._db, backfill.id, str(error))
            if work_items.passing_faults(self._db, item) + 1 < _TRIES:
                raise
            raise Failed(f"{error}; asked {_TRIES} times") from error
        found = [(each.study_instance_uid, each.study_date) for each in reply.studies]
        with self._db.transaction():
            if work_items.finish(self._db, self._clock.now(), item, f"{len(found)} study(ies)"):
                backfills.record_day(self._db, backfill, day, found)

    def _fail(self, item: WorkItem, error: Exception) -> None:
        if work_items.park(self._db, self._clock.now(), item, str(error)):
            self._stop(item, str(error))

    def _died(self, item: WorkItem, reason: str) -> None:
        if work_items.give_up_or_retry(self._db, self._clock.now(), item, reason) is WorkState.PARKED:
            self._stop(item, reason)

    def _stop(self, item: WorkItem, reason: str) -> None:
        """A person sees why it does not go on, and lets it."""
        backfill = backfills.one(self._db, int(item.subject.partition("/")[0]))
        if backfill is not None and backfill.state is BackfillState.RUNNING:
            backfills.move(self._db, self._clock.now(), backfill, BackfillState.STOPPED, reason)
