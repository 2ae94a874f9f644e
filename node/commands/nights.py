"""`night`, `digest`: what comes next and was done last, and what a night brought."""

from __future__ import annotations

from datetime import date

from node.commands.output import print_json, say
from node.commands.site import opened
from node.config import Settings
from node.domain.time import SystemClock
from node.errors import Failed, Misconfigured
from node.store import digests
from node.workflow import digest_told
from node.workflow.nights_told import line, nights_told


def night(settings: Settings, *, as_json: bool) -> None:
    """Print how the nights stand."""
    with opened(settings) as db:
        told = nights_told(db, SystemClock().now(), settings)
    if as_json:
        print_json(told)
        return
    say(line(told))
    for each in told["tasks"]:
        last = each["last"]
        done = f"last {last['day']} {last['state']}: {last['reason']}" if last else "never done yet"
        say(f"{each['task']:9} next {each['next'][:16]}; {done}")
    for kind, counts in told["waiting"].items():
        say(f"waiting   {kind}: " + ", ".join(f"{number} for {hours}" for hours, number in counts.items()))
    if told["deferred_studies"]:
        say(f"waiting   {told['deferred_studies']} routine studies for the night")
    for each in told["skipped"]:
        say(f"{each['state']:9} {each['task']} of {each['day']}: {each['reason']}")


def digest(settings: Settings, day: str, *, as_json: bool) -> None:
    """Print one morning's digest.

    Raises:
        Misconfigured: the date is none.
        Failed: that morning has no digest.
    """
    try:
        wanted = date.fromisoformat(day) if day else None
    except ValueError:
        raise Misconfigured("matins digest", "--date", "no date", "Write it as 2026-01-31") from None
    with opened(settings) as db:
        found = digests.of_day(db, wanted) if wanted else digests.newest(db)
        if found is None:
            known = ", ".join(each.isoformat() for each in digests.days(db, 5)) or "there is none yet"
            raise Failed(f"no such digest is kept; the last ones: {known}")
        told = digest_told.told(db, found)
        lines = [] if as_json else list(digest_told.lines(db, told))
    if as_json:
        print_json(told)
    for each in lines:
        say(each)
