"""`retention`: which files may go, which stay and why; what the clock room does each minute, done now."""

from __future__ import annotations

from node.clock.freeing import Freeing
from node.commands.output import print_json, say, table
from node.commands.site import opened
from node.config import Settings
from node.domain.time import SystemClock
from node.workflow.retention import judged

_MIB = 1 << 20


def retention(settings: Settings, *, dry_run: bool, as_json: bool) -> None:
    """Judge every study older than `keep_days`, and free those that may go unless it is a `dry_run`.

    Archives are asked by the retrieve room: a study that nobody was asked about goes at a later time.
    """
    clock = SystemClock()
    with opened(settings) as db:
        found = list(judged(db, clock.now(), settings))
        going = [stay for stay in found if not stay.reason]
        freed = 0
        if not dry_run:
            worker = Freeing(db, clock, settings)
            while count := worker.step():
                freed += count
    if as_json:
        studies = [
            {
                "study_instance_uid": stay.study_instance_uid,
                "may_go": not stay.reason,
                "reason": stay.reason,
                "files": len(stay.files),
                "size": stay.size,
            }
            for stay in found
        ]
        keep_days = settings.data.keep_days
        print_json({"keep_days": keep_days, "dry_run": dry_run, "freed_studies": freed, "studies": studies})
        return
    if not settings.data.keep_days:
        say("nothing is ever freed: [data] keep_days is 0")
        return
    rows = [[stay.study_instance_uid, len(stay.files), stay.size // _MIB, stay.reason or "may go"] for stay in found]
    table(("study_instance_uid", "files", "MiB", "why it stays"), rows)
    size = sum(stay.size for stay in going) // _MIB
    say(
        f"{len(going)} of {len(found)} studies may go, {size} MiB; "
        + ("nothing has been done" if dry_run else f"{freed} were freed now")
    )
