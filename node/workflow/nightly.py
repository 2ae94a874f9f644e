"""What is due by night and in the morning: each task once a local day, made up for once where the node did not run.

The key is the local day, in a table: neither a restart nor an hour that comes twice has anything done twice. What was
done while the clock was ahead by half a day or more counts for nothing once it is set right.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice

from node.domain.night import NightlyTask, RunState
from node.domain.time import Instant
from node.domain.work import WorkHours, WorkKind
from node.errors import Transient
from node.store import digests, expected_studies, nightly_runs, reading_list, studies, work_items
from node.store.database import Database
from node.triage.nights import MIDNIGHT, latest, night_of
from node.workflow import backfilling, comparing, digest, expecting, impact
from node.workflow.policy import Policy
from node.workflow.ranking import rerank_all

#: A clock that is set by less than this is one that is kept: what it has seen done is done.
_AHEAD_S = 12 * 3600.0
#: A task over which the node died or failed so often is left alone until its next day.
_MOST_ATTEMPTS = 3
#: So many days back it is said which were missed.
_MOST_MISSED = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A task that is to be done now, and for which local day."""

    task: NightlyTask
    day: date
    due_at: datetime


def run_due(db: Database, tell: Callable[[], Instant], policy: Policy) -> list[Due]:
    """Do what is due, one task after the other; return what was done. `tell` gives the time.

    Opens its own transactions. Raises:
        Transient: the database is busy; what was not done is done with the next beat, and nobody is blamed.
    """
    done = []
    for run in nightly_runs.ahead(db, tell(), _AHEAD_S):
        with db.transaction():
            nightly_runs.set_aside(db, tell(), run)
    for task in NightlyTask:
        found = due(db, tell(), policy, task)
        if found is None:
            continue
        with db.transaction():
            attempts = nightly_runs.begin(db, tell(), task, found.day, found.due_at)
        if attempts > _MOST_ATTEMPTS:
            with db.transaction():
                reason = f"it broke off {_MOST_ATTEMPTS} times; the log says why"
                nightly_runs.end(db, tell(), task, found.day, RunState.FAILED, reason)
            continue
        try:
            _DO[task](db, tell, policy, found)
        except Transient:
            with db.transaction():
                nightly_runs.pardon(db, task, found.day)
            raise
        done.append(found)
    return done


def due(db: Database, now: Instant, policy: Policy, task: NightlyTask) -> Due | None:
    """Say for which day a task is to be done now, if for any; days that were missed are noted as skipped.

    A node that has just been set up begins with the next night. Opens its own transactions, where anything is noted.
    """
    day, came = latest(now.wall, _at(policy, task), policy.settings.night.zone)
    last = nightly_runs.latest(db, task)
    if last is None:
        with db.transaction():
            reason = "the node was set up after it"
            nightly_runs.end(db, now, task, day, RunState.SKIPPED, reason, due_at=came.isoformat())
        return None
    if last.day > day or (last.day == day and last.state is not RunState.BEGUN):
        return None
    if last.day < day:
        _note_missed(db, now, task, last, day)
    return Due(task=task, day=day, due_at=came)


def _at(policy: Policy, task: NightlyTask) -> time:
    night = policy.settings.night
    if not task.is_of_the_evening:
        return night.morning_at
    return night.hours[0] if night.hours else MIDNIGHT


def _note_missed(db: Database, now: Instant, task: NightlyTask, last: nightly_runs.NightlyRun, day: date) -> None:
    missed = [last.day + timedelta(days=step) for step in range(1, (day - last.day).days)][-_MOST_MISSED:]
    if not missed and last.state is not RunState.BEGUN:
        return
    with db.transaction():
        if last.state is RunState.BEGUN:
            nightly_runs.end(db, now, task, last.day, RunState.FAILED, "it broke off, and its day is over")
        for each in missed:
            reason = f"the node did not run; {day.isoformat()} makes up for it"
            nightly_runs.end(db, now, task, each, RunState.SKIPPED, reason)


def _prefetch(db: Database, tell: Callable[[], Instant], policy: Policy, found: Due) -> None:
    """Have every modality worklist asked for the day in which the night ends."""
    night = policy.settings.night
    meant = night_of(found.day, night.hours, night.zone)
    peers = expecting.worklists(policy.settings)
    with db.transaction():
        now = tell()
        for peer in peers if meant is not None else ():
            subject = expecting.subject_of(peer.name, meant.last_day)  # type: ignore[union-attr]
            work_items.renew(db, now, WorkKind.WORKLIST, subject, "")
        names = ", ".join(peer.name for peer in peers)
        reason = f"{names} asked for {meant.last_day}" if peers and meant else "no peer is a modality_worklist"
        nightly_runs.end(db, now, found.task, found.day, RunState.DONE, reason)


def _rerun(db: Database, tell: Callable[[], Instant], policy: Policy, found: Due) -> None:
    """Give priors of unread studies to today's models, in the shadow and in this night."""
    limit, given = policy.settings.night.rerun_priors, 0
    wanted = comparing.priors_to_rerun(db, policy, reading_list.unread(db)) if limit else ()
    for uid, model in islice(wanted, limit):
        study = studies.study(db, uid)
        if study is not None:
            given += backfilling.read_in_shadow(db, tell(), policy, study, model, WorkHours.NIGHT)
    with db.transaction():
        reason = f"{given} prior(s) given to today's models"
        nightly_runs.end(db, tell(), found.task, found.day, RunState.DONE, reason)


def _rank(db: Database, tell: Callable[[], Instant], policy: Policy, found: Due) -> None:
    moved = rerank_all(db, tell(), policy)
    with db.transaction():
        nightly_runs.end(db, tell(), found.task, found.day, RunState.DONE, f"{moved} place(s) moved")


def _digest(db: Database, tell: Callable[[], Instant], policy: Policy, found: Due) -> None:
    """Write the digest, its letters, and that it is written, in one transaction; what is old is forgotten."""
    body = digest.gathered(db, tell(), policy, found.day)
    before = found.day - timedelta(days=policy.settings.night.keep_days)
    with db.transaction():
        now = tell()
        digest.keep(db, now, policy, found.day, body)
        digests.forget(db, before)
        nightly_runs.forget(db, before)
        expected_studies.forget(db, datetime(before.year, before.month, before.day, tzinfo=UTC))
        reason = f"{digest.urgent_count(body)} thing(s) to look at"
        nightly_runs.end(db, now, found.task, found.day, RunState.DONE, reason)


def _impact(db: Database, tell: Callable[[], Instant], policy: Policy, found: Due) -> None:
    weeks = impact.weekly(db, tell(), policy)
    with db.transaction():
        reason = f"kept the figures of {', '.join(weeks)}" if weeks else "no week was over"
        nightly_runs.end(db, tell(), found.task, found.day, RunState.DONE, reason)


_DO: dict[NightlyTask, Callable[[Database, Callable[[], Instant], Policy, Due], None]] = {
    NightlyTask.PREFETCH: _prefetch,
    NightlyTask.RERUN: _rerun,
    NightlyTask.RANKING: _rank,
    NightlyTask.DIGEST: _digest,
    NightlyTask.IMPACT: _impact,
}
