"""The room that delivers: starts a child for each destination with rows, and looks after it. Sends nothing itself."""

from __future__ import annotations

import sys

import structlog

from node.config import Settings
from node.deliver.children import Children
from node.deliver.holdings import Notices
from node.domain.notice import NoticeState
from node.domain.time import Clock, SystemClock
from node.domain.work import ResultState, WorkKind
from node.loop import Herald, run, stop_on_signals
from node.store import notices, outbox, outcomes, ups_watch, work_items
from node.store.database import Database, open_database
from node.workflow import identity
from node.workflow.commitment import to_confirm
from node.workflow.policy import Policy

OWNER = "deliver:"
#: Reports in the making that are looked at to start a child before its first row is there.
_FORESEEN = 8
_LEASE_S = 60.0
#: Tells one peer what becomes of the Unified Procedure Steps that it watches.
_REPORTER = (sys.executable, "-m", "node.deliver.ups_events")

#: Sends what one route of the reading list is told.
_TELLER = (sys.executable, "-m", "node.deliver.route_child")

log = structlog.get_logger()


def main(settings: Settings) -> int:
    """Run the room until SIGTERM; return the exit code."""
    db = open_database(settings.data.folder, "deliver")
    clock = SystemClock()
    herald, stop = Herald(), stop_on_signals()
    freed = outbox.release(db, OWNER) + notices.release(db, OWNER)
    if freed:
        log.warning("rows_taken_back", count=freed)
    destinations = destinations_of(settings)
    children = Children(db, clock, settings)
    routes = frozenset(route.name for route in settings.routes)
    tellers = Children(db, clock, settings, command=_TELLER, holdings=Notices(db, clock, settings.deliver))
    watchers, reporters = watchers_of(settings), Children(db, clock, settings, command=_REPORTER)

    def step() -> bool:
        waiting = outbox.waiting(db)
        hold_for_unknown(db, clock, sorted(set(waiting) - destinations))
        needed = destinations & set(waiting) | to_confirm(db, clock.now(), settings.peers)
        if destinations - set(children.running()):
            needed |= foreseen(db, settings)
        children.look_after(needed)
        told = set(notices.waiting(db))
        hold_for_unknown_routes(db, clock, sorted(told - routes))
        tellers.look_after(routes & told)
        reporters.look_after(watchers & ups_watch.waiting(db))
        return False

    herald.ready(f"sends to {len(destinations)} destination(s)")
    run(db, step, stop, herald)
    herald.stopping()
    children.drain()
    tellers.drain()
    reporters.drain()
    db.close()
    return 0


def destinations_of(settings: Settings) -> frozenset[str]:
    """Names of the peers that are destinations."""
    return frozenset(peer.name for peer in settings.peers if "destination" in peer.roles)


def watchers_of(settings: Settings) -> frozenset[str]:
    """Names of the peers that can be told what becomes of Unified Procedure Steps."""
    return frozenset(peer.name for peer in settings.peers if peer.host and peer.port)


def foreseen(db: Database, settings: Settings) -> set[str]:
    """Destinations of the reports that are being made: their children start meanwhile (half a second)."""
    policy = Policy(settings, (), ())
    made = (outcomes.outcome(db, int(each)) for each in work_items.open_subjects(db, WorkKind.REPORT, limit=_FORESEEN))
    return {peer.name for outcome in made if outcome for peer in identity.destinations(db, policy, outcome)}


def hold_for_unknown(db: Database, clock: Clock, names: list[str]) -> None:
    """Hold the rows of destinations that are no longer in the settings, with the remedy."""
    for name in names:
        rows = outbox.claim(db, clock.now(), name, f"{OWNER}room", _LEASE_S, limit=100)
        reason = f"no peer {name} with the role destination is configured; add it to config.toml, then `matins retry`"
        with db.transaction():
            for row in rows:
                outbox.move(db, clock.now(), row, ResultState.HELD, reason)


def hold_for_unknown_routes(db: Database, clock: Clock, names: list[str]) -> None:
    """Hold the notices of routes that are no longer in the settings, with the remedy."""
    for name in names:
        reason = f"no route {name} is configured; add it to config.toml, then `matins retry`"
        with db.transaction():
            for notice in notices.waiting_of(db, name):
                notices.move(db, clock.now(), notice, NoticeState.HELD, reason)
