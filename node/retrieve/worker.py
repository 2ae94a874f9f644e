"""The room that asks others. Today: how many instances the archive that sent a study has of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import structlog

from node.config import Peer, Settings
from node.domain.time import Clock, SystemClock
from node.domain.uid import is_valid_uid
from node.domain.work import ResultState, WorkKind
from node.errors import Failed, Transient
from node.loop import Handling, Herald, run, stop_on_signals, work_step
from node.retrieve.asking import ask
from node.retrieve.question import Question
from node.store import instances, outbox, studies, work_items
from node.store.database import Database, open_database
from node.store.work_items import WorkItem
from node.workflow import recovery

OWNER = "retrieve:"
_QUERY = (sys.executable, "-m", "node.retrieve.dicom_query")
_LEASE_S = 60.0
#: For the archive's answer. A study waits for it after its quiet time, so it is short, and tried this often.
_ANSWER_S = 10.0
_TRIES = 3

log = structlog.get_logger()

#: Asks one peer about one study: the count, or `Failed`, or `Transient`.
Ask = Callable[[Question], int]


def main(settings: Settings) -> int:
    """Run the room until SIGTERM; return the exit code."""
    db = open_database(settings.data.folder, "retrieve")
    clock = SystemClock()
    herald, stop = Herald(), stop_on_signals()
    recovery.take_back(db, clock.now(), OWNER, (WorkKind.EXPECTED_COUNT,))
    counts = Counts(db, clock, settings, lambda question: ask(_QUERY, question, stop, herald.alive))
    claim = work_step(db, clock, counts.handling())

    def step() -> bool:
        # A look costs less than a claim, which takes the write lock.
        return bool(work_items.open_subjects(db, WorkKind.EXPECTED_COUNT, limit=1)) and claim()

    herald.ready("asks archives how many instances a study has")
    run(db, step, stop, herald)
    herald.stopping()
    db.close()
    return 0


class Counts:
    """Work items `expected_count`: each is asked of the archives that sent instances of the study."""

    def __init__(self, db: Database, clock: Clock, settings: Settings, ask: Ask) -> None:
        self._db = db
        self._clock = clock
        self._settings = settings
        self._ask = ask

    def handling(self) -> Handling:
        """How the loop treats these items."""
        return Handling(
            kind=WorkKind.EXPECTED_COUNT,
            owner=f"{OWNER}{os.getpid()}",
            lease_s=_LEASE_S,
            handle=self.handle,
            reject=lambda item, error: self._finish(item, str(error)),
            died=lambda item, reason: _give_up_or_retry(self._db, self._clock, item, reason),
        )

    def handle(self, item: WorkItem) -> None:
        """Ask, and record the count in the transaction that finishes the item.

        Raises:
            Failed: no archive says a number; the quiet time decides alone.
            Transient: an archive does not answer now, and has been asked fewer than three times.
        """
        uid = item.study_instance_uid
        if not is_valid_uid(uid):
            raise Failed("the study has no sound UID to ask for")
        counts: list[int] = []
        reasons: list[str] = []
        for peer in archives_of(self._db, self._settings, uid):
            try:
                told = self._ask(self._question(peer, uid))
                counts.append(max(0, told - own_results_at(self._db, peer, uid)))
            except Failed as error:
                reasons.append(str(error))
            except Transient as error:
                if work_items.passing_faults(self._db, item) + 1 < _TRIES:
                    raise
                reasons.append(f"{error}; asked {_TRIES} times")
        if not counts:
            raise Failed("; ".join(reasons) or "no archive sent this study")
        with self._db.transaction():
            if work_items.finish(self._db, self._clock.now(), item, f"{max(counts)} instances expected"):
                studies.record_expected_count(self._db, uid, max(counts))

    def _question(self, peer: Peer, study_instance_uid: str) -> Question:
        assert peer.port is not None
        return Question(
            peer=peer.name,
            host=peer.host,
            port=peer.port,
            their_ae_title=peer.ae_title,
            our_ae_title=self._settings.node.ae_title,
            study_instance_uid=study_instance_uid,
            connect_s=self._settings.deliver.connect_s,
            answer_s=_ANSWER_S,
        )

    def _finish(self, item: WorkItem, reason: str) -> None:
        work_items.finish(self._db, self._clock.now(), item, f"{reason}; the quiet time decides alone")


def archives_of(db: Database, settings: Settings, study_instance_uid: str) -> list[Peer]:
    """The archives among the peers that sent instances of a study."""
    sources = set(instances.sources(db, study_instance_uid))
    return [peer for peer in settings.peers if "archive" in peer.roles and peer.name in sources]


def own_results_at(db: Database, peer: Peer, study_instance_uid: str) -> int:
    """How many results of ours the peer counts as part of the study, though they have not come back here."""
    here = {held.sop_instance_uid for held in instances.of_study(db, study_instance_uid)}
    there = {
        row.sop_instance_uid
        for row in outbox.of_study(db, study_instance_uid)
        if row.destination == peer.name and row.sent_at and row.state is not ResultState.WITHDRAWN
    }
    return len(there - here)


def _give_up_or_retry(db: Database, clock: Clock, item: WorkItem, reason: str) -> None:
    work_items.give_up_or_retry(db, clock.now(), item, reason)
