"""A digest as people are told it: a line a matter, with the accession number where a study has one. Read only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from node.store import digests, expected_studies, studies
from node.store.database import Database
from node.store.digests import Digest


def told(db: Database, found: Digest) -> dict[str, Any]:
    """A digest with what became of its letters."""
    return {**found.body, "made_at": found.made_at, "letters": _letters(db, found.day)}


def _letters(db: Database, day: date) -> list[dict[str, str]]:
    return [
        {"route": each.route, "state": each.state.value, "reason": each.reason, "acknowledged_at": each.acknowledged_at}
        for each in digests.letters(db, day)
    ]


def lines(db: Database, told: Mapping[str, Any]) -> Iterator[str]:
    """What a person reads of it, the most pressing first."""
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
