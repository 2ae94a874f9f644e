"""SQLite files of others: one table, read and never written."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from node.errors import Misconfigured

_MAGIC = b"SQLite format 3\0"


def is_sqlite(file: Path) -> bool:
    """Whether a file is an SQLite database.

    Raises:
        Misconfigured: it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise Misconfigured(file, "", str(error.strerror), "Name a file that can be read") from None


def rows(file: Path, table: str = "") -> Iterator[tuple[int, dict[str, str]]]:
    """Each row of a table with its number from 1; its values as text, NULL as "". The only table needs no name.

    Raises:
        Misconfigured: there is no such table, or the file is damaged.
    """
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            name = _table(connection, file, table)
            quoted = '"' + name.replace('"', '""') + '"'
            cursor = connection.execute(f"SELECT * FROM {quoted}")
            columns = [each[0].strip().lower() for each in cursor.description]
            for number, row in enumerate(cursor, start=1):
                yield number, dict(zip(columns, map(_text, row), strict=True))
    except (sqlite3.Error, OverflowError) as error:
        raise Misconfigured(file, "", f"no sound SQLite file: {error}", "Copy it again") from None


def _table(connection: sqlite3.Connection, file: Path, table: str) -> str:
    found = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name")
    names = [str(row[0]) for row in found if not str(row[0]).startswith("sqlite_")]
    if table in names:
        return table
    if not table and len(names) == 1:
        return names[0]
    problem = f"no table {table}" if table else f"it has {len(names)} tables"
    raise Misconfigured(file, "--table", problem, f"Name one of {', '.join(names) or '(none)'}")


def _text(value: object) -> str:
    """A value as text; bytes show as what cannot be printed, and are refused so."""
    if value is None:
        return ""
    return value.decode("utf-8", "replace") + "\0" if isinstance(value, bytes) else str(value)
