"""Where this site's settings lie, and the database they lead to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from node.config import Settings, load_settings
from node.store.database import Database, open_database

_NAME = "config.toml"


def config_file(given: Path | None) -> Path:
    """The file given, else `config.toml` here, else the checkout's."""
    if given is not None:
        return given
    here = Path(_NAME)
    return here if here.is_file() else Path(__file__).parents[2] / _NAME


def settings_from(config: Path | None, data: Path | None, quiet_s: float | None = None) -> Settings:
    """Read the settings that the options of a command point to.

    Raises:
        Misconfigured: with the file, the key and the remedy.
    """
    return load_settings(config_file(config), data=data, quiet_s=quiet_s)


@contextmanager
def opened(settings: Settings) -> Iterator[Database]:
    """Hold the node's database open for one command.

    Raises:
        Misconfigured, Transient: as `open_database`.
    """
    database = open_database(settings.data.folder, "cli")
    try:
        yield database
    finally:
        database.close()
