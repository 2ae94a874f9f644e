"""The commands around the night: `fetch`, `night`, `digest`; their options and their help."""

from __future__ import annotations

from typing import Annotated

import typer

from node.commands.options import Config, Data, Json, family

nights = family("The night.")


@nights.command()
def fetch(
    accession: Annotated[str, typer.Option("--accession", metavar="NUMBER", help="Accession number, whole")] = "",
    study: Annotated[str, typer.Option("--study", metavar="UID", help="Study Instance UID, whole")] = "",
    since: Annotated[str, typer.Option("--since", metavar="DATE", help="Studies of this day and later")] = "",
    until: Annotated[str, typer.Option("--until", metavar="DATE", help="With --since: not after this day")] = "",
    modality: Annotated[str, typer.Option("--modality", metavar="MR", help="Only studies with this modality")] = "",
    from_peer: Annotated[str, typer.Option("--from", metavar="PEER", help="Ask this archive; default: all")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only list what matches")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until it is here; exit code 1 if not all of it came")] = False,
    shadow: Annotated[bool, typer.Option("--shadow", help="With --since: by night, for models in the shadow")] = False,
    now: Annotated[bool, typer.Option("--now", help="With --shadow: by day as well, when nothing else waits")] = False,
    status: Annotated[bool, typer.Option("--status", help="How far --shadow has come")] = False,
    stop: Annotated[int, typer.Option("--stop", metavar="NUMBER", help="Let one of --status rest")] = 0,
    resume: Annotated[int, typer.Option("--resume", metavar="NUMBER", help="... and go on")] = 0,
    config: Config = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Have studies fetched from the archives; their results are sent like those of any study.

    With --shadow studies of old come a few an hour, are read in the shadow, and are ranked and sent nowhere.
    """
    from node.commands import backfilling, fetching

    keys = {"accession_number": accession, "study_instance_uid": study, "modality": modality}
    wanted = fetching.Wanted(**keys, since=since, until=until, archive=from_peer)
    if shadow:
        backfilling.begin(config, data, wanted, at_once=now, as_json=as_json)
    elif status or stop or resume:
        backfilling.tell(config, data, stop=stop, resume=resume, as_json=as_json)
    else:
        raise typer.Exit(fetching.fetch(config, data, wanted, dry_run=dry_run, wait=wait, as_json=as_json))


@nights.command()
def night(config: Config = None, data: Data = None, as_json: Json = False) -> None:
    """What the night and the morning bring next, what was done last, and what was skipped and why."""
    from node.commands import nights as commands
    from node.commands import site

    commands.night(site.settings_from(config, data), as_json=as_json)


@nights.command()
def digest(
    date: Annotated[str, typer.Option("--date", metavar="DATE", help="Of this morning; default: the last one")] = "",
    config: Config = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """What a night brought: what moved and why, what failed, what never came, who waits longest."""
    from node.commands import nights as commands
    from node.commands import site

    commands.digest(site.settings_from(config, data), date, as_json=as_json)
