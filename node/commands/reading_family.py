"""The commands around the reading list: who stands where, what a reader says of it; their options and their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.commands.options import Config, Data, DryRun, Json, Study, family
from node.domain.priority import Lane

reading = family("The reading list.")

By = Annotated[str, typer.Option("--by", metavar="LOGIN", help="Who says so; default: the login of this session")]

As = Annotated[str, typer.Option("--as", metavar="LOGIN", help="Who says so: a reader of `matins accounts`")]
PerhapsAs = Annotated[
    str, typer.Option("--as", metavar="LOGIN", help="Who says so; default: the login of this session")
]


@reading.command()
def worklist(
    every: Annotated[bool, typer.Option("--all", help="Also what has been read and reported")] = False,
    config: Config = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """The studies to read, the first on top, with lane, score, wait and reasons."""
    from node.commands import showing, site

    showing.worklist(site.settings_from(config, data), as_json=as_json, every=every)


@reading.command()
def pin(
    study: Study,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Shown beside the study, with who and when")],
    first: Annotated[bool, typer.Option("--first", help="Above all others, STAT too; this is the default")] = False,
    lane: Annotated[Lane | None, typer.Option("--lane", help="Into this lane, whatever orders and rules say")] = None,
    by: By = "",
    config: Config = None,
    data: Data = None,
) -> None:
    """Put a study where a person wants it; rules and models change nothing of that."""
    from node.commands import pinning, site

    pinning.pin(site.settings_from(config, data), study, first=first, lane=lane, by=by, why=why)


@reading.command()
def unpin(study: Study, by: By = "", config: Config = None, data: Data = None) -> None:
    """Let a study stand where its order, history and findings put it."""
    from node.commands import pinning, site

    pinning.unpin(site.settings_from(config, data), study, by=by)


@reading.command()
def acknowledge(
    study: Study,
    by: As,
    finding: Annotated[str, typer.Option("--finding", metavar="CODE", help="Only this one, as SCT:50960005")] = "",
    config: Config = None,
    data: Data = None,
) -> None:
    """Say that a reader has seen what was found: it is told no further. For the reading list, not for who ordered."""
    from node.commands import attending, site

    attending.acknowledge(site.settings_from(config, data), study, finding=finding, by=by)


@reading.command()
def read(
    study: Study,
    by: PerhapsAs = "",
    preliminary: Annotated[bool, typer.Option("--preliminary", help="Not signed: it stays in the list")] = False,
    undone: Annotated[bool, typer.Option("--not", help="It is not, whoever said so: it waits again")] = False,
    config: Config = None,
    data: Data = None,
) -> None:
    """Say that a study is read and reported: it leaves the list, and is neither ranked nor told of any more."""
    from node.commands import attending, site

    if undone:
        attending.not_read(site.settings_from(config, data), study, by=by)
        return
    attending.read(site.settings_from(config, data), study, preliminary=preliminary, by=by)


@reading.command()
def discrepancies(
    close: Annotated[int | None, typer.Option("--close", metavar="NUMBER", help="Settle this one")] = None,
    by: PerhapsAs = "",
    because: Annotated[str, typer.Option("--because", metavar="TEXT", help="With --close: what was done")] = "",
    every: Annotated[bool, typer.Option("--all", help="Also what is closed, or stands no longer")] = False,
    config: Config = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Urgent findings that came after the report, each with who sees to it; --close settles one."""
    from node.commands import attending, site

    settings = site.settings_from(config, data)
    if close is None:
        attending.show_discrepancies(settings, every=every, as_json=as_json)
    else:
        attending.close_discrepancy(settings, close, by=by, because=because)


@reading.command()
def replay(
    study: Annotated[str, typer.Argument(metavar="[STUDY]", help="UID, its beginning, or accession number")] = "",
    night: Annotated[str, typer.Option("--night", metavar="DATE", help="The night that ended on this morning")] = "",
    rules: Annotated[Path | None, typer.Option("--rules", metavar="DIR", help="Rules that are not in force")] = None,
    dry_run: DryRun = False,
    config: Config = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Rank one study anew by today's rules, or say what other rules would have moved.

    A night is told from what was known when, and never changes anything: today's rules against those of DIR; without
    --rules, no rules at all against today's.
    """
    from node.commands import replaying, site

    replaying.replay(site.settings_from(config, data), study, night, rules, dry_run=dry_run, as_json=as_json)
