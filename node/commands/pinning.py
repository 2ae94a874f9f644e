"""`pin` and `unpin`: a person's word on the place of a study."""

from __future__ import annotations

import os
import pwd

from node.commands.output import say
from node.commands.site import opened
from node.config import Settings
from node.domain.priority import Lane
from node.domain.time import SystemClock
from node.errors import Misconfigured
from node.workflow import pinning
from node.workflow.policy import load_policy
from node.workflow.story import find_study


def pin(settings: Settings, study: str, *, first: bool, lane: Lane | None, by: str, why: str) -> None:
    """Put a study above all others, or into a lane.

    Raises:
        Misconfigured: both were asked for.
        Failed: no such study, it has been reported, or nothing says why.
    """
    if first and lane is not None:
        raise Misconfigured("--first", "", "stands above every lane, so --lane says something else", "Give one of them")
    policy, who = load_policy(settings), by or login()
    with opened(settings) as db:
        uid = find_study(db, study)
        pinning.pin(db, SystemClock().now(), policy, uid, lane=lane, by=who, why=why)
    say(f"{uid}: pinned {'first' if lane is None else f'to {lane}'} by {who}; `matins unpin {uid}` takes it back")


def unpin(settings: Settings, study: str, *, by: str) -> None:
    """Take a pin back.

    Raises:
        Failed: no such study, or it is not pinned.
    """
    policy = load_policy(settings)
    with opened(settings) as db:
        uid = find_study(db, study)
        pinning.unpin(db, SystemClock().now(), policy, uid, by=by or login())
    say(f"{uid}: no longer pinned")


def login() -> str:
    """The login of whoever runs this process; its number where it has none."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
