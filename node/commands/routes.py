"""`routes`: how those who are told of the reading list stand; a trial of one; and telling again. And their checks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from node.commands.check import Check, failed
from node.commands.output import print_json, say, table
from node.commands.site import opened
from node.config import Route, Settings
from node.deliver.carriage import Lost, Unreachable
from node.deliver.routes import Heard, Letter, kind_of
from node.domain.finding import Code
from node.domain.notice import Flag, FlaggedFinding, control_id, filler_number, said
from node.domain.patient import Patient
from node.domain.priority import Lane
from node.domain.time import SystemClock
from node.errors import Failed, Misconfigured
from node.workflow import listing
from node.workflow.policy import Policy
from node.workflow.routes_told import routes_told

#: Nobody has it: a trial names no patient, no order and no study.
_NOBODY = "MATINS-TRIAL"


def show(settings: Settings, *, as_json: bool) -> None:
    """Print each route: what waits, and how long telling takes."""
    with opened(settings) as db:
        told = routes_told(db, settings)
    if as_json:
        print_json({"routes": told})
        return
    if not told:
        say("no routes: nobody is told where studies stand; node/ROUTES.md says how")
        return
    counted = ("waits", "held", "dead")
    headings = ("route", "kind", "to", "state", *counted, "last acknowledged", "lag p50", "lag p95", "reason")
    table(
        headings,
        [
            [
                *(each["name"], each["kind"], each["to"], each["state"], each["waiting"]),
                *(each["notices"].get("held", 0), each["notices"].get("dead", 0)),
                each["last_acknowledged_at"][:19],
                *(_seconds(each["lag_p50_s"]), _seconds(each["lag_p95_s"]), each["reason"]),
            ]
            for each in told
        ],
    )


def try_out(settings: Settings, name: str, *, dry_run: bool) -> None:
    """Print the message of a made-up study, or send it and print what the receiver says.

    Raises:
        Failed: there is no such route, or the receiver does not take the message.
        Misconfigured: a file of the route is not as it has to be.
    """
    route = _named(settings, name)
    kind = kind_of(route)
    if kind is None:
        raise Failed(f"this version has no routes of the kind {route.kind}")
    now = SystemClock().now()
    letter = trial_letter(route, now.wall)
    message = kind.message(route, letter)
    if dry_run:
        say(message.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").rstrip("\n"))
        return
    try:
        with kind.opened(route, settings.deliver) as receiver:
            reply = receiver.send(message, letter.control_id, now.wall)
    except (Unreachable, Lost) as error:
        raise Failed(str(error)) from error
    if reply.heard is not Heard.ACKNOWLEDGED:
        raise Failed(reply.reason)
    say(f"{name} has acknowledged the trial {letter.control_id}{f': {reply.reason}' if reply.reason else ''}")


def replay(settings: Settings, name: str, since: str) -> None:
    """Have a route told again what stands of every study that it was told of since a day.

    Raises:
        Failed: there is no such route, or `since` is no date.
    """
    route = _named(settings, name)
    try:
        day = datetime.strptime(since, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise Failed(f"{since!r} is no date as 2026-01-31") from None
    with opened(settings) as db:
        policy = Policy(settings, (), ())
        told = listing.tell_again(db, SystemClock().now(), policy, route.name, since=day.isoformat())
    for uid in told:
        say(f"{uid}: is told again to {name}")
    say(f"{len(told)} notice(s) queued")


def checks(settings: Settings, file: Path) -> Iterator[Check]:
    """Yield what was found, a route at a time: its files, its template, and whether somebody answers."""
    for index, route in enumerate(settings.routes):
        yield _check(settings, route, file, f"routes[{index}]")


def trial_letter(route: Route, at: datetime) -> Letter:
    """A made-up study, as this route would say it."""
    flag = Flag(
        study_instance_uid="2.25.0",
        patient=Patient(patient_id=_NOBODY, issuer=_NOBODY, name=f"{_NOBODY}^NOBODY"),
        accession_number=_NOBODY,
        lane=Lane.URGENT,
        score=42.0,
        reasons=("This is a trial of the route; there is no such study",),
        findings=(
            FlaggedFinding(
                model="trial",
                code=Code("TRIAL", "99MATINS", "Nothing: this is a trial"),
                probability=0.5,
                present=True,
            ),
        ),
    )
    return Letter(
        flag=said(flag, route.says),
        control_id=control_id(_NOBODY, route.name, 0, at.isoformat()),
        filler_number=filler_number(_NOBODY, route.name),
        version=1,
        at=at,
        because="a person tries the route",
        trial=True,
    )


def _check(settings: Settings, route: Route, file: Path, key: str) -> Check:
    subject = f"{route.name} ({route.kind} to {route.url or f'{route.host}:{route.port}'})"
    kind = kind_of(route)
    try:
        if kind is None:
            problem = f"this version has no routes of the kind {route.kind}"
            raise Misconfigured(file, f"{key}.kind", problem, "Give another kind")
        kind.check(route)
        with kind.opened(route, settings.deliver):
            pass
    except Misconfigured as error:
        return failed("route", subject, error)
    except Unreachable as error:
        remedy = "Start it, or correct the route; what it is to be told waits meanwhile"
        return Check(
            about="route", subject=subject, ok=False, file=str(file), key=key, problem=str(error), remedy=remedy
        )
    if not any(route.name in peer.flags_to for peer in settings.peers):
        remedy = f'Give the sources that it is to hear of flags_to = ["{route.name}"]'
        problem = "no source lists it, so it is told nothing"
        return Check(
            about="route", subject=subject, ok=True, found="answers", file=str(file), key=key, problem=problem,
            remedy=remedy,
        )  # fmt: skip
    phi = ", ".join(sorted(route.says)) or "nothing of the patient"
    return Check(about="route", subject=subject, ok=True, found=f"as it has to be; says {phi}")


def _named(settings: Settings, name: str) -> Route:
    route = settings.route_named(name)
    if route is None:
        known = ", ".join(each.name for each in settings.routes) or "none"
        raise Failed(f"there is no route {name!r} in config.toml; there are: {known}")
    return route


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"
