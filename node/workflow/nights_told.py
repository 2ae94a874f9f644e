"""How the nights stand, as plain values: what comes next, what was done last, what was skipped and why. Read only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from node.config import Settings
from node.domain.night import NightlyTask, RunState
from node.domain.time import Instant
from node.store import backfills, digests, nightly_runs, work_hours
from node.store.database import Database
from node.triage.nights import MIDNIGHT, following
from node.workflow import night_hours

Story = dict[str, Any]

#: Runs that are looked back over.
_LOOK_BACK = 200


def nights_told(db: Database, now: Instant, settings: Settings) -> Story:
    """Whether it is night, each task with its next and its last time, what waits, and what was skipped."""
    hour = night_hours.hour(now, settings)
    runs = nightly_runs.newest(db, _LOOK_BACK)
    newest = digests.newest(db)
    return {
        "timezone": settings.night.timezone,
        "window": settings.night.window,
        "is_night": hour.inside,
        "until": _local(hour.boundary_at, settings),
        "tasks": [_task(task, runs, now, settings) for task in NightlyTask],
        "skipped": [_run(run) for run in runs if run.state in (RunState.SKIPPED, RunState.FAILED, RunState.UNTIMELY)][
            :20
        ],
        "deferred_studies": work_hours.deferrable(db) if settings.night.defer_routine else 0,
        "waiting": work_hours.waiting(db),
        "backfills": len(backfills.running(db)),
        "last_digest": newest.day.isoformat() if newest is not None else "",
    }


def line(story: Story) -> str:
    """The same in a line."""
    due = min((task["next"], task["task"]) for task in story["tasks"])
    hour = "it is night" if story["is_night"] else "it is day"
    last = f"; last digest {story['last_digest']}" if story["last_digest"] else ""
    return f"{hour} until {story['until'][:16]}; next: {due[1]} {due[0][:16]}{last}"


def _task(task: NightlyTask, runs: list[nightly_runs.NightlyRun], now: Instant, settings: Settings) -> Story:
    night = settings.night
    at = (night.hours[0] if night.hours else MIDNIGHT) if task.is_of_the_evening else night.morning_at
    last = next((run for run in runs if run.task is task and run.state is not RunState.SKIPPED), None)
    _, comes = following(now.wall, at, night.zone)
    return {"task": task.value, "next": _local(comes, settings), "last": _run(last) if last is not None else None}


def _run(run: nightly_runs.NightlyRun) -> Story:
    return {
        "task": run.task.value,
        "day": run.day.isoformat(),
        "state": run.state.value,
        "due_at": run.due_at,
        "began_at": run.began_at,
        "ended_at": run.ended_at,
        "reason": run.reason,
    }


def _local(moment: datetime, settings: Settings) -> str:
    return moment.astimezone(settings.night.zone).isoformat(timespec="minutes")
