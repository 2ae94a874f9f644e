"""`status`, `worklist`, `show`, `instances`: what is where, for people or as JSON."""

from __future__ import annotations

from typing import Any

from node.commands import history_lines, prior_lines
from node.commands.output import person, print_json, say, table
from node.commands.site import opened
from node.config import Settings
from node.domain.time import SystemClock
from node.errors import Failed
from node.store import instances
from node.workflow import nights_told, retention
from node.workflow.standing import node_standing
from node.workflow.story import find_study, study_story, worklist_story

#: Moves of each instance's description that only the JSON tells.
_ORDINARY = frozenset({"ready", "claimed", "finished"})


def status(settings: Settings, *, as_json: bool) -> None:
    """Print how the node stands."""
    with opened(settings) as db:
        standing = node_standing(db, settings)
        standing["night"] = nights_told.nights_told(db, SystemClock().now(), settings)
    if as_json:
        print_json(standing)
        return
    serving = "is served" if standing["serving"] else "is not served by `matins serve` now"
    say(f"{standing['ae_title']} at {standing['address']}:{standing['port']} {serving}")
    space = standing["disk"]
    say(f"data   {standing['data_folder']}, {space['free_percent']} % free{'' if space['ok'] else ': TOO LITTLE'}")
    for room in standing["rooms"] if standing["serving"] else []:
        say(f"room   {room['room']}: {room['state']} since {_minute(room['since'])} {room['reason']}".rstrip())
    _counts("studies", standing["studies"])
    for what in ("work_items", "results"):
        for name, counts in standing[what].items():
            _counts(f"{what.replace('_', ' ')} · {name}", counts)
    if standing["rules"].get("broken"):
        say(f"rules  broken since {_minute(standing['rules']['since'])}: {standing['rules']['broken']}")
    _counts("wait too long", standing["waits_too_long"])
    if standing["freed"]["instances"]:
        freed = standing["freed"]
        say(f"freed  {freed['instances']} instances of {freed['studies']} studies, {freed['freed_bytes']} bytes")
    say(f"night  {nights_told.line(standing['night'])}")
    for each in standing["history_servers"]:
        say(f"fhir   {history_lines.asked_line(each)}")
    _counts("hl7 messages", standing["hl7_messages"])
    for each in standing["hl7_troubles"]:
        what = f"{each['number']} × {each['kind'] or 'a message'} of {each['sender']}"
        say(f"hl7    {what} {each['state']}: {each['reason']}")
    for each in standing["refusals"]:
        what = "ALERT  " if each["about"] == "security" else "refused"
        say(f"{what} {_minute(each['at'])} {each['who']}: {each['reason']}")


def worklist(settings: Settings, *, as_json: bool, every: bool = False) -> None:
    """Print the studies that nobody has reported, or all, the one to read first on top."""
    with opened(settings) as db:
        told = worklist_story(db, now=SystemClock().now(), every=every)
    if as_json:
        print_json(told)
        return
    if not told["studies"]:
        say("no studies")
        return
    table(
        ("", "lane", "score", "patient", "study", "arrived", "waits", "state", "report", "why"),
        [_line(study) for study in told["studies"]],
    )


def show(settings: Settings, study: str, *, as_json: bool) -> None:
    """Print the whole story of one study.

    Raises:
        Failed: there is no such study.
    """
    with opened(settings) as db:
        uid = find_study(db, study)
        told = study_story(db, uid)
        retention.look(db, SystemClock().now(), uid)
    if told is None:
        raise Failed(f"the study {study} has just gone")
    if as_json:
        print_json(told)
        return
    _show_head(told)
    _show_outcomes(told)
    for heading, line in (*history_lines.lines(told), *prior_lines.lines(told)):
        say(f"{heading:9} {line}")
    say("\nevents")
    for event in told["events"]:
        if event["subject"].startswith("describe:") and event["after"] in _ORDINARY:
            continue
        move = f"{event['before']} → {event['after']}" if event["before"] else event["after"]
        reason = f": {event['reason']}" if event["reason"] else ""
        say(f"  {event['at'][:19]}  {event['room']:8} {event['about']} {event['subject']}  {move}{reason}")


def held_instances(settings: Settings, *, uids: bool, as_json: bool) -> None:
    """Print what is held: a line an instance, or its SOP Instance UID alone."""
    with opened(settings) as db:
        held = instances.of_study(db)
        folder = db.folder
    if uids:
        if as_json:
            print_json([each.sop_instance_uid for each in held])
        else:
            say("\n".join(each.sop_instance_uid for each in held)) if held else None
        return
    rows = [
        {
            "study_instance_uid": each.study_instance_uid,
            "series_instance_uid": each.series_instance_uid,
            "sop_instance_uid": each.sop_instance_uid,
            "sop_class_uid": each.sop_class_uid,
            "transfer_syntax_uid": each.transfer_syntax_uid,
            "source": each.source,
            "state": each.state,
            "reason": each.reason,
            "size": each.size,
            "path": str(folder / each.path),
        }
        for each in held
    ]
    if as_json:
        print_json({"instances": rows})
    else:
        shown = ("sop_instance_uid", "series_instance_uid", "study_instance_uid", "source", "state", "size")
        table(shown, [[row[key] for key in shown] for row in rows])


def _line(study: dict[str, Any]) -> list[str]:
    why = "; ".join(f"{each['because']} ({each['points']:+g})" for each in study["reasons"])
    what = " ".join(part for part in (study["modality"], study["study_description"]) if part)
    return [
        str(study["place"]),
        study["lane"],
        f"{study['score']:g}",
        person(study),
        what or study["study_instance_uid"],
        _minute(study["received_at"]),
        _wait(study),
        study["state"],
        _report(study),
        why or study["reason"],
    ]


def _report(study: dict[str, Any]) -> str:
    """How far the report is, with a mark where a finding waits for somebody."""
    asked = study["acknowledgement"]
    if asked is None or asked["state"] not in {"due", "overdue"}:
        return str(study["report_state"])
    return f"{study['report_state']} NOT ACKNOWLEDGED{' IN TIME' if asked['state'] == 'overdue' else ''}"


def _wait(study: dict[str, Any]) -> str:
    """How long a study waits, with a mark where that is too long."""
    if study["wait_min"] is None:
        return ""
    hours, minutes = divmod(int(study["wait_min"]), 60)
    waits = f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
    return f"{waits} TOO LONG" if study["waits_too_long"] else waits


def _show_head(told: dict[str, Any]) -> None:
    say(f"{person(told)}   {told['patient_id']}   {told['modality']} {told['study_description']}".rstrip())
    say(f"study     {told['study_instance_uid']}, revision {told['revision']}, {told['instances']} instances")
    say(f"state     {told['state']}: {told['reason']}")
    say(f"rank      {told['lane']}, score {told['score']:g}")
    if told["waits_too_long"]:
        say(f"waits     TOO LONG: {told['waits_too_long']}")
    for each in (told["acknowledgement"] or {"findings": ()})["findings"]:
        until = f"by {each['by']} at {each['at'][:16]} UTC" if each["by"] else f"until {each['due_at'][:16] or 'ever'}"
        say(f"seen      {each['code_meaning']} [{each['model']}], {each['lane']}: {each['state']}, {until}")
    for reason in told["reasons"]:
        say(f"          {reason['points']:+g}  {reason['because']}  [{reason['rule']}]")
    for revision in told["revisions"]:
        say(f"revision  {revision['number']} {'closed' if revision['closed_at'] else 'open'}: {revision['reason']}")
    for step in told["procedure_steps"]:
        listed = f"{step['instances_here']} of {step['instances_listed']} listed instances are here"
        status = f"{step['performed_procedure_step_status']} {step['reason']}".rstrip()
        say(f"step      {status}, {listed}, told by {step['source']}")
    for series in told["series"]:
        say(
            f"series    {series['series_instance_uid']}  {series['modality']} {series['series_description']}"
            f" ({series['instances']} instances{_rejected(series)})"
        )
        for reason in series["undescribable"]:
            say(f"          undescribable: {reason}")


def _rejected(series: dict[str, Any]) -> str:
    told = f", {series['rejected']} rejected" if series["rejected"] else ""
    return told + (f", the files of {series['freed']} freed" if series["freed"] else "")


def _show_outcomes(told: dict[str, Any]) -> None:
    said: set[tuple[str, str]] = set()
    for outcome in told["outcomes"]:
        reason = f": {outcome['reason']}" if outcome["reason"] else ""
        say(f"model     {outcome['model']} ({outcome['mode']}): {outcome['state'].replace('_', ' ')}{reason}")
        for note in outcome["notes"]:
            say(f"          {note}")
        for explained in outcome["explanations"]:
            say(f"          explained by {explained['sentence']}")
        for series in outcome["series"]:
            verdict = "suits" if series["suits"] else f"does not suit: {series['reason']}"
            say(f"          {series['series_instance_uid'] or '(undescribed)'} {verdict}")
    for finding in told["findings"]:
        told_of = (finding["model"], finding["sentence"])
        if finding["sentence"] and told_of not in said:
            said.add(told_of)
            say(f"finding   {finding['sentence']}  [{finding['model']}]")
        if finding["sentence"]:
            continue
        measured = f" {finding['value']:.1f} {finding['unit']}" if finding["value"] is not None else ""
        sure = "".join(
            f", {name} {finding[name]:.2f}" for name in ("probability", "score") if finding[name] is not None
        )
        say(f"finding   {finding['code']['code_meaning']}{measured}{sure}  [{finding['model']}]")
    for change in told["changes"]:
        lesion = f" {change['lesion_number']}" if change["lesion_number"] else ""
        say(f"change    {change['code']['code_meaning']}{lesion} {change['sentence']}  [{change['model']}]")
        if change["verdict"] != "not comparable":
            say(f"          {change['reason']}")
    for result in told["results"]:
        reason = f": {result['reason']}" if result["reason"] else ""
        say(f"result    {result['kind']} → {result['destination']}: {result['state']}{reason}")
        say(f"          {result['path']}")
    for delivery in told["deliveries"]:
        reason = f": {delivery['reason']}" if delivery["reason"] else ""
        say(f"delivery  {delivery['destination']}: {delivery['state']}{reason}")
    for notice in told["notices"]:
        reason = f": {notice['reason']}" if notice["reason"] else ""
        say(f"notice    {notice['because']} → {notice['route']}: {notice['state']}{reason}")


def _counts(heading: str, counts: dict[str, int]) -> None:
    if counts:
        say(f"{heading}: " + ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in counts.items()))


def _minute(iso: str) -> str:
    return iso[:16].replace("T", " ") + " UTC"
