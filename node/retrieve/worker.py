"""The room that asks others: how many instances a study has, which priors there are, and for studies themselves.

Questions are short and asked one after the other. Retrievals are long: each archive has a thread of its own, so that a
slow one holds up nothing else. Whatever is asked is asked by a process that can be killed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import structlog

from node.config import FhirServer, Peer, Settings
from node.domain.retrieval import RetrievalState
from node.domain.time import Clock, SystemClock
from node.domain.work import WorkKind
from node.errors import Failed, Transient
from node.loop import Herald, Stop, run, stop_on_signals, work_step
from node.retrieve import calls
from node.retrieve.asking import CHILD, ask
from node.retrieve.backfills import Backfills
from node.retrieve.counts import Counts
from node.retrieve.fetches import Fetches
from node.retrieve.fhir.exchange import HistoryAnswer, HistoryQuery
from node.retrieve.histories import Histories
from node.retrieve.holdings import Holdings
from node.retrieve.inquiry import OWNER
from node.retrieve.own_steps import OwnList
from node.retrieve.peer_steps import PeerList
from node.retrieve.performer import Manager, Performer
from node.retrieve.priors import Priors
from node.retrieve.question import Question
from node.retrieve.worklists import Worklists
from node.store import retrievals, work_items
from node.store.database import Database, open_database
from node.store.occupancy import RETRIEVE_LOCK, occupied
from node.workflow import asking_history, recovery
from node.workflow.policy import Policies, Policy

_KINDS = (
    *(WorkKind.EXPECTED_COUNT, WorkKind.PRIORS, WorkKind.FETCH, WorkKind.ARCHIVED, WorkKind.HISTORY),
    *(WorkKind.WORKLIST, WorkKind.BACKFILL),
)
#: For the threads to take leave of their archives.
_DRAIN_S = 20.0
#: Between two looks for studies whose patients are to be asked for again.
_LOOK_S = 30.0

log = structlog.get_logger()


def main(settings: Settings) -> int:
    """Run the room until SIGTERM; return the exit code.

    Raises:
        Misconfigured: another such room works on the data folder.
    """
    with occupied(settings.data.folder, RETRIEVE_LOCK), ExitStack() as closing:
        db = open_database(settings.data.folder, "retrieve")
        closing.callback(db.close)
        clock = SystemClock()
        herald, stop = Herald(), stop_on_signals()
        recovery.take_back(db, clock.now(), OWNER, _KINDS)
        give_up_unknown(db, clock, settings)

        def counted(question: Question) -> int:
            count = ask(CHILD, question, stop, herald.alive).count
            if count is None:
                raise Failed("the process that asks gave no number")
            return count

        counts = Counts(db, clock, settings, counted)
        priors = Priors(db, clock, settings, lambda query: ask(CHILD, query, stop, herald.alive))
        holdings = Holdings(db, clock, settings, lambda query: ask(CHILD, query, stop, herald.alive))
        policies = Policies(settings)
        worklists = Worklists(db, clock, policies.current, lambda query: ask(CHILD, query, stop, herald.alive))
        past = Backfills(db, clock, settings, lambda query: ask(CHILD, query, stop, herald.alive))
        handlings = [each.handling() for each in (counts, priors, holdings, worklists, past)]
        steps = {handling.kind: work_step(db, clock, handling) for handling in handlings}

        def step() -> bool:
            # A look costs less than a claim, which takes the write lock.
            waiting = [kind for kind in steps if work_items.open_subjects(db, kind, limit=1)]
            busy = [steps[kind]() for kind in waiting]
            return any(busy)

        archives = calls.archives(settings)
        threads = [_fetching(settings, peer, clock, stop) for peer in archives]
        threads += [asking_of(settings, server, policies.current, clock, stop) for server in settings.fhir]
        threads += [_performing(settings, peer, policies.current, clock, stop) for peer in calls.managers(settings)]
        herald.ready(f"asks {len(archives)} archive(s), {len(settings.fhir)} FHIR server(s)")
        run(db, step, stop, herald)
        for thread in threads:
            thread.join(_DRAIN_S)
        herald.stopping()
    return 0


def give_up_unknown(db: Database, clock: Clock, settings: Settings) -> None:
    """End the retrievals from peers that are archives no longer, and questions to FHIR servers that are gone."""
    known = {peer.name for peer in calls.archives(settings)}
    for retrieval in retrievals.unfinished(db):
        if retrieval.peer in known:
            continue
        reason = f"no peer {retrieval.peer} with the role archive is configured"
        with db.transaction():
            subject = f"{retrievals.subject_prefix(retrieval.peer)}{retrieval.id}"
            work_items.cancel(db, clock.now(), WorkKind.FETCH, subject, reason)
            retrievals.move(db, clock.now(), retrieval.id, RetrievalState.FAILED, reason)

    servers = tuple(map(asking_history.subject_prefix, (server.name for server in settings.fhir)))
    for subject in work_items.open_subjects(db, WorkKind.HISTORY, limit=-1):
        if not subject.startswith(servers):
            with db.transaction():
                reason = "no FHIR server of that name is configured"
                work_items.cancel(db, clock.now(), WorkKind.HISTORY, subject, reason)


def _fetching(settings: Settings, peer: Peer, clock: Clock, stop: Stop) -> threading.Thread:
    """Start the thread of one archive."""

    def fetch(db: Database) -> Callable[[], bool]:
        fetches = Fetches(db, clock, settings, peer, partial(ask, CHILD, stop=stop, alive=lambda: None), stop)
        claim = work_step(db, clock, fetches.handling())

        def step() -> bool:
            return bool(work_items.open_subjects(db, WorkKind.FETCH, limit=1)) and claim()

        return step

    return _thread(settings, f"fetch from {peer.name}", fetch, stop)


def asking_of(
    settings: Settings, server: FhirServer, policy: Callable[[], Policy], clock: Clock, stop: Stop
) -> threading.Thread:
    """Start the thread of one FHIR server: it is asked for what studies want to know, and again in time."""

    def answered(query: HistoryQuery) -> HistoryAnswer:
        reply = ask(CHILD, query, stop, lambda: None)
        if reply.history is None:
            raise Transient("the process that asks gave no answer")
        return reply.history

    def keep_asking(db: Database) -> Callable[[], bool]:
        histories = Histories(db, clock, policy, server, answered, stop)
        claim = work_step(db, clock, histories.handling())
        looked_s = -_LOOK_S

        def step() -> bool:
            nonlocal looked_s
            if not histories.may_ask():
                return False
            if time.monotonic() - looked_s > _LOOK_S:
                looked_s = time.monotonic()
                asking_history.ask_again(db, clock.now(), server)
            return bool(work_items.open_subjects(db, WorkKind.HISTORY, limit=1)) and claim()

        return step

    return _thread(settings, f"ask {server.name}", keep_asking, stop)


def _performing(
    settings: Settings, peer: Peer | None, policy: Callable[[], Policy], clock: Clock, stop: Stop
) -> threading.Thread:
    """Start the thread that performs the steps of one manager; of our own list, where it is none of the peers."""

    def perform(db: Database) -> Callable[[], bool]:
        manager: Manager = OwnList(db, clock, policy)
        if peer is not None:
            manager = PeerList(settings, peer, partial(ask, CHILD, stop=stop, alive=lambda: None))
        performer = Performer(db, clock, policy, peer.name if peer else "", manager)

        def step() -> bool:
            try:
                return performer.step()
            except Failed as error:
                # As it is set up it never answers; it may be set up otherwise.
                raise Transient(str(error)) from error

        return step

    return _thread(settings, f"perform for {peer.name if peer else 'us'}", perform, stop)


def _thread(
    settings: Settings, name: str, making: Callable[[Database], Callable[[], bool]], stop: Stop
) -> threading.Thread:
    """Start a thread that takes one step after the other; what they need is made in it, on its own connection."""

    def work() -> None:
        db = open_database(settings.data.folder, "retrieve")
        run(db, making(db), stop, _Mute())
        db.close()

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    return thread


class _Mute(Herald):
    """The room's own loop feeds the watchdog; its threads do not."""

    def __init__(self) -> None:
        pass

    def alive(self) -> None:
        """Nothing is told."""
