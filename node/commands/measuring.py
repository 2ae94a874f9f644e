"""`simulate --measured`: what triage did to waiting times here, week by week."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from node.commands.output import print_json, say, table
from node.commands.simulating import Source
from node.commands.site import opened, settings_from
from node.domain.time import SystemClock
from node.errors import Misconfigured
from node.triage.simulate.hindsight import FEWEST
from node.workflow.impact import measured
from node.workflow.policy import load_policy

_SHOWN = ("mean", "median", "p95")


def show(config: Path | None, data: Path | None, source: Source, weeks: int, *, as_json: bool) -> None:
    """Print the minutes from the worklist to the report, and what first come, first read would have made of them.

    Raises:
        Misconfigured: a scenario is named as well.
    """
    if source.named:
        raise Misconfigured("--measured", "", f"stands beside {source.named[0]}", "Either simulate, or measure")
    settings = settings_from(config, data)
    with opened(settings) as db:
        told = measured(db, SystemClock().now(), load_policy(settings), weeks)
    if as_json:
        print_json({"fewest": FEWEST, "weeks": told})
        return
    rows = [_row(week, group) for week in told for group in week["groups"]]
    if not rows:
        say("no study whose report is final was told in these weeks, so nothing can be measured")
        return
    say("minutes from the worklist to the final report, against first come, first read in the lane ordered;")
    say(f"in brackets intervals of 95 %; nothing is told of fewer than {FEWEST} studies, of a tail not of 100")
    say()
    headings = [f"{figure}{what}" for figure in _SHOWN for what in ("", ", first come", ", difference")]
    table(("week", "patients", "studies", *headings), rows)


def _row(week: Mapping[str, Any], group: Mapping[str, Any]) -> list[str]:
    name = week["week"] if week["over"] else f"{week['week']} so far"
    cells = [
        _figure(group[which].get(figure))
        for figure in _SHOWN
        for which in ("waited_min", "first_come_min", "difference_min")
    ]
    return [name, group["group"], str(group["studies"]), *cells]


def _figure(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "too few"
    interval = "" if figure["low"] is None else f" [{figure['low']:.1f}, {figure['high']:.1f}]"
    return f"{figure['value']:.1f}{interval}"
