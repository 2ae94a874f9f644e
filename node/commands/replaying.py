"""`replay`: what other rules would have moved, and one study ranked anew."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

from node.catalogue import finding_codes, load_rules
from node.commands.output import print_json, say, table
from node.commands.site import opened
from node.config import Settings
from node.domain.time import SystemClock
from node.errors import Failed, Misconfigured
from node.triage.rules import CompiledRule, compile_rules
from node.workflow import ranking
from node.workflow.policy import Policy, load_policy
from node.workflow.replaying import replay_night, replay_study
from node.workflow.story import find_study

#: A night goes from the evening before to the morning of its date, by the site's clock on the wall.
EVENING, MORNING = time(18), time(6)


def replay(settings: Settings, study: str, night: str, rules: Path | None, *, dry_run: bool, as_json: bool) -> None:
    """Rank one study anew, or say what other rules would have moved.

    Raises:
        Misconfigured: neither or both of study and night, no date, rules that are wrong, or rules to be kept by this.
        Failed: no such study, or it has been reported.
    """
    if bool(study) == bool(night):
        raise Misconfigured("replay", "", "replays one study or one night", "Give STUDY, or --night DATE")
    if study and rules is not None and not dry_run:
        remedy = "Add --dry-run; to keep the rules, put them into the rules folder"
        raise Misconfigured("--rules", "", "would rank by rules that are not in force", remedy)
    policy = load_policy(settings)
    others = None if rules is None else _rules(rules, policy)
    told = _night(settings, policy, night, others) if night else _study(settings, policy, study, others, dry_run)
    if as_json:
        print_json(told)
    elif night:
        _show_night(told)
    else:
        _show_study(told)


def _rules(folder: Path, policy: Policy) -> tuple[CompiledRule, ...]:
    if not folder.is_dir():
        raise Misconfigured("--rules", "", f"no such folder: {folder}", "Name a folder with rules as files")
    return compile_rules(load_rules(folder, finding_codes(policy.models)))


def _study(
    settings: Settings, policy: Policy, study: str, others: tuple[CompiledRule, ...] | None, dry_run: bool
) -> dict[str, Any]:
    clock = SystemClock()
    with opened(settings) as db:
        uid = find_study(db, study)
        told = replay_study(db, clock.now(), policy, uid, others)
        if told is None:
            raise Failed(f"{uid} is not in the list: it has been reported, or not been closed yet")
        if not dry_run:
            with db.transaction():
                ranking.rerank(db, clock.now(), policy, uid)
    return {**told, "kept": not dry_run}


def _night(settings: Settings, policy: Policy, night: str, others: tuple[CompiledRule, ...] | None) -> dict[str, Any]:
    try:
        day = date.fromisoformat(night)
    except ValueError:
        raise Misconfigured("--night", "", f"{night!r} is no date", "Write it as 2026-11-21, the morning's") from None
    since = datetime.combine(day - timedelta(days=1), EVENING).astimezone()
    until = datetime.combine(day, MORNING).astimezone()
    before, after = ((), policy.rules) if others is None else (policy.rules, others)
    with opened(settings) as db:
        told = replay_night(db, policy, since, until, before=before, after=after)
    return {"rules": {"from": "none" if others is None else "today's", "to": "today's" if others is None else "others"},
            **told}  # fmt: skip


def _show_study(told: dict[str, Any]) -> None:
    for word in ("from", "to"):
        stand = told[word]
        say(f"{word:5} {stand['lane']} {stand['score']:g}, place {stand['place']} of {told['studies']}")
        for reason in stand["reasons"]:
            say(f"      {reason['points']:+g}  {reason['because']}  [{reason['rule']}]")
    say("kept" if told["kept"] else "nothing was written")


def _show_night(told: dict[str, Any]) -> None:
    count = f"{len(told['studies'])} studies, {told['readings']} read, {told['moved']} moved"
    say(f"{told['since']} to {told['until']}: {count}")
    waits = told["mean_wait_min"]
    say(f"rules: {told['rules']['from']} → {told['rules']['to']}; mean wait {waits['from']:g} → {waits['to']:g} min")
    rows = [
        (
            row["accession_number"] or row["study_instance_uid"],
            f"{row['modality']} {row['study_description']}".strip(),
            _fate(row["from"]),
            _fate(row["to"]),
            f"{row['wait_change_min']:+g} min",
            "; ".join(f"{each['because']} ({each['points']:+g})" for each in row["reasons"]),
        )
        for row in told["studies"]
        if row["from"] != row["to"]
    ]
    if rows:
        table(("study", "what", "from", "to", "wait", "why"), rows)


def _fate(fate: dict[str, Any]) -> str:
    if fate["read_at"]:
        return f"read at {datetime.fromisoformat(fate['read_at']).astimezone():%H:%M}"
    return f"place {fate['place']}"
