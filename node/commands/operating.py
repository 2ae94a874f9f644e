"""`import`, `retry`, `force`, `release`, `withdraw`: what a person sets off."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from node.commands.output import progress, say
from node.commands.site import opened
from node.config import Settings
from node.domain.time import SystemClock
from node.errors import Failed
from node.store import studies
from node.store.spool import Spool
from node.workflow import operations
from node.workflow.policy import load_policy
from node.workflow.story import find_study

#: Refused files that are named; the rest is counted.
_NAMED = 20


def import_files(settings: Settings, paths: Sequence[Path]) -> None:
    """Take in every file of `paths`, folders with all below them.

    Raises:
        Failed: nothing was taken in, or a file that was named itself is refused.
        Transient: the disk has no reserve left.
    """
    from node.receive.intakes.folder import import_paths

    with opened(settings) as db, progress("files") as advance:
        counts = import_paths(db, Spool(db.folder), settings, paths, lambda _file: advance())
    for each in counts.refused[:_NAMED]:
        say(f"refused {each.path}: {each.reason}")
    if len(counts.refused) > _NAMED:
        say(f"refused {len(counts.refused) - _NAMED} more")
    told = f"{counts.kept} kept, {counts.held} held already, {len(counts.refused)} refused"
    if {each.path for each in counts.refused} & set(paths) or (counts.refused and not counts.kept + counts.held):
        raise Failed(told)
    say(told)


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


def withdraw(settings: Settings, study: str, because: str) -> None:
    """Take back what models made of a study.

    Raises:
        Failed: there is no such study, or nothing to take back.
    """
    policy = load_policy(settings)
    with opened(settings) as db:
        uid = find_study(db, study)
        for line in operations.withdraw(db, SystemClock().now(), policy, uid, because):
            say(f"{uid}: {line}")
