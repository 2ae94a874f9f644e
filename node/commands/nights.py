"""`night`, `digest`: what comes next and was done last, and what a night brought."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from node.commands.output import print_json, say
from node.commands.site import opened
from node.config import Settings
from node.domain.time import SystemClock
from node.errors import Failed, Misconfigured
from node.store import digests, expected_studies, studies
from node.store.database import Database
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
        told = {**found.body, "made_at": found.made_at, "letters": _letters(db, found.day)}
        lines = [] if as_json else list(_lines(db, told))
    if as_json:
        print_json(told)
    for each in lines:
        say(each)


def _letters(db: Database, day: date) -> list[dict[str, str]]:
    return [
        {"route": each.route, "state": each.state.value, "reason": each.reason, "acknowledged_at": each.acknowledged_at}
        for each in digests.letters(db, day)
    ]


def _lines(db: Database, told: Mapping[str, Any]) -> Iterator[str]:
    unread = ", ".join(f"{number} {lane}" for lane, number in told["unread"].items()) or "nothing"
    yield f"night to {told['day']}: {told['arrived']} studies came; unread: {unread}"
    for each in told["unacknowledged"]:
        late = ", overdue" if each["overdue"] else ""
        yield f"NOT SEEN  {each['lane']} {each['finding']} [{each['model']}]{late}: {_study(db, each)}"
    if told["discrepancies"]:
        yield f"NOT SEEN  {told['discrepancies']} finding(s) after a report: `matins discrepancies`"
    expected = told["expected"]
    if expected["expected"]:
        yield f"expected  {expected['expected']}, came {expected['came']}, cancelled {expected['cancelled']}"
    for each in told["never_arrived"]:
        yield f"MISSING   {each['scheduled_at'][:16]} {'/'.join(each['modalities'])}: {_expected(db, each)}"
    for what, rows in told["failed"].items():
        for each in rows:
            who = next((str(each[key]) for key in ("model", "destination", "peer", "kind") if key in each), "")
            yield f"FAILED    {what}: {each['number']} × {who}: {each['reason']}"
    for each in told["pending"]:
        yield f"pending   {each['model']} has not read {each['number']} studies, since {each['oldest_at'][:16]}"
    for each in told["unreachable"]:
        yield f"AWAY      {each['what']}: {each['reason']}"
    for each in told["longest_waits"]:
        mark = f" ({each['too_long']})" if each["too_long"] else ""
        yield f"waits     {each['waits_min']} min, {each['lane']}: {_study(db, each)}{mark}"
    for each in told["moved"]:
        yield f"moved     {each['before']} → {each['after']}: {_study(db, each)}: {each['why']}"
    for each in told["night"]:
        yield f"night     {each['task']} of {each['day']} {each['state']}: {each['reason']}"
    for each in told["letters"]:
        yield f"told      {each['route']}: {each['state']} {each['reason']}".rstrip()


def _study(db: Database, each: Mapping[str, Any]) -> str:
    """How people know a study: by its accession number, where it is here and has one."""
    found = studies.study(db, each["study_instance_uid"])
    return (found.order.accession_number if found is not None else "") or each["study_instance_uid"]


def _expected(db: Database, each: Mapping[str, Any]) -> str:
    found = expected_studies.of_study(db, each["study_instance_uid"])
    return (found.accession_number if found is not None else "") or each["study_instance_uid"]
