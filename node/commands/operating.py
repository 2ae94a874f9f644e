"""`retry`, `force`, `release`: what a person sets off."""

from __future__ import annotations

from node.commands.output import say
from node.commands.site import opened
from node.config import Settings
from node.domain.time import SystemClock
from node.errors import Failed
from node.store import studies
from node.workflow import operations
from node.workflow.policy import load_policy
from node.workflow.story import find_study


def retry(settings: Settings, study: str | None) -> None:
    """Try again what failed in one study, or in all.

    Raises:
        Failed: there is no such study.
    """
    clock, policy = SystemClock(), load_policy(settings)
    with opened(settings) as db:
        meant = [find_study(db, study)] if study else [row.study_instance_uid for row in studies.worklist(db)]
        done = [(uid, line) for uid in meant for line in operations.retry(db, clock.now(), policy, uid)]
    for uid, line in done:
        say(f"{uid}: {line}")
    if not done:
        say("nothing has failed that could be tried again")


def force(settings: Settings, study: str) -> None:
    """Close a study that waits for instances, else run its models once more.

    Raises:
        Failed: there is no such study, it is held, or no model has read it.
    """
    policy = load_policy(settings)
    with opened(settings) as db:
        uid = find_study(db, study)
        done = operations.force(db, SystemClock().now(), policy, uid)
    if not done:
        raise Failed(f"no model has read {uid}, so there is nothing to run again; `matins show {uid}` says why")
    for line in done:
        say(f"{uid}: {line}")


def release(settings: Settings, study: str) -> None:
    """Let a held study go on.

    Raises:
        Failed: there is no such study, or it is not held.
    """
    with opened(settings) as db:
        uid = find_study(db, study)
        for line in operations.release(db, SystemClock().now(), uid):
            say(f"{uid}: {line}")
