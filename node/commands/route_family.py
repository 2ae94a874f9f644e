"""`matins routes`: its commands, their options and their help."""

from __future__ import annotations

from typing import Annotated

import typer

from node.commands.options import Config, Data, DryRun, Json, family

routes = family("Who is told where studies stand: what waits, and how long it takes.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the route in config.toml")]


@routes.callback(invoke_without_command=True, no_args_is_help=False)
def routes_show(ctx: typer.Context, config: Config = None, data: Data = None, as_json: Json = False) -> None:
    """Who is told where studies stand: what waits, what was acknowledged last, and how long telling takes."""
    if ctx.invoked_subcommand is not None:
        return
    from node.commands import routes as commands
    from node.commands import site

    commands.show(site.settings_from(config, data), as_json=as_json)


@routes.command("test")
def routes_test(name: Name, config: Config = None, data: Data = None, dry_run: DryRun = False) -> None:
    """Send a made-up study by a route and say what is answered; with --dry-run, print the message."""
    from node.commands import routes as commands
    from node.commands import site

    commands.try_out(site.settings_from(config, data), name, dry_run=dry_run)


@routes.command("replay")
def routes_replay(
    name: Name,
    since: Annotated[str, typer.Option("--since", metavar="DATE", help="Studies told of on this day or later")],
    config: Config = None,
    data: Data = None,
) -> None:
    """Tell again what stands, to a receiver that has lost what it was told."""
    from node.commands import routes as commands
    from node.commands import site

    commands.replay(site.settings_from(config, data), name, since)
