"""`acknowledge`, `read`, `discrepancies`: what a reader says of a study by name."""

from __future__ import annotations

from node.commands.output import print_json, say, table
from node.commands.pinning import login
from node.commands.site import opened
from node.config import Settings
from node.domain.report_state import ReportState
from node.domain.time import SystemClock
from node.errors import Failed
from node.workflow import accounts, acknowledging, reported
from node.workflow import discrepancies as workflow
from node.workflow.policy import load_policy
from node.workflow.story import find_study

_AS = "--as"


def acknowledge(settings: Settings, study: str, *, finding: str, by: str) -> None:
    """Say that somebody has seen the findings of a study, or those of one code.

    Raises:
        Failed: no such study, nothing waits, somebody was first, or nobody of that name reads here.
    """
    with opened(settings) as db:
        who = accounts.named(db, by, given=_AS)
        uid = find_study(db, study)
        taken = acknowledging.acknowledge(db, SystemClock().now(), uid, by=who, code=finding)
    for each in taken:
        say(f"{uid}: {each.code.meaning} [{each.key.model}] acknowledged by {who}")


def read(settings: Settings, study: str, *, preliminary: bool, by: str) -> None:
    """Say how far the report of a study is.

    Raises:
        Failed: no such study, it is reported already, or nobody of that name reads here.
    """
    policy, state = load_policy(settings), ReportState.PRELIMINARY if preliminary else ReportState.FINAL
    with opened(settings) as db:
        who = accounts.named(db, by or login(), given=_AS)
        uid = find_study(db, study)
        with db.transaction():
            is_new = reported.record(db, SystemClock().now(), policy, uid, state, told_by=who)
    if not is_new:
        raise Failed(f"{uid} is {'reported' if not preliminary else 'as far, or further,'} already")
    say(f"{uid}: {state.value}, told by {who}")


def not_read(settings: Settings, study: str, *, by: str) -> None:
    """Say that a study is not read though somebody has said so.

    Raises:
        Failed: no such study, nobody has said so, or nobody of that name reads here.
    """
    policy = load_policy(settings)
    with opened(settings) as db:
        who = accounts.named(db, by or login(), given=_AS)
        uid = find_study(db, study)
        with db.transaction():
            was_told = reported.take_back(db, SystemClock().now(), policy, uid, told_by=who)
    if not was_told:
        raise Failed(f"nobody has said that {uid} is read")
    say(f"{uid}: {ReportState.UNREAD.value}, told by {who}")


def show_discrepancies(settings: Settings, *, every: bool, as_json: bool) -> None:
    """Print urgent findings that came after the report."""
    with opened(settings) as db:
        told = workflow.discrepancies_told(db, every=every)
    if as_json:
        print_json({"discrepancies": told})
    elif not told:
        say("no discrepancies")
    else:
        table(
            ("number", "state", "owner", "found", "finding", "study", "reported by", "settled"),
            [
                (
                    *(each["discrepancy"], each["state"], each["owner"] or "nobody", each["found_at"][:16]),
                    f"{each['code_meaning']} [{each['model']}]",
                    *(each["study_instance_uid"], each["report_told_by"], each["closed_because"]),
                )
                for each in told
            ],
        )


def close_discrepancy(settings: Settings, number: int, *, by: str, because: str) -> None:
    """Settle one.

    Raises:
        Failed: there is none, it is closed, nothing says how, or nobody of that name reads here.
    """
    with opened(settings) as db:
        who = accounts.named(db, by or login(), given=_AS)
        row = workflow.close(db, SystemClock().now(), number, by=who, because=because)
    say(f"{row.study_instance_uid}: {row.code.meaning} closed by {who}")
