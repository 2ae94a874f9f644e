"""Closes quiet studies, takes back expired leases and superseded results, and frees files, each on its own beat."""

from __future__ import annotations

import logging
from collections.abc import Callable

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from node.clock.freeing import Freeing
from node.clock.night import Nights
from node.clock.steadiness import Steadiness
from node.config import Settings
from node.domain.time import Clock, SystemClock
from node.loop import Herald, Stop, guarded, stop_on_signals
from node.store.database import Database, open_database
from node.workflow import reading_steps, requests
from node.workflow.closing import close_due
from node.workflow.escalating import escalate
from node.workflow.held_studies import HeldStudies
from node.workflow.policy import Policies
from node.workflow.recovery import recover_expired
from node.workflow.ruling import Ruling
from node.workflow.signals import Looks
from node.workflow.supersession import take_back_superseded
from node.workflow.waits import mark_long_waits

_CLOSING_S = 0.2
_RECOVERY_S = 2.0
_SUPERSESSION_S = 5.0
_FREEING_S = 60.0
_RULES_S = 2.0
#: Unified Procedure Steps that no rerank has told of.
_STEPS_S = 5.0
_WAITS_S = 15.0
#: A morning at six is at twenty seconds past at the latest.
_NIGHT_S = 20.0
#: What people asked for on the pages, and what they have not seen in time.
_PEOPLE_S = 1.0
#: A beat that takes longer than this stops feeding the watchdog.
_POLL_S = 0.25

log = structlog.get_logger()


def main(settings: Settings) -> int:
    """Run the room until SIGTERM."""
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    db = open_database(settings.data.folder, "clock")
    clock = SystemClock()
    policies, ruling = Policies(settings), Ruling()
    policy = policies.current()
    for problem in policy.problems:
        log.error("catalogue_problem", reason=problem)
    herald, stop, looks = Herald(), stop_on_signals(), Looks()

    def close_quiet_studies() -> None:
        closed = close_due(db, clock.now(), policies.current(), looks)
        if closed:
            log.info("studies_closed", count=closed)
        herald.alive()

    def take_back_expired() -> None:
        recovered = recover_expired(db, clock.now(), policies.current())
        if recovered:
            log.warning("leases_expired", count=recovered)

    def take_back_old_sets() -> None:
        taken = take_back_superseded(db, clock.now(), policies.current())
        if taken:
            log.info("superseded_results_taken_back", count=taken)

    freeing, night_db = Freeing(db, clock, settings), open_database(settings.data.folder, "clock")

    def mark_who_waits_too_long() -> None:
        marked = mark_long_waits(db, clock.now(), policies.current())
        if marked:
            log.warning("studies_wait_too_long", count=marked)

    scheduler = _scheduler(
        (close_quiet_studies, _CLOSING_S, "default"),
        (take_back_expired, _RECOVERY_S, "default"),
        (take_back_old_sets, _SUPERSESSION_S, "default"),
        (mark_who_waits_too_long, _WAITS_S, "default"),
        (_see_to_people(db, clock, policies), _PEOPLE_S, "default"),
        (lambda: reading_steps.sweep(db, clock.now(), policies.current()), _STEPS_S, "default"),
        (lambda: _free_files(freeing), _FREEING_S, "freeing"),
        (lambda: _follow_rules(db, clock, policies, ruling), _RULES_S, "ruling"),
        (Nights(night_db, clock, policies.current).step, _NIGHT_S, "night"),
    )
    steadiness = Steadiness(scheduler, clock)
    scheduler.start()
    herald.ready(
        f"closes studies and watches leases; {len(policy.active_models)} model(s), {len(policy.rules)} rule(s)"
    )
    _wait(stop, steadiness)
    herald.stopping()
    scheduler.shutdown()
    night_db.close()
    db.close()
    return 0


def _see_to_people(db: Database, clock: Clock, policies: Policies) -> Callable[[], None]:
    """Does what was asked for on the pages, tells further what nobody acknowledged, takes back what is held."""
    held = HeldStudies()

    def see_to_people() -> None:
        requests.perform(db, clock.now(), policies.current())
        escalated = escalate(db, clock.now(), policies.current())
        if escalated:
            log.warning("findings_told_further", count=escalated)
        taken = held.take_back(db, clock.now(), policies.current())
        if taken:
            log.warning("told_studies_held", count=taken)

    return see_to_people


def _free_files(freeing: Freeing) -> None:
    freed = freeing.step()
    if freed:
        log.info("studies_freed", count=freed)


def _follow_rules(db: Database, clock: Clock, policies: Policies, ruling: Ruling) -> None:
    moved = ruling.follow(db, clock.now(), policies)
    if moved is not None:
        current = policies.current()
        log.info("rules_in_force", digest=current.rules_digest[:12], rules=len(current.rules), moved=moved)
        for problem in current.rule_problems:
            log.error("catalogue_problem", reason=problem)


def _scheduler(*beats: tuple[Callable[[], None], float, str]) -> BackgroundScheduler:
    """What calls each of these every so many seconds, on the thread of that name."""
    scheduler = BackgroundScheduler(
        # Whoever reads gigabytes before they go, or ranks all that waits, must not keep studies from being closed.
        executors={name: ThreadPoolExecutor(1) for name in ("default", "freeing", "ruling", "night")},
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        timezone="UTC",
    )
    for beat, every_s, thread in beats:
        scheduler.add_job(guarded(beat), "interval", seconds=every_s, executor=thread)
    return scheduler


def _wait(stop: Stop, steadiness: Steadiness) -> None:
    while not stop.wait(_POLL_S):
        steadiness.look()
