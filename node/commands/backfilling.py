"""`fetch --shadow`, `--status`, `--stop`, `--resume`: studies of old, fetched in spare time."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from node.commands.fetching import Wanted, archives_meant
from node.commands.output import print_json, say
from node.commands.site import config_file, opened, settings_from
from node.config import Settings
from node.domain.night import BackfillState
from node.domain.time import SystemClock
from node.errors import Failed, Misconfigured
from node.store import backfills
from node.store.backfills import Backfill
from node.store.database import Database

_REASONS = 5


def begin(config: Path | None, data: Path | None, wanted: Wanted, *, at_once: bool, as_json: bool) -> None:
    """Have studies of old fetched, one backfill an archive.

    Raises:
        Misconfigured: an option is wrong, or no archive is configured.
    """
    keys = wanted.keys()
    if not keys.since:
        remedy = "Give --since DATE, and --until DATE where it is not to end today"
        raise Misconfigured("matins fetch", "--shadow", "studies of old are asked for by their days", remedy)
    settings = settings_from(config, data)
    archives = archives_meant(settings, config_file(config), wanted.archive)
    now = SystemClock().now()
    today = now.wall.astimezone(settings.night.zone).strftime("%Y%m%d")
    given = {"since": keys.since, "until": keys.until or today, "modality": keys.modality, "at_once": at_once}
    with opened(settings) as db:
        with db.transaction():
            made = [backfills.add(db, now, peer=peer.name, **given) for peer in archives]  # type: ignore[arg-type]
        _show(db, settings, made, as_json=as_json)


def tell(config: Path | None, data: Path | None, *, stop: int, resume: int, as_json: bool) -> None:
    """Say how far each backfill is, after stopping or resuming one.

    Raises:
        Failed: there is none of that number, or it is done.
    """
    settings = settings_from(config, data)
    with opened(settings) as db:
        for number, after, why in (
            (stop, BackfillState.STOPPED, "stopped by a person"),
            (resume, BackfillState.RUNNING, ""),
        ):
            if number:
                _move(db, number, after, why)
        _show(db, settings, backfills.every(db), as_json=as_json)


def _move(db: Database, number: int, after: BackfillState, why: str) -> None:
    found = backfills.one(db, number)
    if found is None or found.state is BackfillState.DONE:
        raise Failed(
            f"there is no backfill {number} that could be stopped or go on; `matins fetch --status` lists them"
        )
    with db.transaction():
        backfills.move(db, SystemClock().now(), found, after, why)


def _show(db: Database, settings: Settings, found: list[Backfill], *, as_json: bool) -> None:
    told = [_told(db, each) for each in found]
    if as_json:
        print_json({"backfills": told, "per_hour": settings.night.backfill_per_hour})
        return
    if not told:
        say("no studies of old were asked for: `matins fetch --since DATE --shadow`")
    for each in told:
        counted = ", ".join(f"{number} {state}" for state, number in each["studies"].items()) or "no study yet"
        when = "at any hour" if each["at_once"] else "by night"
        days = f"{each['days_listed']} of {each['days']} days listed"
        which = f"{each['id']}  {each['archive']} {each['since']}-{each['until']}"
        say(f"{which} {when}: {each['state']}; {days}, {counted}")
        if each["reason"]:
            say(f"    {each['reason']}")
        for reason, number in each["left_out"].items():
            say(f"    {number} left out: {reason}")


def _told(db: Database, each: Backfill) -> dict[str, Any]:
    return {
        "id": each.id,
        "archive": each.peer,
        "since": each.since,
        "until": each.until,
        "modality": each.modality,
        "at_once": each.at_once,
        "state": each.state.value,
        "reason": each.reason,
        "days": _days(each.since, each.until),
        "days_listed": _days(each.listed_from, each.until) if each.listed_from else 0,
        "studies": backfills.counts(db, each.id),
        "left_out": backfills.reasons(db, each.id, _REASONS),
    }


def _days(since: str, until: str) -> int:
    first, last = (datetime.strptime(day, "%Y%m%d") for day in (since, until))  # noqa: DTZ007  days, of no zone
    return (last - first).days + 1
