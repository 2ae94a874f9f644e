"""`accounts`: who may log in to the pages."""

from __future__ import annotations

from pathlib import Path

import typer

from node.commands.output import print_json, say, table
from node.commands.site import opened
from node.config import Settings
from node.domain.account import Role, is_login
from node.domain.time import SystemClock
from node.errors import Failed, Misconfigured
from node.store import accounts as store
from node.workflow import accounts as workflow

_OTHERS = 0o077


def add(settings: Settings, login: str, role: Role, password_file: Path | None) -> None:
    """Make an account, with the password of a file or the one that is typed, twice.

    Raises:
        Failed: login or password cannot be taken, or there is such an account.
        Misconfigured: the file cannot be read, or others may read it.
    """
    if not is_login(login):
        raise Failed("a login has 1 to 64 small letters, digits, dots, dashes, underscores or @, as maria.k")
    password = _first_line(password_file) if password_file else _asked(login)
    with opened(settings) as db:
        workflow.add(db, SystemClock().now(), login, role, password)
    say(f"{login}: {role.value}")


def remove(settings: Settings, login: str) -> None:
    """Remove an account.

    Raises:
        Failed: there is none of that login.
    """
    with opened(settings) as db:
        workflow.remove(db, SystemClock().now(), login)
    say(f"{login}: removed")


def show(settings: Settings, *, as_json: bool) -> None:
    """Print every account."""
    with opened(settings) as db:
        found = store.accounts(db)
    if as_json:
        told = [{"login": each.login, "role": each.role.value, "created_at": each.created_at} for each in found]
        print_json({"accounts": told})
    elif not found:
        say("no accounts: the pages only read, and only on this machine")
    else:
        table(("login", "role", "since"), [(each.login, each.role.value, each.created_at[:16]) for each in found])


def _asked(login: str) -> str:
    password: str = typer.prompt(f"Password of {login}", hide_input=True, confirmation_prompt=True)
    return password


def _first_line(file: Path) -> str:
    remedy = "Write the password into it and chmod 600"
    try:
        if file.stat().st_mode & _OTHERS:
            raise Misconfigured(file, "--password-file", "may be read by others", remedy)
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(file, "--password-file", "cannot be read", remedy) from error
    if not lines:
        raise Misconfigured(file, "--password-file", "is empty", remedy)
    return lines[0]
