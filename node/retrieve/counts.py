"""Work items `expected_count`: how many instances the archive that sent a study has of it."""

from __future__ import annotations

from collections.abc import Callable

from node.config import Peer, Settings
from node.domain.time import Clock
from node.domain.uid import is_usable_uid
from node.domain.work import ResultState, WorkKind
from node.errors import Failed
from node.loop import Handling
from node.retrieve.calls import archives, count_question
from node.retrieve.inquiry import answers, handling_of
from node.retrieve.question import Question
from node.store import instances, outbox, studies, work_items
from node.store.database import Database
from node.store.work_items import WorkItem

#: Asks one peer about one study: the count, or `Failed`, or `Transient`.
Ask = Callable[[Question], int]


class Counts:
    """Work items `expected_count`: each is asked of the archives that sent instances of the study."""

    def __init__(self, db: Database, clock: Clock, settings: Settings, ask: Ask) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._ask = ask

    def handling(self) -> Handling:
        """How the loop treats these items."""
        return handling_of(
            self._db,
            self._clock,
            WorkKind.EXPECTED_COUNT,
            self.handle,
            lambda item, error: self._finish(item, str(error)),
        )

    def handle(self, item: WorkItem) -> None:
        """Ask, and record the count in the transaction that finishes the item.

        Raises:
            Failed: no archive says a number; the quiet time decides alone.
            Transient: an archive does not answer now, and has been asked fewer than three times.
        """
        uid = item.study_instance_uid
        if not is_usable_uid(uid):
            raise Failed("the study has no sound UID to ask for")
        counts: list[int] = []
        reasons: list[str] = []
        archives = archives_of(self._db, self._settings, uid)
        for _, told in answers(self._db, item, archives, lambda peer: self._count(peer, uid)):
            if isinstance(told, str):
                reasons.append(told)
            else:
                counts.append(told)
        if not counts:
            raise Failed("; ".join(reasons) or "no archive sent this study")
        with self._db.transaction():
            if work_items.finish(self._db, self._clock.now(), item, f"{max(counts)} instances expected"):
                studies.record_expected_count(self._db, uid, max(counts))

    def _count(self, peer: Peer, study_instance_uid: str) -> int:
        """Instances that the peer has of a study, without our own."""
        told = self._ask(count_question(self._settings, peer, study_instance_uid))
        return max(0, told - own_results_at(self._db, peer, study_instance_uid))

    def _finish(self, item: WorkItem, reason: str) -> None:
        work_items.finish(self._db, self._clock.now(), item, f"{reason}; the quiet time decides alone")


def archives_of(db: Database, settings: Settings, study_instance_uid: str) -> list[Peer]:
    """The archives among the peers that sent instances of a study."""
    sources = set(instances.sources(db, study_instance_uid))
    return [peer for peer in archives(settings) if peer.name in sources]


def own_results_at(db: Database, peer: Peer, study_instance_uid: str) -> int:
    """How many results of ours the peer counts as part of the study, though they have not come back here."""
    here = {held.sop_instance_uid for held in instances.of_study(db, study_instance_uid)}
    there = {
        row.sop_instance_uid
        for row in outbox.of_study(db, study_instance_uid)
        if row.destination == peer.name and row.sent_at and row.state is not ResultState.WITHDRAWN
    }
    return len(there - here)
