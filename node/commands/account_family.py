"""`matins accounts`: its commands, their options and their help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from node.commands.options import Config, Data, Json, family
from node.domain.account import Role

accounts = family("Who may log in to the pages.")

Login = Annotated[str, typer.Argument(metavar="LOGIN", help="Small letters, digits, dots, dashes, underscores, @")]


@accounts.command("add")
def accounts_add(
    login: Login,
    role: Annotated[Role, typer.Option("--role", help="A reader acknowledges, an administrator sees to accounts")] = (
        Role.READER
    ),
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="Its first line, in place of being asked; chmod 600")
    ] = None,
    config: Config = None,
    data: Data = None,
) -> None:
    """Make an account; asks for its password, which has no default and is kept nowhere."""
    from node.commands import accounts as commands
    from node.commands import site

    commands.add(site.settings_from(config, data), login, role, password_file)


@accounts.command("remove")
def accounts_remove(login: Login, config: Config = None, data: Data = None) -> None:
    """Remove an account; whoever is logged in with it is out at once."""
    from node.commands import accounts as commands
    from node.commands import site

    commands.remove(site.settings_from(config, data), login)


@accounts.command("list")
def accounts_list(config: Config = None, data: Data = None, as_json: Json = False) -> None:
    """Every account with its role."""
    from node.commands import accounts as commands
    from node.commands import site

    commands.show(site.settings_from(config, data), as_json=as_json)
